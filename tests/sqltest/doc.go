// Package sqltest holds the tests of sqlstore: on two drivers of PostgreSQL and on two of
// SQLite, and together with sqlc, bun and gorm. It is a separate module, so that sqlstore
// requires none of them.
package sqltest

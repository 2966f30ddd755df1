// Package sqlstore is a store.
package sqlstore

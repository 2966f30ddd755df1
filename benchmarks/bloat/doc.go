// Package bloat measures how large the tables of pgstore become, and how long sweeping takes. Many
// keys are used once, and their records are swept as soon as their retention is over.
//
// PostgreSQL runs with autovacuum. It looks for work every second instead of every minute, because
// the retention is much shorter than in a service. Commits do not wait for the disk (fsync is off).
//
// The tests use few keys. With half a million for each way, they take about ten minutes:
//
//	go test ./bloat -v -count=1 -timeout=60m -keys=500000 -retention=20s
package bloat

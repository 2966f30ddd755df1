-- Locks the lease of the record $1. Renew does so first: an Executor that takes a record over locks
-- its lease without changing it, and only a statement that begins after it sees what became of it.
SELECT 1 FROM {leases} AS l WHERE l.id = $1 {for_update}

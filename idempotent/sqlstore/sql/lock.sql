-- Locks the record $1. Resolve does so before it looks at the lease, in the order of all others.
SELECT 1 FROM {records} AS r WHERE r.id = $1 {for_update}

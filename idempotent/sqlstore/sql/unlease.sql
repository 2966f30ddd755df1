-- Removes the lease of the record $1 after its run under the token $2. $2 is NULL for a lease that is over.
DELETE FROM {leases} AS l
WHERE l.id = $1 AND (l.token = $2 OR l.ends_at <= {now})
AND NOT EXISTS (SELECT 1 FROM {records} AS r WHERE r.id = l.id AND r.state = 'running')

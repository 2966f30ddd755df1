-- Starts the lease of the record $1, if it is running under the token $2. $3 is in microseconds.
INSERT INTO {leases} AS l (id, token, ends_at)
SELECT r.id, r.token, {now} + CAST($3 AS bigint) * {microsecond}
FROM {records} AS r
WHERE r.id = $1 AND r.token = $2 AND r.state = 'running'
ON CONFLICT (id) DO UPDATE SET token = excluded.token, ends_at = excluded.ends_at

-- Settles the unknown record $1: $2 is the state, $3 the response and $4 the retention in microseconds.
UPDATE {records} AS r
SET state = $2, response = $3, token = NULL, expires_at = {now} + CAST($4 AS bigint) * {microsecond}
WHERE r.id = $1 AND r.expires_at > {now} AND (r.state = 'unknown' OR r.state = 'running' AND r.effect AND EXISTS (
  SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at <= {now} {for_update}))

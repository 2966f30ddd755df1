-- Finishes the record $1 under the token $2: $3 is the state, $4 the response and $5 the retention in
-- microseconds. Only a record whose effect was begun becomes unknown.
UPDATE {records} AS r
SET state = $3, response = $4, expires_at = {now} + CAST($5 AS bigint) * {microsecond}
WHERE r.id = $1 AND r.token = $2 AND r.state = 'running' AND (r.effect OR $3 <> 'unknown')
AND (r.expires_at > {now} OR EXISTS (SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at > {now}))

-- Whether the record $1 is that of the token $2. No row means that there is no record.
SELECT COALESCE(r.token = $2, FALSE) FROM {records} AS r
WHERE r.id = $1 AND (r.expires_at > {now} OR r.state = 'running' AND EXISTS (
  SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at > {now}))

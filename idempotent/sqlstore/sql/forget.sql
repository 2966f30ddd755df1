-- Removes the unknown record $1.
DELETE FROM {records} AS r
WHERE r.id = $1 AND r.expires_at > {now} AND (r.state = 'unknown' OR r.state = 'running' AND r.effect AND EXISTS (
  SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at <= {now} {for_update}))

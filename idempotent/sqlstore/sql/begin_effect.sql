-- Marks the effect of the record $1 under the token $2.
UPDATE {records} AS r SET effect = TRUE
WHERE r.id = $1 AND r.token = $2 AND r.state = 'running' AND (r.expires_at > {now} OR EXISTS (
  SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at > {now}))

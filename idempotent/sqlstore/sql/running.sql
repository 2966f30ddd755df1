-- Which of the records $1 are running.
SELECT r.id FROM {records} AS r
WHERE r.id = ANY ($1) AND r.state = 'running' AND (r.expires_at > {now} OR EXISTS (
  SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at > {now}))

-- At most $2 unknown records whose ID is greater than $1.
SELECT r.id, r.scope, r.attempt, {seconds}(r.expires_at - {now})
FROM {records} AS r
WHERE r.expires_at > {now} AND r.id IN (
  SELECT u.id FROM {records} AS u WHERE u.id > $1 AND u.state = 'unknown'
  UNION ALL
  SELECT l.id FROM {leases} AS l JOIN {records} AS o ON o.id = l.id
  WHERE l.id > $1 AND l.ends_at <= {now} AND o.state = 'running' AND o.effect)
ORDER BY r.id LIMIT $2

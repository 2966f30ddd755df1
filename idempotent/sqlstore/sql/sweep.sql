-- Removes at most $1 records that are over their retention.
DELETE FROM {records} WHERE id IN (
  SELECT r.id FROM {records} AS r
  WHERE r.expires_at <= {now} AND (r.state <> 'running' OR NOT EXISTS (
    SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at > {now}))
  ORDER BY r.expires_at LIMIT $1 {skip_locked})

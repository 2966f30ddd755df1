-- Removes at most $1 records that are over their retention, unless their lease is being renewed. The
-- time is in a subquery, so that it is the same for all rows: only then is it looked up in the index.
DELETE FROM {records} WHERE id IN (
  SELECT r.id FROM {records} AS r
  WHERE r.expires_at <= (SELECT {now}) AND (
    r.state <> 'running'
    OR NOT EXISTS (SELECT 1 FROM {leases} AS l WHERE l.id = r.id)
    OR EXISTS (SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at <= {now} {skip_locked}))
  ORDER BY r.expires_at LIMIT $1 {skip_locked})

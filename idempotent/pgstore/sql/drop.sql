-- Removes the record $1 if it is over its retention. If its lease is being renewed, it stays: the
-- lease is locked before it is compared.
DELETE FROM {records} AS r
WHERE r.id = $1 AND r.expires_at <= {now} AND (
  r.state <> 'running'
  OR NOT EXISTS (SELECT 1 FROM {leases} AS l WHERE l.id = r.id)
  OR EXISTS (SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at <= {now} {for_update}))

-- Removes leases without a run: those of records that were swept, or finished by FinishTx.
DELETE FROM {leases} WHERE id IN (
  SELECT l.id FROM {leases} AS l
  WHERE l.ends_at <= {now} AND NOT EXISTS (
    SELECT 1 FROM {records} AS r WHERE r.id = l.id AND r.state = 'running')
  LIMIT $1 {skip_locked})

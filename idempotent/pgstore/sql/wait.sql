-- Asks for a notification when the runs of the records $1 end.
UPDATE {leases} SET waited = TRUE WHERE id IN (
  SELECT l.id FROM {leases} AS l WHERE l.id = ANY ($1) AND NOT l.waited FOR UPDATE SKIP LOCKED)

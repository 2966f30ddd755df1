-- Renews the lease of the record $1 under the token $2 for $3 microseconds. It must not change the
-- record: that would abort a business transaction with BeginEffectTx under REPEATABLE READ.
UPDATE {leases} AS l SET ends_at = {now} + CAST($3 AS bigint) * {microsecond}
WHERE l.id = $1 AND l.token = $2 AND EXISTS (
  SELECT 1 FROM {records} AS r
  WHERE r.id = l.id AND r.token = l.token AND r.state = 'running' AND (r.expires_at > {now} OR l.ends_at > {now}))

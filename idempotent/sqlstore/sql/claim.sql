-- Makes a record or takes one over: $1 is the ID, $2 the fingerprint, $3 the token, $4 the scope and
-- $5 the retention in microseconds. No row is returned if another owner has the record.
--
-- Only a lease that this statement sees can be over. So one that is made while this statement waits
-- for the record is not. The lock of the lease stops its renewal until this transaction has ended.
INSERT INTO {records} AS r (id, fingerprint, token, scope, state, attempt, effect, claimed_at, expires_at)
SELECT $1, $2, $3, $4, 'running', 1, FALSE, t.now, t.now + CAST($5 AS bigint) * {microsecond}
FROM (SELECT {now} AS now) AS t
WHERE {unlocked}
ON CONFLICT (id) DO UPDATE SET
  token = excluded.token,
  scope = excluded.scope,
  attempt = CASE WHEN r.token = excluded.token THEN r.attempt ELSE r.attempt + 1 END,
  claimed_at = excluded.claimed_at,
  expires_at = CASE WHEN r.token = excluded.token THEN r.expires_at ELSE excluded.expires_at END
WHERE r.state = 'running' AND r.fingerprint = excluded.fingerprint AND (
  r.token = excluded.token
  OR NOT r.effect AND r.expires_at > excluded.claimed_at AND EXISTS (
    SELECT 1 FROM {leases} AS l WHERE l.id = r.id AND l.ends_at <= excluded.claimed_at {for_update}))
RETURNING r.attempt

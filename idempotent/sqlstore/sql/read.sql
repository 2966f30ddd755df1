-- What a claim would get: $1 is the ID, $2 the fingerprint and $3 the token. No row means that there
-- is no record. 'over' is one that is over its retention, and 'free' is one that can be claimed.
SELECT
  CASE
    WHEN r.expires_at <= {now} AND (r.state <> 'running' OR l.ends_at IS NULL OR l.ends_at <= {now}) THEN 'over'
    WHEN r.fingerprint <> $2 THEN 'mismatch'
    WHEN r.state <> 'running' THEN r.state
    WHEN r.token = $3 THEN 'free'
    WHEN l.ends_at IS NULL OR l.ends_at > {now} THEN 'running'
    WHEN r.effect THEN 'unknown'
    ELSE 'free'
  END,
  COALESCE({seconds}(l.ends_at - {now}), 0),
  CASE WHEN r.fingerprint = $2 THEN r.response END
FROM {records} AS r LEFT JOIN {leases} AS l ON l.id = r.id
WHERE r.id = $1

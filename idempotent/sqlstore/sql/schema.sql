-- The tables of Seawall's idempotency records. All statements can be run again.

-- One row per key that was used within the retention.
CREATE TABLE IF NOT EXISTS {records} (
  id bytea PRIMARY KEY,             -- a hash of namespace, principal and key
  fingerprint bytea NOT NULL,       -- a hash of the request
  token bytea,                      -- of the owner; NULL if the record was resolved
  scope bytea NOT NULL,             -- a hash of the principal
  state text NOT NULL,              -- running, done, not_kept or unknown
  attempt integer NOT NULL,         -- the number of the run
  effect boolean NOT NULL,          -- whether an effect was begun
  claimed_at timestamptz NOT NULL,  -- when the run was claimed
  expires_at timestamptz NOT NULL,  -- the end of the retention
  response bytea                    -- of a finished run
);
CREATE INDEX IF NOT EXISTS {index}_expires_at ON {records} (expires_at);
CREATE INDEX IF NOT EXISTS {index}_unknown ON {records} (id) WHERE state = 'unknown';

-- One row per run that has a lease. It is a table of its own, so that renewals change no record.
CREATE TABLE IF NOT EXISTS {leases} (
  id bytea PRIMARY KEY,
  token bytea NOT NULL,
  ends_at timestamptz NOT NULL,
  waited boolean NOT NULL DEFAULT FALSE  -- whether to notify duplicates of the end
);

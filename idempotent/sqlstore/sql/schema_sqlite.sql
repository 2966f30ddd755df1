-- The tables of Seawall's idempotency records in SQLite. Times are in microseconds since 1970. All
-- statements can be run again.

-- One row per key that was used within the retention.
CREATE TABLE IF NOT EXISTS {records} (
  id BLOB NOT NULL PRIMARY KEY,  -- a hash of namespace, principal and key
  fingerprint BLOB NOT NULL,     -- a hash of the request
  token BLOB,                    -- of the owner; NULL if the record was resolved
  scope BLOB NOT NULL,           -- a hash of the principal
  state TEXT NOT NULL,           -- running, done, not_kept or unknown
  attempt INTEGER NOT NULL,      -- the number of the run
  effect INTEGER NOT NULL,       -- whether an effect was begun
  claimed_at INTEGER NOT NULL,   -- when the run was claimed
  expires_at INTEGER NOT NULL,   -- the end of the retention
  response BLOB                  -- of a finished run
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {index}_expires_at ON {records} (expires_at);
CREATE INDEX IF NOT EXISTS {index}_unknown ON {records} (id) WHERE state = 'unknown';

-- One row per run that has a lease.
CREATE TABLE IF NOT EXISTS {leases} (
  id BLOB NOT NULL PRIMARY KEY,
  token BLOB NOT NULL,
  ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

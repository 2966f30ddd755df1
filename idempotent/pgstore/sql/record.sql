-- Makes the record of a run that has ended in the transaction of an Executor: $1 is the ID, $2 the
-- fingerprint, $3 the token, $4 the scope, $5 the state, $6 the response and $7 the retention in
-- microseconds. The transaction began with the claim.
--
-- $8 is the number of the table when the transaction began. If the handler has changed search_path, it
-- may be another table now: the division by zero then undoes the transaction.
INSERT INTO {records} (id, fingerprint, token, scope, state, attempt, effect, claimed_at, expires_at, response)
VALUES ($1, $2, $3, $4, $5, 1 / CAST({table} = $8 AS integer), $5 = 'unknown', now(), {now} + CAST($7 AS bigint) * {microsecond}, $6)

/*
Package pgstore keeps the records of idempotent requests in PostgreSQL, through pgx. If the effects
of a handler are in the same database, they happen exactly once.

	store               effects of a handler              happen
	NewExecutor         in the transaction of Tx          exactly once: the claim, the effects
	                                                      and the record commit together
	New, FinishTx       in the transaction of FinishTx    exactly once: the effects and the
	                                                      record commit together
	New, BeginEffectTx  in that of BeginEffectTx          at most once; after a failure, the
	                                                      outcome is unknown until Resolve
	New                 after idempotent.BeginEffect      at most once, likewise
	New                 elsewhere, with none of these     once; again after a crash, a panic,
	                                                      a lost lease or a 5xx

The guarantees of the first two rows hold if the process is killed or paused at any point, if the
reply to a COMMIT is lost, and if the database restarts. They hold as long as PostgreSQL keeps what
it has committed: it loses some with synchronous_commit = off when its machine fails, and at a
failover to a standby that is not synchronous.

# Exactly once

	executor := pgstore.NewExecutor(pool, nil)
	keyed := idempotent.New(executor, idempotent.ByPrincipal, nil)
	http.ListenAndServe(addr, authenticate(keyed(mux)))

	func transfer(w http.ResponseWriter, r *http.Request) error {
		err := pgstore.InTx(r.Context(), pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(r.Context(), "UPDATE accounts SET cents = cents - $1 WHERE id = $2", ...)
			...
		})
		...
	}

With [InTx], a handler works with and without a key. [Tx] returns the transaction itself, for code
that takes a pgx.Tx, such as what sqlc generates. The handler does not commit: the Executor does when
the handler has returned. It rolls back if the response is a 5xx, 401, 403, 408, 425 or 429, and after
a panic.

The transaction begins before the handler, so a keyed request holds a connection of the pool while its
handler runs. An Executor adds no commit and one round trip, which reads the record before the
transaction. What it adds to the transaction travels with the BEGIN and the COMMIT: a statement that
locks the record, a savepoint, and one INSERT. A replay is one round trip, without a transaction.

Two things differ from a handler that begins its own transaction:

  - After a serialization failure or a deadlock, the handler runs again, up to three times. Outside of
    the transaction, it must only do what can be repeated.
  - After a statement that failed, PostgreSQL refuses all others. The handler must then answer with an
    error, which is recorded without the effects if it is a 4xx. Within InTx it can go on.

# The handler's own transaction

A handler that must not be in a transaction all the time, for example because it calls a slow service
first, uses a [Store]. Its claims have leases. The handler begins its transaction itself, and calls
one of these right before the commit:

  - [Store.FinishTx], if it knows its response. Effects and response are recorded together.
  - [Store.BeginEffectTx], otherwise. If the process dies before the response is recorded, a retry is
    answered 409 idempotency_outcome_unknown.

Neither can commit if another process has taken over, and renewals of the lease never abort the
transaction, even if it is SERIALIZABLE. FinishTx costs one more commit that waits for the disk,
BeginEffectTx and a Store alone two.

# In the database

[Migrate] creates two tables, idempotency_records and idempotency_leases. [Schema] returns the
statements, for other tools. They hold hashes, a random token and times. Of requests and responses,
only the recorded response is in them.

Call Sweep every minute, in one process or in all of them: it removes the records that are over their
retention. It removes 500 records per transaction, and skips those that are in use.

The store needs SELECT, INSERT, UPDATE and DELETE on both tables. Only the server's clock decides, so
the clocks of services do not matter. All statements work in every QueryExecMode of pgx. Behind a
proxy with transaction pooling, use QueryExecModeExec, and see [Options] for LISTEN. docs/POSTGRES.md
has more about rights, the pool, timeouts and proxies, and queries for operators.

A call returns when its context ends. pgx then closes the connection, unless its
ContextWatcherHandler is set to cancel the statement instead.
*/
package pgstore

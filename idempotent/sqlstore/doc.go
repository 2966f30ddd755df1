/*
Package sqlstore keeps the records of idempotent requests in PostgreSQL or SQLite, through
database/sql. If the effects of a handler are in the same database, they happen exactly once.

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
reply to a COMMIT is lost, and if the database restarts. They hold as long as the database keeps
what it has committed:

	database                                                can lose
	PostgreSQL                                              nothing
	PostgreSQL, synchronous_commit = off                    the last commits when its machine fails
	PostgreSQL, failover to an asynchronous standby         what the standby had not yet received
	SQLite, WAL mode, synchronous = FULL                    nothing
	SQLite, WAL mode, synchronous = NORMAL                  the last commits when its machine fails
	SQLite, rollback journal, synchronous = EXTRA           nothing
	SQLite, rollback journal, synchronous = FULL            the last commit when its machine fails

The package imports no driver. The tests use pgx's stdlib and lib/pq for PostgreSQL, and
modernc.org/sqlite and ncruces/go-sqlite3 for SQLite. With pgx alone, package pgstore needs fewer
round trips and wakes duplicates with notifications. Both packages use the same tables in
PostgreSQL, and can use them at the same time.

# Exactly once

	db, err := sql.Open("pgx", dsn)
	executor := sqlstore.NewExecutor(db, sqlstore.PostgreSQL, nil)
	keyed := idempotent.New(executor, idempotent.ByPrincipal, nil)
	http.ListenAndServe(addr, authenticate(keyed(mux)))

	func transfer(w http.ResponseWriter, r *http.Request) error {
		err := sqlstore.InTx(r.Context(), db, func(tx sqlstore.DBTX) error {
			_, err := tx.ExecContext(r.Context(), "UPDATE accounts SET cents = cents - $1 WHERE id = $2", ...)
			...
		})
		...
	}

With [InTx], a handler works with and without a key. The handler does not commit: the Executor does
when the handler has returned. It rolls back if the response is a 5xx, 401, 403, 408, 425 or 429, and
after a panic.

[Tx] returns the transaction itself, for code that takes a [DBTX]:

	queries.New(sqlstore.Tx(ctx)).CreateTransfer(ctx, params)           // of sqlc
	bunDB.NewInsert().Conn(sqlstore.Tx(ctx)).Model(&row).Exec(ctx)      // bun
	session := gormDB.Session(&gorm.Session{Context: ctx, NewDB: true}) // gorm
	session.Statement.ConnPool = sqlstore.Tx(ctx)

If handlers find the transaction of their ORM in the context, let the ORM begin it: see
[Options].Begin.

The transaction begins before the handler, so a keyed request holds a connection of the pool while its
handler runs. A handler that asks the pool for another one can wait for itself, so it should only use
its transaction. A replay is one query without a transaction.

Two things differ from a handler that begins its own transaction:

  - After a serialization failure or a deadlock, the handler runs again, up to three times. Outside of
    the transaction, it must only do what can be repeated.
  - After a statement that failed, PostgreSQL refuses all others. The handler must then answer with an
    error, which is recorded without the effects if it is a 4xx. Within InTx it can go on.

The Executor learns of a serialization failure from the errors that Tx returns. It does not see those
of rows (rows.Err), of prepared statements, and of an ORM that has begun the transaction itself. After
such an error a handler should answer with a 5xx, so that the client tries again.

# The handler's own transaction

A handler that must not be in a transaction all the time, for example because it calls a slow service
first, uses a [Store]. Its claims have leases. The handler begins its transaction itself, and calls
one of these right before the commit:

  - [Store.FinishTx], if it knows its response. Effects and response are recorded together.
  - [Store.BeginEffectTx], otherwise. If the process dies before the response is recorded, a retry is
    answered 409 idempotency_outcome_unknown.

Neither can commit if another process has taken over. In PostgreSQL, renewals of the lease never abort
the transaction, even if it is SERIALIZABLE.

# In the database

[Migrate] creates two tables, idempotency_records and idempotency_leases. [Schema] returns the
statements, for other tools. They hold hashes, a random token and times. Of requests and responses,
only the recorded response is in them.

Call Sweep every minute, in one process or in all of them: it removes the records that are over their
retention. It removes 500 records per transaction, and in PostgreSQL skips those that are in use.

In PostgreSQL, the store needs SELECT, INSERT, UPDATE and DELETE on both tables. Only the server's
clock decides, so the clocks of services do not matter. All statements work behind a proxy with
transaction pooling if those of the driver do. A call returns when its context ends, except that lib/pq
waits for a server that is silent, as if paused, until the operating system gives up the connection.

# SQLite

SQLite 3.42 or later is needed. It runs one transaction that writes at a time, for all keys:

  - Use WAL mode (PRAGMA journal_mode = WAL), so that replays and duplicates can read while a handler
    runs.
  - Set PRAGMA synchronous = FULL. In WAL mode, it is not the default of every driver: ncruces
    uses NORMAL, with which a power failure loses the last commits.
  - Set a busy timeout, such as PRAGMA busy_timeout = 1000. While another connection writes, the store
    also tries again by itself, for as long as [Options].Wait. After that it returns an error, which
    the middleware answers with 503.
  - With an Executor, keyed requests run one after another, each for as long as its handler does. With
    a Store, only the statements do. Its renewals wait for a handler's transaction too, so that one
    must be shorter than the lease.
  - Let transactions that a handler begins itself take the lock first, such as with the parameter
    _txlock=immediate of the drivers. One that reads first cannot always write later.
  - An error such as a full disk, or a context that ends during a statement, makes SQLite roll back the
    whole transaction. The handler's request then fails, whatever the handler does next. With a
    prepared statement, the Executor does not see that error: after it, use the transaction no more.
  - In a transaction that the handler or an ORM has begun itself, SQLite would commit each statement
    after such an error by itself. So return after a statement that failed. FinishTx and
    BeginEffectTx then return an error too.
  - While a process is paused in a transaction that writes, no other can write. A process that is
    killed leaves no lock.

With SetMaxOpenConns(1), requests also read one after another, and wait for each handler. A
database in memory needs that, or a shared cache, in which a duplicate cannot read while a handler
runs: it is answered 503.
*/
package sqlstore

package pgstore

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/idempotent"
)

// Options configure a [Store] or an [Executor]. Nil and the zero value are the defaults.
type Options struct {
	// Prefix is the beginning of the names of the tables. It may include a schema that exists, as
	// in "billing.idempotency_", and must if handlers change search_path. All processes of a
	// service need the same prefix. Services that share a database need different ones, or
	// different values of idempotent.Options.Namespace. It consists of at most 40 lower-case
	// letters, digits and underscores, and does not begin with a digit. If empty, it is
	// "idempotency_".
	Prefix string

	// NoListen makes the duplicates that wait poll every half second, instead of being woken by a
	// notification. Set it if connections go through a proxy with transaction pooling, such as
	// PgBouncer, where LISTEN has no effect, and Listen cannot be set.
	NoListen bool

	// Listen opens a connection to the database for LISTEN, which the Store closes. If nil, the
	// Store opens one like those of the pool. Set it to go around a proxy with transaction pooling.
	Listen func(ctx context.Context) (*pgx.Conn, error)

	// Logger gets a warning if LISTEN fails. If nil, slog.Default() is used.
	Logger *slog.Logger

	// The fields below are for [NewExecutor]. [New] ignores them.

	// TxOptions are the options of the transactions of Execute, such as their isolation level.
	// CommitQuery must be empty.
	TxOptions pgx.TxOptions

	// Wait bounds each wait of Execute: for a connection, for the answer of the database to the
	// claim and to the commit, and for finding out whether a commit took effect whose reply was
	// lost. It does not bound what the handler does. If zero, it is 5 seconds.
	Wait time.Duration

	// IdleTimeout is how long a transaction may be idle between two statements. After it, the
	// database ends the connection and rolls back, so that a process that is paused or cut off
	// does not hold its claims for longer than that. It must be longer than anything else that
	// a handler does within its transaction, such as a call of another service. If zero, it is
	// a minute. If negative, the setting of the database applies.
	IdleTimeout time.Duration

	// StatementTimeout and LockTimeout bound the statements of the handler, and the time that each
	// may wait for a lock (statement_timeout and lock_timeout of PostgreSQL). If zero, the
	// settings of the database apply.
	StatementTimeout, LockTimeout time.Duration
}

func (o *Options) withDefaults() Options {
	var opt Options
	if o != nil {
		opt = *o
	}
	opt.Prefix = cmp.Or(opt.Prefix, "idempotency_")
	opt.Wait = cmp.Or(opt.Wait, 5*time.Second)
	opt.IdleTimeout = cmp.Or(opt.IdleTimeout, time.Minute)
	return opt
}

// Store is an [idempotent.Store] in PostgreSQL whose claims have leases. It also implements
// [idempotent.Waiter], [idempotent.Sweeper], [idempotent.Resolver] and [idempotent.UnknownLister].
// It is safe for concurrent use. Make one and share it.
//
// Errors of the database are returned wrapped. If its disk is full, the error matches
// [idempotent.ErrFull].
type Store struct {
	records
	poller *idempotent.Poller
}

// New returns a Store. [Migrate] creates its tables. New does not connect, and panics if pool is
// nil or an option is invalid. The caller closes the pool, after the last call of the Store.
func New(pool *pgxpool.Pool, o *Options) *Store {
	s := &Store{records: newRecords("New", pool, o)}
	s.poller = s.newPoller(0)
	return s
}

// BeginEffectTx is [idempotent.BeginEffect] as a part of a transaction of the handler: the effect
// has begun if and only if tx commits, and the tx of an owner that was replaced cannot commit. Call
// it right before the commit, because it locks the record until then. Without a key, it returns nil
// and does nothing.
//
// If BeginEffectTx returns an error, roll tx back and return the error.
func (s *Store) BeginEffectTx(ctx context.Context, tx pgx.Tx) error {
	return idempotent.BeginEffectWith(ctx, func(ctx context.Context, o idempotent.Owner) error {
		tag, err := tx.Exec(ctx, s.sql.beginEffect, o.ID[:], o.Token[:])
		if err == nil && tag.RowsAffected() == 0 {
			return idempotent.ErrLost
		}
		return failed("BeginEffectTx", o.ID, err)
	})
}

// FinishTx records the handler's response in a transaction of the handler: it is recorded if and
// only if tx commits. The handler then answers with the same response. Call FinishTx right before
// the commit, because it locks the record until then. Without a key, it returns nil and does
// nothing.
//
// The response must have a status that is recorded (see [idempotent.Options].Keep), and is recorded
// however long it is. If the handler has failed, roll tx back without calling FinishTx. FinishTx
// panics if the status is not from 200 to 999.
//
// If FinishTx returns an error, roll tx back and return the error.
func (s *Store) FinishTx(ctx context.Context, tx pgx.Tx, response idempotent.Response) error {
	return idempotent.FinishWith(ctx, response, func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
		b, r := new(pgx.Batch), ownership{}
		s.queueFinish(b, o, c, &r)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return failed("FinishTx", o.ID, err)
		}
		return r.result(c)
	})
}

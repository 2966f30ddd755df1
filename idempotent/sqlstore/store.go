package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Options configure a [Store] or an [Executor]. Nil and the zero value are the defaults.
type Options struct {
	// Prefix is the beginning of the names of the tables. In PostgreSQL it may include a schema
	// that exists, as in "billing.idempotency_", and must if handlers change search_path. All
	// processes of a service need the same prefix. Services that share a database need
	// different ones, or different values of idempotent.Options.Namespace. It consists of at
	// most 40 lower-case letters, digits and underscores, and does not begin with a digit. If
	// empty, it is "idempotency_".
	Prefix string

	// Wait bounds each wait of Execute: for a connection, for the answer of the database to the
	// claim and to the commit, and for finding out whether a commit took effect whose reply was
	// lost. It does not bound what the handler does.
	//
	// In SQLite, Wait also bounds how long an operation is repeated while another connection has
	// the lock. If zero, it is 5 seconds.
	Wait time.Duration

	// The fields below are for [NewExecutor]. [New] ignores them.

	// TxOptions are the options of the transactions of Execute, such as their isolation level.
	TxOptions sql.TxOptions

	// Begin begins the transactions of Execute, so that handlers can use an ORM that makes its
	// own transactions. It returns the transaction, and a context that holds it for the
	// handler. That context derives from ctx. The transaction must be of the same database, and
	// must not end when Begin returns: the Executor commits it or rolls it back. Begin must not
	// set a deadline on ctx. It is not called for a request without a key. If Begin is nil, the
	// Executor uses the BeginTx of its database with TxOptions. Otherwise TxOptions has no effect.
	Begin func(ctx context.Context) (context.Context, Transaction, error)

	// IdleTimeout is how long a transaction may be idle between two statements. After it,
	// PostgreSQL ends the connection and rolls back, so that a process that is paused or cut off
	// does not hold its claims for longer than that. It must be longer than anything else that
	// a handler does within its transaction, such as a call of another service. If zero, it is
	// a minute. If negative, the setting of the database applies. SQLite has no such timeout.
	IdleTimeout time.Duration

	// StatementTimeout and LockTimeout bound the statements of the handler, and the time that
	// each may wait for a lock (statement_timeout and lock_timeout of PostgreSQL). If zero, the
	// settings of the database apply. SQLite has neither.
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

// Store is an [idempotent.Store] in PostgreSQL or SQLite whose claims have leases. It also
// implements [idempotent.Waiter], [idempotent.Sweeper], [idempotent.Resolver] and
// [idempotent.UnknownLister]. It is safe for concurrent use. Make one and share it.
//
// Errors of the database are returned wrapped. If its disk is full, the error matches
// [idempotent.ErrFull].
type Store struct {
	records
	poller *idempotent.Poller
}

// New returns a Store. [Migrate] creates its tables. New does not connect, and panics if db is
// nil, or the dialect or an option is invalid. The caller closes db, after the last call of the
// Store.
func New(db *sql.DB, d Dialect, o *Options) *Store {
	s := &Store{records: newRecords("New", db, d, o)}
	s.poller = idempotent.NewPoller(s.look, nil)
	return s
}

// Wait implements [idempotent.Waiter]. However many calls wait, the Store looks at their records
// together, about twice a second, through one connection of the pool.
func (s *Store) Wait(ctx context.Context, id idempotent.ID) error { return s.poller.Wait(ctx, id) }

// BeginEffectTx is [idempotent.BeginEffect] as a part of a transaction of the handler: the
// effect has begun if and only if tx commits, and the tx of an owner that was replaced cannot
// commit. Call it right before the commit, because it locks the record until then. Without a
// key, it returns nil and does nothing.
//
// If BeginEffectTx returns an error, roll tx back and return the error. tx must run statements
// as they are: give it the *sql.Tx that a transaction of bun embeds.
func (s *Store) BeginEffectTx(ctx context.Context, tx DBTX) error {
	return idempotent.BeginEffectWith(ctx, func(ctx context.Context, o idempotent.Owner) error {
		err := s.checkOpen(ctx, tx)
		if err == nil {
			err = s.beginEffect(ctx, tx, o)
		}
		return failed(ctx, "BeginEffectTx", o.ID, err)
	})
}

// FinishTx records the handler's response in a transaction of the handler: it is recorded if
// and only if tx commits. The handler then answers with the same response. Call FinishTx right
// before the commit, because it locks the record until then. Without a key, it returns nil and
// does nothing.
//
// The response must have a status that is recorded (see [idempotent.Options].Keep), and is
// recorded however long it is. If the handler has failed, roll tx back without calling
// FinishTx. FinishTx panics if the status is not from 200 to 999.
//
// If FinishTx returns an error, roll tx back and return the error. tx is as for
// [Store.BeginEffectTx].
func (s *Store) FinishTx(ctx context.Context, tx DBTX, response idempotent.Response) error {
	return idempotent.FinishWith(ctx, response, func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
		err := s.checkOpen(ctx, tx)
		if err == nil {
			err = s.finish(ctx, tx, o, c)
		}
		return failed(ctx, "FinishTx", o.ID, err)
	})
}

// checkOpen returns an error if SQLite has rolled back the handler's transaction after an earlier
// error. It would then commit the next statement by itself, without the effects.
func (s *Store) checkOpen(ctx context.Context, tx DBTX) error {
	if s.dialect != SQLite {
		return nil
	}
	_, err := tx.ExecContext(ctx, "BEGIN")
	switch {
	case err == nil:
		_, err = tx.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(errEnded, err)
	case strings.Contains(err.Error(), "within a transaction"):
		return nil
	default:
		return err
	}
}

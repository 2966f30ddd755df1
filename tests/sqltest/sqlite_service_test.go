package sqltest

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// A way is how a service makes a transfer once.
type way string

const (
	withExecutor      way = "Executor"
	withExecutorAndDo way = "Executor and Do"
	withBeginEffectTx way = "BeginEffectTx"
	withFinishTx      way = "FinishTx"
	withBeginEffect   way = "BeginEffect" // in the store, before the transaction
)

// transactional are the ways in which the transaction of the transfer decides.
var transactional = []way{withExecutor, withBeginEffectTx, withFinishTx}

// A service makes transfers in SQLite. Its options can be changed until the first request.
type service struct {
	name  string
	way   way
	db    *sql.DB
	guard idempotent.Options
	store sqlstore.Options

	// at is called at the points of a transfer. An error ends the transfer. It may be nil.
	at func(ctx context.Context, tx sqlstore.DBTX, p point) error

	runs    atomic.Int64
	handler atomic.Pointer[http.Handler]
}

// A point is a place in a transfer.
type point string

const (
	beforeWrite point = "before its write" // after the claim
	betweenRows point = "between its rows"
	afterWrite  point = "after its write"
	afterMark   point = "after its mark" // of BeginEffectTx or FinishTx
	afterCommit point = "after its commit"
)

// lease is never over unless a test moves the clock. An Executor has none.
const lease = time.Minute

func newService(name string, w way, db *sql.DB) *service {
	return &service{
		name: name, way: w, db: db,
		guard: idempotent.Options{Wait: -1, Lease: lease, StoreTimeout: patience, Logger: slog.New(slog.DiscardHandler)},
		store: sqlstore.Options{Wait: patience},
	}
}

// ServeHTTP implements [http.Handler].
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.handler.Load() == nil {
		h := s.newHandler()
		s.handler.CompareAndSwap(nil, &h)
	}
	(*s.handler.Load()).ServeHTTP(w, r)
}

func (s *service) newHandler() http.Handler {
	switch s.way {
	case withExecutor:
		return idempotent.New(sqlstore.NewExecutor(s.db, sqlstore.SQLite, &s.store), idempotent.Global, &s.guard)(s.handlerOf(
			func(ctx context.Context, f func(sqlstore.DBTX) error) error { return f(sqlstore.Tx(ctx)) }))
	case withExecutorAndDo:
		return s.handlerOfDo(idempotent.NewGuard(sqlstore.NewExecutor(s.db, sqlstore.SQLite, &s.store), &s.guard))
	}
	store := sqlstore.New(s.db, sqlstore.SQLite, &s.store)
	return idempotent.New(store, idempotent.Global, &s.guard)(s.handlerOf(
		func(ctx context.Context, f func(sqlstore.DBTX) error) error { return s.inTx(ctx, store, f) }))
}

// handlerOf returns a handler. Each transfer is a call of inTx.
func (s *service) handlerOf(inTx func(context.Context, func(sqlstore.DBTX) error) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), answerKey{}, s.answer(r.Context()))
		err := inTx(ctx, func(tx sqlstore.DBTX) error {
			return s.transfer(ctx, tx, r.Header.Get("Idempotency-Key"))
		})
		if err == nil {
			err = s.reach(ctx, nil, afterCommit)
		}
		if err != nil {
			apierror.Write(w, r, err)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, ctx.Value(answerKey{}).(string))
	})
}

// answerKey is the key of the answer to a request in its context.
type answerKey struct{}

// answer returns the answer of the next run.
func (s *service) answer(ctx context.Context) string {
	return fmt.Sprintf("%s, run %d, attempt %d", s.name, s.runs.Add(1), idempotent.Attempt(ctx))
}

// handlerOfDo returns a handler without the middleware.
func (s *service) handlerOfDo(guard *idempotent.Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		call := idempotent.Call{Principal: idempotent.GlobalPrincipal, Key: key}
		answer, err := idempotent.Do(r.Context(), guard, call, func(ctx context.Context) (string, error) {
			return s.answer(ctx), s.transfer(ctx, sqlstore.Tx(ctx), key)
		})
		if err != nil {
			apierror.Write(w, r, err)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	})
}

// inTx calls f in a transaction of the service.
func (s *service) inTx(ctx context.Context, store *sqlstore.Store, f func(sqlstore.DBTX) error) error {
	if s.way == withBeginEffect {
		if err := idempotent.BeginEffect(ctx); err != nil {
			return err
		}
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	err = f(tx)
	switch {
	case err != nil:
		return err
	case s.way == withBeginEffectTx:
		err = store.BeginEffectTx(ctx, tx)
	case s.way == withFinishTx:
		response := idempotent.Response{Status: http.StatusCreated, Body: []byte(ctx.Value(answerKey{}).(string))}
		err = store.FinishTx(ctx, tx, response)
	}
	if err := cmp.Or(err, s.reach(ctx, tx, afterMark)); err != nil {
		return err
	}
	return tx.Commit()
}

// transfer makes a transfer from account 1 to account 2.
func (s *service) transfer(ctx context.Context, tx sqlstore.DBTX, key string) error {
	update := func(account, cents int) error {
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + ?2 WHERE id = ?1", account, cents)
		return err
	}
	if err := s.reach(ctx, tx, beforeWrite); err != nil {
		return err
	}
	if err := update(1, -amount); err != nil {
		return err
	}
	if err := s.reach(ctx, tx, betweenRows); err != nil {
		return err
	}
	if err := update(2, amount); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO transfers VALUES (?1, ?2)", key, amount); err != nil {
		return err
	}
	return s.reach(ctx, tx, afterWrite)
}

func (s *service) reach(ctx context.Context, tx sqlstore.DBTX, p point) error {
	if s.at == nil {
		return nil
	}
	return s.at(ctx, tx, p)
}

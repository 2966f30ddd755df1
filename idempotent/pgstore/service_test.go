package pgstore_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// A way is how a service makes a transfer once.
type way string

const (
	withExecutor      way = "Executor"
	withExecutorAndDo way = "Executor and Do"
	withBeginEffectTx way = "BeginEffectTx"
	withFinishTx      way = "FinishTx"
	withBeginEffect   way = "BeginEffect" // in the store, before the transaction
	withLease         way = "lease"       // the transaction is committed without the store
)

// The ways in which the transaction of the transfer decides, and those of them with a lease.
var (
	transactional = []way{withExecutor, withBeginEffectTx, withFinishTx}
	marking       = []way{withBeginEffectTx, withFinishTx}
)

// A service makes transfers. Its options can be changed until the first request.
type service struct {
	name  string
	way   way
	pool  *pgxpool.Pool
	guard idempotent.Options
	store pgstore.Options
	tx    pgx.TxOptions // of the transactions that are not an Executor's
	shift int           // of the numbers of the accounts

	// at is called at the points of a transfer. An error ends the transfer. It may be nil.
	at func(ctx context.Context, tx pgx.Tx, p point) error

	runs    atomic.Int64
	handler atomic.Pointer[http.Handler]
}

// A point is a place in a transfer.
type point string

const (
	beforeWrite point = "before the write"
	betweenRows point = "between the rows"
	afterWrite  point = "after the write"
	afterMark   point = "after the mark" // of BeginEffectTx or FinishTx
	afterCommit point = "after the commit"
	afterAbort  point = "after the rollback"
)

// lease is never over unless a test moves the clock. An Executor has none.
const lease = time.Minute

func newService(name string, w way, pool *pgxpool.Pool) *service {
	return &service{
		name: name, way: w, pool: pool,
		guard: idempotent.Options{Wait: -1, Lease: lease, StoreTimeout: patience, Logger: slog.New(slog.DiscardHandler)},
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
		return idempotent.New(pgstore.NewExecutor(s.pool, &s.store), idempotent.Global, &s.guard)(s.handlerOf(
			func(ctx context.Context, f func(pgx.Tx) error) error { return f(pgstore.Tx(ctx)) }))
	case withExecutorAndDo:
		return s.handlerOfDo(idempotent.NewGuard(pgstore.NewExecutor(s.pool, &s.store), &s.guard))
	}
	store := pgstore.New(s.pool, &s.store)
	return idempotent.New(store, idempotent.Global, &s.guard)(s.handlerOf(
		func(ctx context.Context, f func(pgx.Tx) error) error { return s.inTx(ctx, store, f) }))
}

// handlerOf returns a handler. Each transfer is a call of inTx.
func (s *service) handlerOf(inTx func(context.Context, func(pgx.Tx) error) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), answerKey{}, s.answer(r.Context()))
		err := inTx(ctx, func(tx pgx.Tx) error {
			return s.transfer(ctx, tx, r.URL.Path, r.Header.Get("Idempotency-Key"))
		})
		if err == nil {
			err = s.reach(ctx, nil, afterCommit)
		} else {
			err = cmp.Or(s.reach(ctx, nil, afterAbort), err)
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
			return s.answer(ctx), s.transfer(ctx, pgstore.Tx(ctx), r.URL.Path, key)
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
func (s *service) inTx(ctx context.Context, store *pgstore.Store, f func(pgx.Tx) error) error {
	if s.way == withBeginEffect {
		if err := idempotent.BeginEffect(ctx); err != nil {
			return err
		}
	}
	return pgx.BeginTxFunc(ctx, s.pool, s.tx, func(tx pgx.Tx) error {
		err := f(tx)
		switch {
		case err != nil:
			return err
		case s.way == withBeginEffectTx:
			err = store.BeginEffectTx(ctx, tx)
		case s.way == withFinishTx:
			response := idempotent.Response{Status: http.StatusCreated, Body: []byte(ctx.Value(answerKey{}).(string))}
			err = store.FinishTx(ctx, tx, response)
		}
		if err != nil {
			return err
		}
		return s.reach(ctx, tx, afterMark)
	})
}

// transfer makes a transfer. The path names the accounts.
func (s *service) transfer(ctx context.Context, tx pgx.Tx, path, key string) error {
	var source, target int
	if _, err := fmt.Sscanf(path, "/transfers/%d/%d", &source, &target); err != nil {
		return apierror.ParameterInvalid("path", err.Error())
	}
	source, target = source+s.shift, target+s.shift
	update := func(account, cents int) error {
		_, err := tx.Exec(ctx, "UPDATE accounts SET cents = cents + $2 WHERE id = $1", account, cents)
		return err
	}
	if err := s.reach(ctx, tx, beforeWrite); err != nil {
		return err
	}
	if err := update(source, -amount); err != nil {
		return err
	}
	if err := s.reach(ctx, tx, betweenRows); err != nil {
		return err
	}
	if err := update(target, amount); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO transfers VALUES ($1, $2, $3, $4)", key, source, target, amount); err != nil {
		return err
	}
	return s.reach(ctx, tx, afterWrite)
}

func (s *service) reach(ctx context.Context, tx pgx.Tx, p point) error {
	if s.at == nil {
		return nil
	}
	return s.at(ctx, tx, p)
}

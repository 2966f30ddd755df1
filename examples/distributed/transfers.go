package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// transfers is a service that moves money between accounts. All of its processes share a database,
// which has the money and the idempotency keys.
type transfers struct {
	name   string // of this process
	pool   *pgxpool.Pool
	store  *pgstore.Executor
	logger *slog.Logger
	close  func()
}

// openTransfers connects to the database, creates the tables of the store if they are missing, and
// starts to sweep. The caller calls close.
func openTransfers(ctx context.Context, name, url string, logger *slog.Logger) (*transfers, error) {
	pool, err := connectPostgres(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := pgstore.Migrate(ctx, pool, storeOptions); err != nil {
		pool.Close()
		return nil, err
	}
	s := &transfers{name: name, pool: pool, store: pgstore.NewExecutor(pool, storeOptions), logger: logger}
	ctx, stop := context.WithCancel(ctx)
	var sweeping sync.WaitGroup
	sweeping.Go(func() { sweep(ctx, s.store, time.Minute, logger) })
	s.close = func() {
		stop()
		sweeping.Wait()
		pool.Close()
	}
	return s, nil
}

// connectPostgres returns the pool that the handlers and the store share.
func connectPostgres(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 20 // at most so many transfers run at the same time
	return pgxpool.NewWithConfig(ctx, config)
}

// storeOptions make the database roll back after ten seconds if a process is paused or cut off in
// the middle of a transaction. A handler that waits for nothing but the database is never idle for
// so long.
var storeOptions = &pgstore.Options{IdleTimeout: 10 * time.Second}

// transferKeys keep the keys of this service apart from those of others that use the same tables.
var transferKeys = &idempotent.Options{Namespace: "bank"}

// sweep removes the records that are over their retention, until ctx is done. All processes may do
// it at the same time.
func sweep(ctx context.Context, store idempotent.Sweeper, every time.Duration, logger *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, err := store.Sweep(ctx, 0); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "idempotency keys were not swept", "error", err)
		}
	}
}

// handler returns the service's routes inside a Stack.
func (s *transfers) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/transfers", apierror.HandlerFunc(s.create))
	stack := &seawall.Stack{
		Logger:       s.logger,
		MaxBody:      1 << 20,
		Timeout:      10 * time.Second,
		Authenticate: authenticate,
		Idempotency:  idempotent.New(s.store, idempotent.ByPrincipal, transferKeys),
	}
	return named(s.name, stack.Handler(mux))
}

type transfer struct {
	ID        int64  `json:"id"`
	From      string `json:"from"`
	To        string `json:"to"`
	Cents     int64  `json:"cents"`
	Reference string `json:"reference"`
	RunBy     string `json:"run_by"` // the process whose handler ran
}

// insufficientFunds is recorded like a success: a retry gets it again, even if there is money then.
var insufficientFunds = apierror.Definition{
	Code:    "insufficient_funds",
	Type:    apierror.TypeInvalidRequest,
	Status:  http.StatusPaymentRequired,
	Message: "The account does not have enough money.",
}

// create moves money. Everything that it does is in the transaction of InTx, which the store
// commits together with the response. After a deadlock or a serialization failure, the store rolls
// back and calls create again.
func (s *transfers) create(w http.ResponseWriter, r *http.Request) error {
	var t transfer
	if err := apierror.DecodeJSON(w, r, &t, nil); err != nil {
		return err
	}
	t.From, t.RunBy = seawall.Principal(r.Context()), s.name
	switch {
	case t.Cents <= 0:
		return apierror.ParameterInvalid("cents", "must be positive")
	case t.To == t.From:
		return apierror.ParameterInvalid("to", "is the account itself")
	}
	err := pgstore.InTx(r.Context(), s.pool, func(tx pgx.Tx) error { return t.book(r.Context(), tx) })
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, t)
}

// book writes the transfer and changes both accounts. If it returns an error, InTx undoes that.
func (t *transfer) book(ctx context.Context, tx pgx.Tx) error {
	row := tx.QueryRow(ctx, "INSERT INTO transfers (debtor, creditor, cents, reference) VALUES ($1, $2, $3, $4) RETURNING id",
		t.From, t.To, t.Cents, t.Reference)
	if err := row.Scan(&t.ID); err != nil {
		return err
	}
	// The accounts are locked in the order of their names. Otherwise two opposite transfers could
	// wait for each other. PostgreSQL would end one of them, and the store would run it again.
	changes := map[string]int64{t.From: -t.Cents, t.To: t.Cents}
	for _, account := range slices.Sorted(maps.Keys(changes)) {
		var balance int64
		row := tx.QueryRow(ctx, "UPDATE accounts SET cents = cents + $2 WHERE id = $1 RETURNING cents", account, changes[account])
		switch err := row.Scan(&balance); {
		case errors.Is(err, pgx.ErrNoRows):
			return apierror.ResourceMissing("account")
		case err != nil:
			return err
		case balance < 0:
			return insufficientFunds
		}
	}
	return nil
}

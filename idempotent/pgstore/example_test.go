package pgstore_test

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// transfer moves money between two accounts. Both updates are in one transaction.
func transfer(ctx context.Context, tx pgx.Tx, from, to string, cents int64) error {
	tag, err := tx.Exec(ctx, "UPDATE accounts SET cents = cents - $1 WHERE id = $2 AND cents >= $1", cents, from)
	switch {
	case err != nil:
		return err
	case tag.RowsAffected() == 0:
		return apierror.ParameterInvalid("cents", "exceeds the balance")
	}
	_, err = tx.Exec(ctx, "UPDATE accounts SET cents = cents + $1 WHERE id = $2", cents, to)
	return err
}

// The Executor commits the transfer together with the record of its response. A request without a
// key gets a transaction of the pool.
//
//nolint:testableexamples // it needs a PostgreSQL at a fixed address
func ExampleNewExecutor() {
	pool, err := pgxpool.New(context.Background(), "postgres://localhost/bank")
	if err != nil {
		log.Fatal(err)
	}
	if err := pgstore.Migrate(context.Background(), pool, nil); err != nil {
		log.Fatal(err)
	}
	executor := pgstore.NewExecutor(pool, nil)

	create := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			From, To string
			Cents    int64
		}
		if err := apierror.DecodeJSON(w, r, &in, nil); err != nil {
			return err
		}
		err := pgstore.InTx(r.Context(), pool, func(tx pgx.Tx) error {
			return transfer(r.Context(), tx, in.From, in.To, in.Cents)
		})
		if err != nil {
			return err
		}
		w.WriteHeader(http.StatusCreated)
		return nil
	})

	mux := http.NewServeMux()
	mux.Handle("POST /v1/transfers", create)
	stack := &seawall.Stack{Idempotency: idempotent.New(executor, idempotent.ByPrincipal, nil)}
	log.Fatal(http.ListenAndServe("localhost:8080", stack.Handler(mux)))
}

// A job removes the records that are over their retention.
//
//nolint:testableexamples // it needs a PostgreSQL at a fixed address
func ExampleStore_Sweep() {
	pool, err := pgxpool.New(context.Background(), "postgres://localhost/bank")
	if err != nil {
		log.Fatal(err)
	}
	store := pgstore.New(pool, nil)
	for range time.Tick(time.Minute) {
		if _, err := store.Sweep(context.Background(), 0); err != nil {
			log.Print(err)
		}
	}
}

// The handler asks another service first, which may take long. Then it moves the money in its own
// transaction, together with the record of its response.
//
//nolint:testableexamples // it needs a PostgreSQL at a fixed address
func ExampleStore_FinishTx() {
	pool, err := pgxpool.New(context.Background(), "postgres://localhost/bank")
	if err != nil {
		log.Fatal(err)
	}
	store := pgstore.New(pool, nil)
	isFraud := func(context.Context) (bool, error) { return false, nil }

	create := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		fraud, err := isFraud(r.Context())
		if err != nil {
			return err
		}
		if fraud {
			return apierror.CodePermissionDenied
		}
		body, err := json.Marshal(map[string]string{"id": "tr_1"})
		if err != nil {
			return err
		}
		response := idempotent.Response{
			Status: http.StatusCreated,
			Header: http.Header{"Content-Type": {"application/json"}},
			Body:   body,
		}
		err = pgx.BeginFunc(r.Context(), pool, func(tx pgx.Tx) error {
			if err := transfer(r.Context(), tx, "a", "b", 100); err != nil {
				return err
			}
			return store.FinishTx(r.Context(), tx, response)
		})
		if err != nil {
			return err
		}
		return response.Write(w)
	})
	http.Handle("POST /v1/transfers", idempotent.New(store, idempotent.ByPrincipal, nil)(create))
}

// The effect has begun if and only if the transaction commits. If the process dies before its
// response is recorded, a retry is answered 409 idempotency_outcome_unknown, and does not move the
// money again.
//
//nolint:testableexamples // it needs a PostgreSQL at a fixed address
func ExampleStore_BeginEffectTx() {
	pool, err := pgxpool.New(context.Background(), "postgres://localhost/bank")
	if err != nil {
		log.Fatal(err)
	}
	store := pgstore.New(pool, nil)

	create := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		err := pgx.BeginFunc(r.Context(), pool, func(tx pgx.Tx) error {
			if err := transfer(r.Context(), tx, "a", "b", 100); err != nil {
				return err
			}
			return store.BeginEffectTx(r.Context(), tx)
		})
		if err != nil {
			return err
		}
		w.WriteHeader(http.StatusCreated)
		return nil
	})
	http.Handle("POST /v1/transfers", idempotent.New(store, idempotent.ByPrincipal, nil)(create))
}

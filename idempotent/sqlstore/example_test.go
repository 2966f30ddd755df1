package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// A handler moves money from one account to another, exactly once for each key.
//
//nolint:testableexamples // it needs a database
func ExampleNewExecutor() {
	db, err := sql.Open("pgx", "postgres://localhost/bank") // import the driver, such as pgx's stdlib
	if err != nil {
		log.Fatal(err)
	}
	if err := sqlstore.Migrate(context.Background(), db, sqlstore.PostgreSQL, nil); err != nil {
		log.Fatal(err)
	}
	executor := sqlstore.NewExecutor(db, sqlstore.PostgreSQL, nil)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /transfers", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		err := sqlstore.InTx(ctx, db, func(tx sqlstore.DBTX) error {
			if _, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents - 100 WHERE id = 'a'"); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + 100 WHERE id = 'b'")
			return err
		})
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	keyed := idempotent.New(executor, idempotent.ByPrincipal, &idempotent.Options{Namespace: "transfers"})
	err = http.ListenAndServe(":8080", keyed(mux))
	fmt.Println(err)
}

// A handler calls a slow service before its transaction, so it uses a Store and begins the
// transaction itself.
//
//nolint:testableexamples // it needs a database
func ExampleStore_FinishTx() {
	const settings = "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(1000)&_txlock=immediate"
	db, err := sql.Open("sqlite", "file:orders.db?"+settings)
	if err != nil {
		log.Fatal(err)
	}
	store := sqlstore.New(db, sqlstore.SQLite, nil)

	order := func(ctx context.Context, price int) (idempotent.Response, error) {
		response := idempotent.Response{Status: http.StatusCreated, Body: fmt.Appendf(nil, `{"price":%d}`, price)}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return response, err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (price) VALUES ($1)", price); err != nil {
			return response, err
		}
		if err := store.FinishTx(ctx, tx, response); err != nil {
			return response, err
		}
		return response, tx.Commit()
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, err := order(r.Context(), 100) // the slow service has named the price
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(response.Status)
		w.Write(response.Body)
	})
	err = http.ListenAndServe(":8080", idempotent.New(store, idempotent.ByPrincipal, nil)(handler))
	fmt.Println(err)
}

// A job removes old records.
//
//nolint:testableexamples // it needs a database
func ExampleStore_Sweep() {
	db, err := sql.Open("postgres", "postgres://localhost/bank")
	if err != nil {
		log.Fatal(err)
	}
	store := sqlstore.New(db, sqlstore.PostgreSQL, nil)
	for range time.Tick(time.Minute) {
		if _, err := store.Sweep(context.Background(), 0); err != nil {
			log.Print(err)
		}
	}
}

package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"gorm.io/gorm"
	_ "modernc.org/sqlite"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

func openSQLite(ctx context.Context, file string) (*sql.DB, *sqlstore.Executor, error) {
	const parameters = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		"&_pragma=busy_timeout(1000)&_txlock=immediate"
	db, err := sql.Open("sqlite3", "file:"+file+parameters)
	if err != nil {
		return nil, nil, err
	}
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite, nil); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, sqlstore.NewExecutor(db, sqlstore.SQLite, nil), nil
}

// This service uses the driver ncruces/go-sqlite3. For modernc.org/sqlite, only the name of the
// driver differs: it is "sqlite".
func Example_sqlite() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "orders")
	if err != nil {
		log.Fatal(err)
	}
	db, executor, err := openSQLite(ctx, filepath.Join(dir, "orders.db"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE orders (id INTEGER PRIMARY KEY)"); err != nil {
		log.Fatal(err)
	}
	keyed := idempotent.New(executor, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := sqlstore.InTx(r.Context(), db, func(tx sqlstore.DBTX) error {
			_, err := tx.ExecContext(r.Context(), "INSERT INTO orders DEFAULT VALUES")
			return err
		})
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}))
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/orders", http.NoBody)
		r.Header.Set("Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324")
		w := httptest.NewRecorder()
		keyed.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	var orders int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM orders").Scan(&orders); err != nil {
		log.Fatal(err)
	}
	fmt.Println(orders)
	if err := errors.Join(db.Close(), os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 201
	// 201
	// 1
}

// The handlers of this service find a transaction of bun in the context.
func Example_bun() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1) // each connection would have its own database
	if err := sqlstore.Migrate(context.Background(), db, sqlstore.SQLite, nil); err != nil {
		log.Fatal(err)
	}
	bunDB := bun.NewDB(db, sqlitedialect.New())
	if _, err := db.Exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)"); err != nil {
		log.Fatal(err)
	}
	type txKey struct{}
	executor := sqlstore.NewExecutor(db, sqlstore.SQLite, &sqlstore.Options{
		Begin: func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
			tx, err := bunDB.BeginTx(ctx, nil)
			return context.WithValue(ctx, txKey{}, tx), tx.Tx, err // not tx: it would change statements
		},
	})

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		type Order struct{ ID int64 }
		var conn bun.IDB = bunDB // for a request without a key
		if tx, ok := r.Context().Value(txKey{}).(bun.Tx); ok {
			conn = tx
		}
		if _, err := conn.NewInsert().Model(&Order{ID: 7}).Exec(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	keyed := idempotent.New(executor, idempotent.Global, nil)(handler)
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/orders", http.NoBody)
		r.Header.Set("Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324")
		w := httptest.NewRecorder()
		keyed.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 201
	// 201
}

// The handlers of this service find a transaction of gorm in the context.
//
//nolint:testableexamples // it needs a database
func Example_gorm() {
	var gormDB *gorm.DB // gorm.Open(...)
	db, err := gormDB.DB()
	if err != nil {
		log.Fatal(err)
	}
	type txKey struct{}
	executor := sqlstore.NewExecutor(db, sqlstore.PostgreSQL, &sqlstore.Options{
		Begin: func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
			tx := gormDB.WithContext(ctx).Begin()
			if tx.Error != nil {
				return nil, nil, tx.Error
			}
			return context.WithValue(ctx, txKey{}, tx), tx.Statement.ConnPool.(sqlstore.Transaction), nil
		},
	})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		type Order struct{ ID int64 }
		tx, ok := r.Context().Value(txKey{}).(*gorm.DB)
		if !ok {
			tx = gormDB // for a request without a key
		}
		if err := tx.WithContext(r.Context()).Create(&Order{ID: 7}).Error; err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	err = http.ListenAndServe(":8080", idempotent.New(executor, idempotent.ByPrincipal, nil)(handler))
	fmt.Println(err)
}

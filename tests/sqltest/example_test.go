package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"gorm.io/gorm"
	_ "modernc.org/sqlite"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

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
		tx := r.Context().Value(txKey{}).(bun.Tx)
		if _, err := tx.NewInsert().Model(&Order{ID: 7}).Exec(r.Context()); err != nil {
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
		tx := r.Context().Value(txKey{}).(*gorm.DB)
		if err := tx.WithContext(r.Context()).Create(&Order{ID: 7}).Error; err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	err = http.ListenAndServe(":8080", idempotent.New(executor, idempotent.ByPrincipal, nil)(handler))
	fmt.Println(err)
}

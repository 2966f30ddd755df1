package sqltest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// account is a row of accounts for bun and gorm.
type account struct {
	ID    string `bun:",pk" gorm:"primaryKey"`
	Cents int64
}

// wantOneTransfer runs a transfer once and replays it, after two runs that leave nothing: one
// answers 500, and one fails with an error of the database.
func wantOneTransfer(t *testing.T, db *database, x *sqlstore.Executor, transfer func(ctx context.Context, cents int64) error) {
	t.Helper()
	accounts(t, db)
	c := newClaim()
	for i, completion := range []idempotent.Completion{released, released, answer(201)} {
		d, err := execute(t, x, c, func(ctx context.Context) idempotent.Completion {
			if i == 1 {
				require.Error(t, transfer(ctx, 101)) // less than nothing is left
				return completion
			}
			require.NoError(t, transfer(ctx, 70))
			return completion
		})
		require.NoError(t, err)
		require.Equal(t, idempotent.VerdictAcquired, d.Verdict)
		require.Equal(t, []int{100, 100, 30}[i], cents(t, db, "from"))
	}
	wantVerdict(t, x, rival(c), idempotent.VerdictDone)
}

func TestQueriesOfSQLC(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		wantOneTransfer(t, db, sqlstore.NewExecutor(db.DB, db.dialect, nil), func(ctx context.Context, cents int64) error {
			q := newQueries(sqlstore.Tx(ctx))
			if err := q.Move(ctx, moveParams{cents, "to"}); err != nil {
				return err
			}
			if err := q.Move(ctx, moveParams{-cents, "from"}); err != nil {
				return err
			}
			left, err := q.Balance(ctx, "from")
			if err == nil && left != 30 {
				err = fmt.Errorf("%d are left", left)
			}
			return err
		})
	})
}

// openBun returns a database of bun on the same connections.
func openBun(db *database) *bun.DB {
	if db.dialect == sqlstore.SQLite {
		return bun.NewDB(db.DB, sqlitedialect.New())
	}
	return bun.NewDB(db.DB, pgdialect.New())
}

// moveBun makes a transfer with bun. conn is a transaction, of bun or not.
func moveBun(ctx context.Context, db *bun.DB, conn bun.IConn, cents int64) error {
	for _, a := range []account{{"to", cents}, {"from", -cents}} {
		_, err := db.NewUpdate().Conn(conn).Model(&a).Set("cents = cents + ?", a.Cents).WherePK().Exec(ctx)
		if err != nil {
			return err
		}
	}
	return db.NewSelect().Conn(conn).Model(new(account)).Where("id = ?", "to").Scan(ctx)
}

func TestBunInTheTransactionOfTx(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		b := openBun(db)
		wantOneTransfer(t, db, sqlstore.NewExecutor(db.DB, db.dialect, nil), func(ctx context.Context, cents int64) error {
			return moveBun(ctx, b, sqlstore.Tx(ctx), cents)
		})
	})
}

type bunKey struct{}

func TestBunBeginsTheTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		b := openBun(db)
		x := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Begin: func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
			tx, err := b.BeginTx(ctx, nil)
			return context.WithValue(ctx, bunKey{}, tx), tx.Tx, err
		}})
		wantOneTransfer(t, db, x, func(ctx context.Context, cents int64) error {
			tx := ctx.Value(bunKey{}).(bun.Tx)
			failure := errors.New("failure")
			err := tx.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { // a savepoint
				if err := moveBun(ctx, b, tx, 10); err != nil {
					return err
				}
				return failure
			})
			if !errors.Is(err, failure) {
				return err
			}
			return moveBun(ctx, b, tx, cents)
		})
	})
}

// openGorm returns a database of gorm on the same connections.
func openGorm(t testing.TB, db *database) *gorm.DB {
	t.Helper()
	g, err := gorm.Open(postgres.New(postgres.Config{Conn: db.DB}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	return g
}

func moveGorm(g *gorm.DB, cents int64) error {
	for _, a := range []account{{"to", cents}, {"from", -cents}} {
		if err := g.Model(&a).Update("cents", gorm.Expr("cents + ?", a.Cents)).Error; err != nil {
			return err
		}
	}
	return g.First(new(account), "id = ?", "to").Error
}

func TestGormInTheTransactionOfTx(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		g := openGorm(t, db)
		wantOneTransfer(t, db, sqlstore.NewExecutor(db.DB, db.dialect, nil), func(ctx context.Context, cents int64) error {
			tx := g.Session(&gorm.Session{Context: ctx, NewDB: true})
			tx.Statement.ConnPool = sqlstore.Tx(ctx)
			return moveGorm(tx, cents)
		})
	}, "pgx", "pq")
}

type gormKey struct{}

func TestGormBeginsTheTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(t testing.TB) *database) {
		db := open(t)
		x := sqlstore.NewExecutor(db.DB, db.dialect, &sqlstore.Options{Begin: beginGorm(openGorm(t, db))})
		wantOneTransfer(t, db, x, func(ctx context.Context, cents int64) error {
			return moveGorm(ctx.Value(gormKey{}).(*gorm.DB).WithContext(ctx), cents)
		})
	}, "pgx", "pq")
}

func beginGorm(g *gorm.DB) func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
	return func(ctx context.Context) (context.Context, sqlstore.Transaction, error) {
		tx := g.WithContext(ctx).Begin()
		if tx.Error != nil {
			return nil, nil, tx.Error
		}
		return context.WithValue(ctx, gormKey{}, tx), tx.Statement.ConnPool.(sqlstore.Transaction), nil
	}
}

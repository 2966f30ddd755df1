package sqltest

import (
	"context"

	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// Queries is what sqlc generates for two statements.
type Queries struct{ db DBTX }

// DBTX is the interface that sqlc generates.
type DBTX = sqlstore.DBTX

func newQueries(db DBTX) *Queries { return &Queries{db: db} }

const move = `UPDATE accounts SET cents = cents + $1 WHERE id = $2`

type moveParams struct {
	Cents int64
	ID    string
}

// Move runs the statement move.
func (q *Queries) Move(ctx context.Context, arg moveParams) error {
	_, err := q.db.ExecContext(ctx, move, arg.Cents, arg.ID)
	return err
}

const balance = `SELECT cents FROM accounts WHERE id = $1`

// Balance runs the statement balance.
func (q *Queries) Balance(ctx context.Context, id string) (int64, error) {
	row := q.db.QueryRowContext(ctx, balance, id)
	var cents int64
	err := row.Scan(&cents)
	return cents, err
}

package service

import (
	"context"
	"errors"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// A database has the records and the effects of the transactional ways. Its implementations are
// what a service would write.
type database interface {
	// migrate creates the tables that are missing.
	migrate(ctx context.Context) error
	// begin begins a transaction of the handler.
	begin(ctx context.Context) (transaction, error)
	// insert adds an effect in the Executor's transaction.
	insert(ctx context.Context, e history.Effect) error
	// find returns the first effect of a key. It reports false if there is none.
	find(ctx context.Context, key string) (e history.Effect, ok bool, err error)
	close()
}

// A transaction is one of a handler.
type transaction interface {
	insert(ctx context.Context, e history.Effect) error
	finish(ctx context.Context, r idempotent.Response) error
	beginEffect(ctx context.Context) error
	commit(ctx context.Context) error
	rollback() // does nothing after commit
}

// unavailable returns the error that answers a request whose database has failed. An error that has
// a status, such as one of package idempotent, stays as it is.
func unavailable(err error) error {
	if _, ok := errors.AsType[*apierror.Error](err); ok || err == nil {
		return err
	}
	return apierror.ServiceUnavailable(time.Second).WithCause(err)
}

const (
	insertEffect = "INSERT INTO effects (key, way, amount, run) VALUES ($1, $2, $3, $4)"
	findEffect   = "SELECT way, amount, run FROM effects WHERE key = $1 LIMIT 1"
	indexEffects = "CREATE INDEX IF NOT EXISTS effects_of_key ON effects (key)" // not unique: duplicates must show
)

package pgstore_test

import (
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/idempotent/pgstore"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// The interfaces that the stores have.
var (
	_ idempotent.Store         = (*pgstore.Store)(nil)
	_ idempotent.Sweeper       = (*pgstore.Store)(nil)
	_ idempotent.Resolver      = (*pgstore.Store)(nil)
	_ idempotent.UnknownLister = (*pgstore.Store)(nil)

	_ idempotent.Executor      = (*pgstore.Executor)(nil)
	_ idempotent.Sweeper       = (*pgstore.Executor)(nil)
	_ idempotent.Resolver      = (*pgstore.Executor)(nil)
	_ idempotent.UnknownLister = (*pgstore.Executor)(nil)
)

// modes are the ways in which pgx sends statements: by default, and behind a proxy with transaction
// pooling.
var modes = []string{"cache_statement", "exec", "simple_protocol"}

// inMode returns the URL of a server for a mode.
func inMode(server *pgtest.Server, mode string) string {
	return server.URL("") + "&default_query_exec_mode=" + mode
}

func TestStore(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			idempotenttest.Run(t, func(t *testing.T) (idempotent.Store, func(time.Duration)) {
				pool, advance := newPool(t, inMode(server, mode))
				return pgstore.New(pool, nil), advance
			})
		})
	}
}

// An Executor is also a Store.
func TestExecutorAsStore(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	idempotenttest.Run(t, func(t *testing.T) (idempotent.Store, func(time.Duration)) {
		pool, advance := newPool(t, server.URL(""))
		return pgstore.NewExecutor(pool, nil), advance
	})
}

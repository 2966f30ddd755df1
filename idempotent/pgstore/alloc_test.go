//go:build !race

package pgstore_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// This test is not parallel: AllocsPerRun counts the whole process. It includes what pgx allocates.
func TestAllocOfAnExecutor(t *testing.T) {
	pool, _ := newPool(t, sharedServer(t).URL(""))
	s := pgstore.NewExecutor(pool, nil)
	run := func(context.Context, int) idempotent.Completion { return done("response") }
	execute := func(c idempotent.Claim) {
		if _, err := s.Execute(context.Background(), c, run); err != nil {
			panic(err)
		}
	}
	finished := newClaim()
	execute(finished)
	for _, tt := range []struct {
		name   string
		budget float64
		call   func()
	}{
		{"a replay", 32, func() { execute(finished) }},
		{"a first run", 190, func() { execute(newClaim()) }},
	} {
		n := testing.AllocsPerRun(50, tt.call)
		t.Logf("%v allocations of %s", n, tt.name)
		require.LessOrEqual(t, n, tt.budget, tt.name)
	}
}

//go:build !race

package redislimit_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// The tests here are not parallel: AllocsPerRun counts the whole process.

func TestAllocOfADecision(t *testing.T) {
	reply := []any{int64(1), int64(time.Hour)}
	l := redislimit.NewRunner(runnerFunc(func() (any, error) { return reply, nil }), nil)
	c := perHour("k", 1)
	n := testing.AllocsPerRun(100, func() {
		if _, err := l.Take(context.Background(), c); err != nil {
			panic(err)
		}
	})
	t.Logf("%v allocations", n)
	require.LessOrEqual(t, n, 23.0)
}

func TestAllocOfADenial(t *testing.T) {
	l := redislimit.NewRunner(runnerFunc(func() (any, error) { return []any{int64(0), int64(time.Hour)}, nil }), nil)
	c := perHour("k", 1)
	require.False(t, take(t, l, c).Allowed)
	n := testing.AllocsPerRun(100, func() {
		if _, err := l.Take(context.Background(), c); err != nil {
			panic(err)
		}
	})
	t.Logf("%v allocations of a denial that is remembered", n)
	require.Zero(t, n)
}

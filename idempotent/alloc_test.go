//go:build !race

package idempotent_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestAllocOfAReplay(t *testing.T) {
	serve := newKeyed(t)
	require.Equal(t, http.StatusCreated, serve("k"))
	n := testing.AllocsPerRun(1000, func() { serve("k") })
	t.Logf("replay of 1 KiB: %.0f allocations", n)
	require.LessOrEqual(t, n, 5.0)
}

func TestAllocOfAFirstRun(t *testing.T) {
	serve := newKeyed(t)
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)[4:]
	}
	i := 0
	n := testing.AllocsPerRun(1000, func() {
		serve(keys[i])
		i++
	})
	t.Logf("first run, 1 KiB: %.0f allocations", n)
	require.LessOrEqual(t, n, 16.0)
}

func TestAllocOfTheMemoryStore(t *testing.T) {
	m := idempotent.NewMemory(nil)
	c := claimOf("p", 1)
	require.NoError(t, finished(t, m, c, 1000))
	dup := c
	dup.Token = idempotent.NewToken()
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		if v, err := m.Acquire(ctx, dup); err != nil || v.State != idempotent.Done {
			t.Fatal(v.State, err)
		}
	})
	t.Logf("Memory.Acquire of a finished record: %.0f allocations", n)
	require.Zero(t, n)
}

//go:build !race

package idempotent_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestReplayAlloc(t *testing.T) {
	serve := newKeyed(t)
	require.Equal(t, http.StatusCreated, serve("k"))
	n := testing.AllocsPerRun(1000, func() { serve("k") })
	t.Logf("replay of 1 KiB: %.0f allocations", n)
	require.LessOrEqual(t, n, 13.0)
}

func TestFirstRunAlloc(t *testing.T) {
	serve := newKeyed(t)
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	i := 0
	n := testing.AllocsPerRun(1000, func() {
		serve(keys[i])
		i++
	})
	t.Logf("first run, 1 KiB: %.0f allocations", n)
	require.LessOrEqual(t, n, 38.0)
}

func TestMemoryAcquireAlloc(t *testing.T) {
	m := idempotent.NewMemory(nil)
	c := claimOf("p", 1)
	require.NoError(t, finished(t, m, c, 1000))
	dup := c
	dup.Token = idempotent.NewToken()
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		if d, err := m.Acquire(ctx, dup); err != nil || d.Verdict != idempotent.VerdictDone {
			t.Fatal(d.Verdict, err)
		}
	})
	t.Logf("Acquire of a finished record: %.0f allocations", n)
	require.Zero(t, n)
}

// The work of a write must not depend on the number of scopes.
func TestMemoryWriteUnderPressureAlloc(t *testing.T) {
	response := encoded(1000, true)
	for _, scopes := range []int{10, 10_000} {
		m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: 31 << 20}) // one shard
		write := func(c idempotent.Claim) {
			if _, err := m.Acquire(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if err := m.Finish(t.Context(), c.Owner(), done(response)); err != nil {
				t.Fatal(err)
			}
		}
		const before, runs = 24_000, 1000
		claims := make([]idempotent.Claim, before+runs+1)
		for i := range claims {
			claims[i] = claimOf(fmt.Sprint("p", i%scopes), i)
		}
		for _, c := range claims[:before] {
			write(c)
		}
		dropped, i := m.Stats().Dropped, before
		require.Positive(t, dropped)

		n := testing.AllocsPerRun(runs, func() {
			write(claims[i])
			i++
		})

		t.Logf("a write under pressure, %d scopes: %.0f allocations", scopes, n)
		require.LessOrEqual(t, n, 25.0)
		require.LessOrEqual(t, m.Stats().Dropped-dropped, int64(2*runs), "it drops no more than it needs")
		require.NoError(t, m.Check())
	}
}

// A record counts 512 bytes toward MemoryOptions.MaxBytes.
func TestMemoryRecordAlloc(t *testing.T) {
	const records = 60_000
	for _, perScope := range []int{1, 100} {
		claims := make([]idempotent.Claim, records)
		for i := range claims {
			claims[i] = claimOf(fmt.Sprint(i/perScope), i)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := idempotent.NewMemory(nil)
		for _, c := range claims {
			if err := recorded(t, m, c, nil); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		n := float64(after.HeapAlloc-before.HeapAlloc) / records
		t.Logf("a record, %d in each scope: %.0f bytes", perScope, n)
		require.LessOrEqual(t, n, 512*1.05)
		runtime.KeepAlive(m)
		runtime.KeepAlive(claims)
	}
}

//go:build !race

package idempotent_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAllocOfAReplay(t *testing.T) {
	serve := newKeyed(t)
	require.Equal(t, http.StatusCreated, serve("k"))
	n := testing.AllocsPerRun(1000, func() { serve("k") })
	t.Logf("replay of 1 KiB: %.0f allocations", n)
	require.LessOrEqual(t, n, 13.0)
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
	require.LessOrEqual(t, n, 37.0)
}

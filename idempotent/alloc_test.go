//go:build !race

package idempotent_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// sink is a ResponseWriter that allocates nothing, as far as it can.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// bench is a keyed request of 1 KiB to a handler that answers with 1 KiB, and what to call for one. Everything outside of the middleware
// is made once.
func newBench(tb testing.TB) (serve func(key string) (status int)) {
	tb.Helper()
	response := make([]byte, 1<<10)
	mw := idempotent.New(idempotent.NewMemory(&idempotent.MemoryOptions{MaxEntries: -1, MaxBytes: -1, ScopeEntries: -1, ScopeBytes: -1}), idempotent.ByPrincipal, nil)(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{"application/json"}
			w.WriteHeader(http.StatusCreated)
			w.Write(response)
		}))
	r, err := http.NewRequest(http.MethodPost, "http://example.com/v1/resources", nil)
	require.NoError(tb, err)
	r, state := reqstate.Ensure(r)
	state.SetRequestID("req_0123456789abcdef")
	state.SetPrincipal("principal")
	body := bytes.NewReader(make([]byte, 1<<10))
	r.ContentLength = body.Size()
	r.Header.Set("Content-Type", "application/json")
	line := []string{""}
	r.Header["Idempotency-Key"] = line
	closer := io.NopCloser(body)
	w := &sink{header: make(http.Header)}
	return func(key string) int {
		body.Seek(0, io.SeekStart)
		r.Body = closer
		line[0] = key
		clear(w.header)
		mw.ServeHTTP(w, r)
		return w.status
	}
}

func TestAllocOfAReplay(t *testing.T) {
	serve := newBench(t)
	require.Equal(t, http.StatusCreated, serve("k"))
	n := testing.AllocsPerRun(1000, func() { serve("k") })
	t.Logf("replay of 1 KiB: %.0f allocations", n)
	require.LessOrEqual(t, n, 10.0)
}

func TestAllocOfAFirstRun(t *testing.T) {
	serve := newBench(t)
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
	require.LessOrEqual(t, n, 20.0)
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

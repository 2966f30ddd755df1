package idempotent_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// newKeyed returns a function that serves a keyed request of 1 KiB with a handler that answers
// 1 KiB. Requests and writers are reused, so that only the middleware allocates.
func newKeyed(tb testing.TB) (serve func(key string) (status int)) {
	tb.Helper()
	response := make([]byte, 1<<10)
	mw := idempotent.New(idempotent.NewMemory(&idempotent.MemoryOptions{MaxRecords: -1, MaxBytes: -1}), idempotent.ByPrincipal, nil)(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{"application/json"}
			w.WriteHeader(http.StatusCreated)
			w.Write(response)
		}))
	r, err := http.NewRequest(http.MethodPost, "http://example.com/v1/resources", nil)
	require.NoError(tb, err)
	r, state := reqstate.Ensure(r)
	state.SetRequestID("req_0123456789abcdef")
	r = reqstate.WithPrincipal(r, "principal")
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

func BenchmarkReplay(b *testing.B) {
	serve := newKeyed(b)
	serve("k")
	b.ReportAllocs()
	for b.Loop() {
		serve("k")
	}
}

func BenchmarkFirstRun(b *testing.B) {
	serve := newKeyed(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		serve(strconv.Itoa(i))
	}
}

func BenchmarkMemoryAcquireDone(b *testing.B) {
	m := idempotent.NewMemory(nil)
	c := claimOf("p", 1)
	if _, err := m.Acquire(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	if err := m.Finish(b.Context(), c.Owner(), idempotent.Completion{State: idempotent.StateDone, Retention: 1 << 40}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = m.Acquire(b.Context(), c)
	}
}

// A full store that evicts must not be slow.
func BenchmarkMemoryFull(b *testing.B) {
	for _, entries := range []int{1 << 10, 1 << 16} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			m := idempotent.NewMemory(&idempotent.MemoryOptions{MaxRecords: entries, EvictWhenFull: true})
			cycle := func(n int) {
				c := claimOf(strconv.Itoa(n%10), n)
				_, _ = m.Acquire(b.Context(), c)
				_ = m.Finish(b.Context(), c.Owner(), idempotent.Completion{State: idempotent.StateDone, Retention: 1 << 50})
			}
			for n := range 2 * entries {
				cycle(n)
			}
			b.ReportAllocs()
			for n := 2 * entries; b.Loop(); n++ {
				cycle(n)
			}
		})
	}
}

func BenchmarkMemoryParallel(b *testing.B) {
	m := idempotent.NewMemory(&idempotent.MemoryOptions{EvictWhenFull: true})
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(n.Add(1))
			c := claimOf(strconv.Itoa(i%100), i)
			_, _ = m.Acquire(b.Context(), c)
			_ = m.Finish(b.Context(), c.Owner(), idempotent.Completion{State: idempotent.StateDone, Retention: 1 << 50})
		}
	})
}

func BenchmarkFingerprintJSON(b *testing.B) {
	body := []byte(`{"amount":1000,"currency":"eur","items":[{"id":"a","n":1},{"id":"b","n":2}],"note":"hello"}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		idempotent.CanonicalJSON(body)
	}
}

package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// storm is a handler that ends in many ways, and knows what must never be.
type storm struct {
	t       *testing.T
	mu      sync.Mutex
	random  *rand.Rand
	running map[string]bool
	effects map[string]int
	answers map[string]int // that were written whole, by key
}

func (s *storm) intN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *storm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	if s.running[key] {
		s.t.Errorf("%s runs twice at once", key)
	}
	s.running[key] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running[key] = false
	}()
	time.Sleep(time.Duration(s.intN(3000)) * time.Millisecond)
	switch s.intN(8) {
	case 0:
		panic("a bug")
	case 1:
		runtime.Goexit()
	case 2:
		w.WriteHeader(http.StatusInternalServerError)
	case 3:
		idempotent.Stream(r.Context())
		_, _ = io.WriteString(w, "half ")
		time.Sleep(time.Second)
		_, _ = io.WriteString(w, "done")
	case 4:
		_, _ = w.Write(make([]byte, 2<<20))
	case 5:
		if idempotent.BeginEffect(r.Context()) == nil {
			s.mu.Lock()
			s.effects[key]++
			s.mu.Unlock()
		}
		w.WriteHeader(http.StatusBadGateway)
	default:
		s.mu.Lock()
		s.answers[key]++
		n := s.answers[key]
		s.mu.Unlock()
		_, _ = fmt.Fprintf(w, "answer %d", n)
	}
}

// Requests of services that share a Memory, one of them through its own store: at most one
// runs at a time, no effect happens twice, no answer is given but the first, and nothing stays.
func TestStormOnOneMemory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			h := &storm{
				t: t, random: rand.New(rand.NewPCG(seed, 0)),
				running: make(map[string]bool), effects: make(map[string]int), answers: make(map[string]int),
			}
			m := idempotent.NewMemory(nil)
			var services []http.Handler
			for _, store := range []idempotent.Store{m, m, leased{m}} {
				o := &idempotent.Options{Wait: 4 * time.Second, MaxWaiters: 20}
				services = append(services, idempotent.New(store, idempotent.Global, o)(h))
			}
			var wg sync.WaitGroup
			var replays atomic.Int64
			for range 50 {
				wg.Go(func() {
					for range 20 {
						key := fmt.Sprint(time.Now().Unix()/4*3 + int64(h.intN(3)))
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(100+h.intN(8000))*time.Millisecond)
						r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader("body of "+key))
						r.Header.Set("Idempotency-Key", key)
						w := httptest.NewRecorder()
						done := make(chan struct{})
						go func() {
							defer close(done)
							defer func() { _ = recover() }()
							services[h.intN(3)].ServeHTTP(w, r)
						}()
						<-done
						cancel()
						if w.Header().Get("Idempotent-Replayed") != "" {
							replays.Add(1)
							if got := w.Body.String(); got != "answer 1" {
								t.Errorf("%s is replayed as %q", key, got)
							}
						}
						time.Sleep(time.Duration(h.intN(2000)) * time.Millisecond)
					}
				})
			}
			wg.Wait()

			require.Positive(t, replays.Load())
			require.Zero(t, m.Running())
			require.NoError(t, m.Check())
			for key, n := range h.effects {
				require.Equal(t, 1, n, key)
			}
			for key, n := range h.answers {
				require.Equal(t, 1, n, key)
			}
		})
	}
}

// leased hides that a store is local: its claims have leases, and its calls have timeouts.
type leased struct{ idempotent.Store }

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

// randomHandler is a handler that ends in random ways. It checks that a key runs once at a time.
type randomHandler struct {
	t       *testing.T
	mu      sync.Mutex
	random  *rand.Rand
	running map[string]bool
	effects map[string]int
	answers map[string]int // that were written completely, by key
}

func (s *randomHandler) intN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *randomHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	if s.running[key] {
		s.t.Errorf("%s runs twice at the same time", key)
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

// Services share a Memory, one of them with leases. At most one request of a key runs at a time,
// no effect happens twice, only the first answer is replayed, and no claim is left.
func TestRandomRequests(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			h := &randomHandler{
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
						isolated(func() { services[h.intN(3)].ServeHTTP(w, r) })
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

// network is a store behind a bad network: requests and replies are late or lost. A request may
// arrive after its caller has timed out.
type network struct {
	idempotent.Store
	mu     sync.Mutex
	random *rand.Rand
}

func (n *network) intN(limit int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random.IntN(limit)
}

func (n *network) upTo(d time.Duration) time.Duration {
	return time.Duration(n.intN(int(d.Milliseconds()))) * time.Millisecond
}

// delay is mostly short, and sometimes longer than the timeout of the caller.
func (n *network) delay() time.Duration {
	if n.intN(10) == 0 {
		return time.Duration(n.intN(3000)) * time.Millisecond
	}
	return time.Duration(n.intN(20)) * time.Millisecond
}

func (n *network) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	return carry(ctx, n, func(ctx context.Context) (idempotent.Decision, error) { return n.Store.Acquire(ctx, c) })
}

func (n *network) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	_, err := carry(ctx, n, func(ctx context.Context) (any, error) { return nil, n.Store.Renew(ctx, o, d) })
	return err
}

func (n *network) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	_, err := carry(ctx, n, func(ctx context.Context) (any, error) { return nil, n.Store.BeginEffect(ctx, o) })
	return err
}

func (n *network) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	_, err := carry(ctx, n, func(ctx context.Context) (any, error) { return nil, n.Store.Finish(ctx, o, c) })
	return err
}

// carry performs an operation of the store across the network.
func carry[T any](ctx context.Context, n *network, op func(context.Context) (T, error)) (T, error) {
	type reply struct {
		v   T
		err error
	}
	replies := make(chan reply, 1)
	if n.intN(12) == 0 {
		return *new(T), errDown // not sent
	}
	there, back, lost := n.delay(), n.delay(), n.intN(12) == 0
	go func() {
		time.Sleep(there)
		v, err := op(context.WithoutCancel(ctx))
		if !lost {
			time.Sleep(back)
			replies <- reply{v, err}
		}
	}()
	select {
	case r := <-replies:
		return r.v, r.err
	case <-ctx.Done():
		return *new(T), ctx.Err()
	}
}

// effects records the owners that began an effect, by key.
type effects struct {
	mu    sync.Mutex
	begun map[string]map[idempotent.Token]bool
}

// begin begins an effect. It may run in any goroutine of a run.
func (e *effects) begin(ctx context.Context, key string) error {
	o, _ := idempotent.OwnerOf(ctx)
	err := idempotent.BeginEffect(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun[key] == nil {
		e.begun[key] = map[idempotent.Token]bool{}
	}
	e.begun[key][o.Token] = true
	return nil
}

// check checks that at most one owner of each key began an effect. It returns their number.
func (e *effects) check(t *testing.T) (n int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, owners := range e.begun {
		if len(owners) > 1 {
			t.Errorf("%s: %d runs have begun an effect", key, len(owners))
		}
		n += len(owners)
	}
	return n
}

// At most one run of a key begins an effect, also if the run ends at the same time, if the
// network is bad, and if a process dies.
func TestOneRunBeginsAnEffect(t *testing.T) {
	t.Parallel()
	var begun, runs atomic.Int64
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			e := &effects{begun: map[string]map[idempotent.Token]bool{}}
			random := &network{random: rand.New(rand.NewPCG(seed, 9))}
			guards := networkGuards(seed)
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					for round := range 6 {
						time.Sleep(random.upTo(4 * time.Second))
						key := fmt.Sprint(i%3, round)
						isolated(func() {
							_, _ = idempotent.Do(t.Context(), guards[random.intN(3)], callOf(key), func(ctx context.Context) (int, error) {
								runs.Add(1)
								if random.intN(3) > 0 {
									when := random.upTo(3 * time.Second)
									wg.Go(func() { time.Sleep(when); _ = e.begin(ctx, key) })
								} else {
									_ = e.begin(ctx, key)
								}
								time.Sleep(random.upTo(3 * time.Second))
								return endRandomly(random)
							})
						})
					}
				})
			}
			wg.Wait()
			begun.Add(int64(e.check(t)))
			time.Sleep(time.Minute) // for late requests
		})
	}
	require.Greater(t, runs.Load(), int64(300))
	require.Greater(t, begun.Load(), int64(60))
}

// networkGuards returns three processes that share a store. The last one crashes at the end of
// every run if the seed is even.
func networkGuards(seed uint64) (guards []*idempotent.Guard) {
	store := memory()
	for i := range uint64(3) {
		n := &network{Store: store, random: rand.New(rand.NewPCG(seed, i))}
		if i == 2 && seed%2 == 0 {
			n.Store = crashed(store)
		}
		o := &idempotent.Options{Lease: 6 * time.Second, MaxRun: 20 * time.Second, Wait: 2 * time.Second}
		guards = append(guards, idempotent.NewGuard(n, o))
	}
	return guards
}

// endRandomly mostly fails.
func endRandomly(random *network) (int, error) {
	switch random.intN(8) {
	case 0:
		panic("boom")
	case 1:
		runtime.Goexit()
	case 2:
		return 1, nil
	case 3:
		time.Sleep(10 * time.Second)
	}
	return 0, errDown
}

// In real time, the scheduler decides whether BeginEffect or the end of the run comes first.
func TestEffectsThatRaceWithTheEndOfTheRun(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]idempotent.Store{"memory": memory(), "leases": leased{memory()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &effects{begun: map[string]map[idempotent.Token]bool{}}
			g := idempotent.NewGuard(store, nil)
			random := rand.New(rand.NewPCG(1, 2))
			for i := range 2000 {
				key := fmt.Sprint(i)
				var wg sync.WaitGroup
				for range 2 {
					turns := random.IntN(12)
					_, _ = idempotent.Do(t.Context(), g, callOf(key), func(ctx context.Context) (int, error) {
						for range 2 {
							wg.Go(func() { _ = e.begin(ctx, key) })
						}
						for range turns {
							runtime.Gosched()
						}
						return 0, errDown
					})
					wg.Wait()
				}
			}
			e.check(t)
		})
	}
}

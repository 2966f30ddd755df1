package idempotent_test

import (
	"context"
	"fmt"
	"io"
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

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/idemtest"
)

// keyed makes a call with a key of one process. It returns the value, or the code of the error.
// A call that panics has the code "panic", and one that ends its goroutine "Goexit".
type keyed func(ctx context.Context, key, request string, f func(context.Context) (string, error)) (string, apierror.Code)

// adapters make calls with a key through Do and through the middleware.
var adapters = map[string]func(idempotent.Store, *idempotent.Options) keyed{
	"Do": func(s idempotent.Store, o *idempotent.Options) keyed {
		g := idempotent.NewGuard(s, o)
		return func(ctx context.Context, key, request string, f func(context.Context) (string, error)) (v string, code apierror.Code) {
			return ended(func() (string, apierror.Code) {
				fp := idempotent.FingerprintOf(httptest.NewRequest(http.MethodPost, "/", nil), []byte(request))
				v, err := idempotent.Do(ctx, g, idempotent.Call{Principal: "customer", Key: key, Fingerprint: fp}, f)
				if err != nil {
					return v, apierror.From(err).Code()
				}
				return v, ""
			})
		}
	},
	"middleware": func(s idempotent.Store, o *idempotent.Options) keyed {
		type handlerKey struct{}
		mw := idempotent.New(s, func(*http.Request) (string, error) { return "customer", nil }, o)(
			apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				f := r.Context().Value(handlerKey{}).(func(context.Context) (string, error))
				v, err := f(r.Context())
				if err == nil {
					_, err = io.WriteString(w, v)
				}
				return err
			}))
		return func(ctx context.Context, key, request string, f func(context.Context) (string, error)) (string, apierror.Code) {
			return ended(func() (string, apierror.Code) {
				ctx := context.WithValue(ctx, handlerKey{}, f)
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(request))
				r.Header.Set("Idempotency-Key", `"`+key+`"`)
				w := httptest.NewRecorder()
				mw.ServeHTTP(w, r)
				return w.Body.String(), apierror.CodeOf(apierror.Parse(w.Result()))
			})
		}
	},
}

// ended calls f on its own goroutine, and returns how it ended.
func ended(f func() (string, apierror.Code)) (v string, code apierror.Code) {
	code = "Goexit"
	if panicked, _ := isolated(func() { v, code = f() }); panicked != nil {
		return "", "panic"
	}
	if code != "" {
		v = ""
	}
	return v, code
}

// shared is a store and its Resolver.
type shared struct {
	idempotent.Store
	resolver idempotent.Resolver
}

// stores are the stores of the scenarios. Local ones have no leases.
var stores = map[string]struct {
	local bool
	open  func() shared
}{
	"memory":             {true, func() shared { m := idempotent.NewMemory(nil); return shared{m, m} }},
	"memory with leases": {false, func() shared { m := idempotent.NewMemory(nil); return shared{leased{m}, m} }},
	"decorated memory":   {true, func() shared { m := idempotent.NewMemory(nil); return shared{decorated{leased{m}, m}, m} }},
	"reference":          {false, func() shared { r := idemtest.NewReference(sinceStart()); return shared{r, r} }},
}

// stage has the processes of a scenario, which share a store.
type stage struct {
	*testing.T
	store   shared
	process func(idempotent.Store, *idempotent.Options) keyed
	runs    atomic.Int64
}

// start starts a process.
func (s *stage) start(o *idempotent.Options) keyed { return s.process(s.store.Store, o) }

// works returns a function that succeeds after d, with the number of its run.
func (s *stage) works(d time.Duration) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		n := s.runs.Add(1)
		time.Sleep(d)
		return fmt.Sprint("run ", n), nil
	}
}

// fails returns a function that fails after d, after BeginEffect if effect is set.
func (s *stage) fails(d time.Duration, effect bool, err error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		s.runs.Add(1)
		if effect {
			require.NoError(s, idempotent.BeginEffect(ctx))
		}
		time.Sleep(d)
		return "", err
	}
}

// ends returns a function that calls end, after BeginEffect if effect is set.
func (s *stage) ends(effect bool, end func()) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		s.runs.Add(1)
		if effect {
			require.NoError(s, idempotent.BeginEffect(ctx))
		}
		end()
		return "", nil
	}
}

// want makes a call and checks its answer.
func (s *stage) want(p keyed, key, request string, f func(context.Context) (string, error), value string, code apierror.Code) {
	s.Helper()
	v, c := p(s.Context(), key, request, f)
	require.Equal(s, code, c)
	require.Equal(s, value, v)
}

// scenarios are the protocol. Those with leases have processes that die or are paused.
var scenarios = map[string]struct {
	leases bool
	play   func(s *stage)
	runs   int64
}{
	"a retry gets the answer": {runs: 1, play: func(s *stage) {
		a, b := s.start(nil), s.start(nil)
		for _, p := range []keyed{a, a, b} {
			s.want(p, "k", "x", s.works(0), "run 1", "")
		}
	}},
	"another request conflicts, in every state": {runs: 3, play: func(s *stage) {
		p, q := s.start(nil), s.start(nil)
		go p(s.Context(), "running", "x", s.works(time.Second))
		synctest.Wait()
		s.want(p, "done", "x", s.works(0), "run 2", "")
		s.want(p, "unknown", "x", s.fails(0, true, errDown), "", apierror.CodeAPIError)
		for _, key := range []string{"running", "done", "unknown"} {
			start := time.Now()
			s.want(p, key, "y", s.works(0), "", apierror.CodeIdempotencyConflict)
			s.want(q, key, "y", s.works(0), "", apierror.CodeIdempotencyConflict)
			require.Zero(s, time.Since(start))
		}
		time.Sleep(time.Minute)
	}},
	"keys are independent": {runs: 2, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.works(0), "run 1", "")
		s.want(p, "l", "x", s.works(0), "run 2", "")
	}},
	"namespaces are independent": {runs: 2, play: func(s *stage) {
		s.want(s.start(nil), "k", "x", s.works(0), "run 1", "")
		s.want(s.start(&idempotent.Options{Namespace: "n"}), "k", "x", s.works(0), "run 2", "")
	}},
	"a failure frees the key": {runs: 2, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.fails(0, false, errDown), "", apierror.CodeAPIError)
		s.want(p, "k", "y", s.works(0), "run 2", "")
	}},
	"a kept error is the answer": {runs: 1, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.fails(0, false, cardDeclined), "", "card_declined")
		s.want(p, "k", "x", s.works(0), "", "card_declined")
	}},
	"a kept error after an effect is the answer": {runs: 1, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.fails(0, true, cardDeclined), "", "card_declined")
		s.want(p, "k", "x", s.works(0), "", "card_declined")
	}},
	"a failure after an effect is unknown": {runs: 1, play: func(s *stage) {
		p, q := s.start(nil), s.start(nil)
		s.want(p, "k", "x", s.fails(0, true, errDown), "", apierror.CodeAPIError)
		for _, p := range []keyed{p, q} {
			s.want(p, "k", "x", s.works(0), "", apierror.CodeIdempotencyOutcomeUnknown)
		}
	}},
	"an unknown outcome is resolved": {runs: 2, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.fails(0, true, errDown), "", apierror.CodeAPIError)
		id := (*idempotent.Options)(nil).ID("customer", "k")
		require.NoError(s, s.store.resolver.Resolve(s.Context(), id, idempotent.Completion{State: idempotent.StateAbsent}))
		s.want(p, "k", "x", s.works(0), "run 2", "")
	}},
	"duplicates of a process wait": {runs: 1, play: func(s *stage) {
		p := s.start(nil)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { s.want(p, "k", "x", s.works(5*time.Second), "run 1", "") })
		}
		wg.Wait()
	}},
	"duplicates of other processes wait": {runs: 1, play: func(s *stage) {
		var wg sync.WaitGroup
		for range 10 {
			p := s.start(nil)
			wg.Go(func() { s.want(p, "k", "x", s.works(5*time.Second), "run 1", "") })
		}
		wg.Wait()
	}},
	"duplicates of a failing call do not run it in turn": {runs: 1, play: func(s *stage) {
		p, q := s.start(nil), s.start(nil)
		var wg sync.WaitGroup
		wg.Go(func() { s.want(p, "k", "x", s.fails(5*time.Second, false, errDown), "", apierror.CodeAPIError) })
		synctest.Wait()
		for i := range 10 {
			wg.Go(func() { s.want([]keyed{p, q}[i%2], "k", "x", s.works(0), "", apierror.CodeServiceUnavailable) })
		}
		wg.Wait()
	}},
	"duplicates learn of an unknown outcome": {runs: 1, play: func(s *stage) {
		p, q := s.start(nil), s.start(nil)
		var wg sync.WaitGroup
		wg.Go(func() { s.want(p, "k", "x", s.fails(5*time.Second, true, errDown), "", apierror.CodeAPIError) })
		synctest.Wait()
		for i := range 10 {
			wg.Go(func() { s.want([]keyed{p, q}[i%2], "k", "x", s.works(0), "", apierror.CodeIdempotencyOutcomeUnknown) })
		}
		wg.Wait()
	}},
	"a duplicate waits no longer than Wait": {runs: 1, play: func(s *stage) {
		p, q := s.start(&idempotent.Options{Wait: 2 * time.Second}), s.start(&idempotent.Options{Wait: 2 * time.Second})
		go p(s.Context(), "k", "x", s.works(20*time.Second))
		synctest.Wait()
		for _, p := range []keyed{p, q} {
			start := time.Now()
			s.want(p, "k", "x", s.works(0), "", apierror.CodeIdempotencyInProgress)
			require.Equal(s, 2*time.Second, time.Since(start))
		}
		time.Sleep(time.Minute)
	}},
	"too many duplicates do not wait": {runs: 1, play: func(s *stage) {
		p := s.start(&idempotent.Options{MaxWaiters: 96})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { s.want(p, "k", "x", s.works(5*time.Second), "run 1", "") })
		}
		synctest.Wait()
		start := time.Now()
		s.want(p, "k", "x", s.works(0), "", apierror.CodeIdempotencyInProgress)
		require.Zero(s, time.Since(start))
		wg.Wait()
	}},
	"a panic frees the key": {runs: 2, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.ends(false, func() { panic("boom") }), "", "panic")
		s.want(p, "k", "x", s.works(0), "run 2", "")
	}},
	"Goexit frees the key": {runs: 2, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.ends(false, runtime.Goexit), "", "Goexit")
		s.want(p, "k", "x", s.works(0), "run 2", "")
	}},
	"a panic after an effect is unknown": {runs: 1, play: func(s *stage) {
		p := s.start(nil)
		s.want(p, "k", "x", s.ends(true, func() { panic("boom") }), "", "panic")
		s.want(p, "k", "x", s.works(0), "", apierror.CodeIdempotencyOutcomeUnknown)
	}},
	"Forget frees the key": {runs: 3, play: func(s *stage) {
		p := s.start(nil)
		for _, effect := range []bool{false, true} {
			v, code := p(s.Context(), "k", "x", func(ctx context.Context) (string, error) {
				s.runs.Add(1)
				if effect {
					require.NoError(s, idempotent.BeginEffect(ctx))
				}
				idempotent.Forget(ctx)
				return "nothing done", nil
			})
			require.Equal(s, "nothing done", v, code)
		}
		s.want(p, "k", "x", s.works(0), "run 3", "")
	}},
	"a value that is too large is not kept": {runs: 1, play: func(s *stage) {
		p := s.start(&idempotent.Options{MaxResponse: 4})
		s.want(p, "k", "x", s.works(0), "run 1", "")
		s.want(p, "k", "x", s.works(0), "", apierror.CodeIdempotencyResponseUnavailable)
	}},
	"AtMostOnce": {runs: 1, play: func(s *stage) {
		p := s.start(&idempotent.Options{AtMostOnce: true})
		s.want(p, "k", "x", s.fails(0, false, errDown), "", apierror.CodeAPIError)
		s.want(p, "k", "x", s.works(0), "", apierror.CodeIdempotencyOutcomeUnknown)
	}},
	"MaxRun ends a run": {runs: 2, play: func(s *stage) {
		p := s.start(&idempotent.Options{MaxRun: 3 * time.Second})
		s.want(p, "k", "x", func(ctx context.Context) (string, error) {
			s.runs.Add(1)
			<-ctx.Done()
			require.ErrorIs(s, context.Cause(ctx), idempotent.ErrMaxRun)
			return "", ctx.Err()
		}, "", apierror.CodeTimeout)
		s.want(p, "k", "x", s.works(0), "run 2", "")
	}},
	"a canceled call frees its key": {runs: 2, play: func(s *stage) {
		p := s.start(nil)
		ctx, cancel := context.WithCancel(s.Context())
		time.AfterFunc(time.Second, cancel)
		_, code := p(ctx, "k", "x", func(ctx context.Context) (string, error) {
			s.runs.Add(1)
			<-ctx.Done()
			return "", ctx.Err()
		})
		require.NotEmpty(s, code)
		s.want(p, "k", "x", s.works(0), "run 2", "")
	}},
	"an effect after the run is refused": {runs: 1, play: func(s *stage) {
		p := s.start(nil)
		var late context.Context
		s.want(p, "k", "x", func(ctx context.Context) (string, error) { late = ctx; return s.works(0)(ctx) }, "run 1", "")
		require.Error(s, idempotent.BeginEffect(late))
		s.want(p, "k", "x", s.works(0), "run 1", "")
	}},
	"a key is new after its retention": {runs: 2, play: func(s *stage) {
		p := s.start(&idempotent.Options{Retention: time.Hour})
		s.want(p, "k", "x", s.works(0), "run 1", "")
		time.Sleep(time.Hour - time.Second)
		s.want(p, "k", "x", s.works(0), "run 1", "")
		time.Sleep(2 * time.Second)
		s.want(p, "k", "y", s.works(0), "run 2", "")
	}},
	"a run that outlasts its lease keeps it": {runs: 1, play: func(s *stage) {
		p, q := s.start(nil), s.start(nil)
		go p(s.Context(), "k", "x", s.works(2*time.Minute))
		time.Sleep(115 * time.Second)
		s.want(q, "k", "x", s.works(0), "run 1", "")
	}},
	"a crashed is taken over": {leases: true, runs: 2, play: func(s *stage) {
		var attempts []int
		f := func(ctx context.Context) (string, error) {
			attempts = append(attempts, idempotent.Attempt(ctx))
			return s.works(0)(ctx)
		}
		s.want(s.process(crashed(s.store.Store), nil), "k", "x", f, "run 1", "")
		p := s.start(nil)
		s.want(p, "k", "y", f, "", apierror.CodeIdempotencyConflict)
		time.Sleep(25 * time.Second)
		s.want(p, "k", "x", f, "run 2", "")
		s.want(p, "k", "x", f, "run 2", "")
		require.Equal(s, []int{1, 2}, attempts)
	}},
	"a crashed after an effect is unknown": {leases: true, runs: 1, play: func(s *stage) {
		s.process(crashed(s.store.Store), nil)(s.Context(), "k", "x", s.fails(0, true, errDown))
		time.Sleep(25 * time.Second)
		p := s.start(nil)
		s.want(p, "k", "x", s.works(0), "", apierror.CodeIdempotencyOutcomeUnknown)
		s.want(p, "k", "y", s.works(0), "", apierror.CodeIdempotencyConflict)
	}},
	"a lost call gets the other answer": {leases: true, runs: 2, play: func(s *stage) {
		lost := s.process(cutOff(s.store.Store), nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			s.want(lost, "k", "x", func(ctx context.Context) (string, error) {
				n := s.runs.Add(1)
				<-ctx.Done()
				require.ErrorIs(s, idempotent.BeginEffect(ctx), idempotent.ErrLeaseLost)
				time.Sleep(time.Second)
				return fmt.Sprint("run ", n), nil
			}, "run 2", "")
		})
		time.Sleep(25 * time.Second)
		s.want(s.start(nil), "k", "x", s.works(8*time.Second), "run 2", "")
		wg.Wait()
	}},
	"a late answer counts if no one took over": {leases: true, runs: 1, play: func(s *stage) {
		paused := s.process(cutOff(s.store.Store), nil)
		s.want(paused, "k", "x", s.works(4*time.Minute), "run 1", "")
		s.want(s.start(nil), "k", "x", s.works(0), "run 1", "")
	}},
	"derived keys are the same in each attempt": {leases: true, runs: 0, play: func(s *stage) {
		keys := map[string]int{}
		f := func(ctx context.Context) (string, error) {
			keys[idempotent.DerivedKey(ctx, "a")]++
			keys[idempotent.DerivedKey(ctx, "b")]++
			return "", nil
		}
		s.process(crashed(s.store.Store), nil)(s.Context(), "k", "x", f)
		time.Sleep(time.Minute)
		s.start(nil)(s.Context(), "k", "x", f)
		s.start(nil)(s.Context(), "l", "x", f)
		require.Len(s, keys, 4)
		n := 0
		for _, times := range keys {
			n += times
		}
		require.Equal(s, 6, n)
	}},
}

// The protocol is the same for Do and for the middleware, with every store.
func TestProtocol(t *testing.T) {
	t.Parallel()
	for how, adapter := range adapters {
		for on, store := range stores {
			for name, scenario := range scenarios {
				if scenario.leases && store.local {
					continue
				}
				runBubble(t, how+"/"+on+"/"+name, func(t *testing.T) {
					s := &stage{T: t, store: store.open(), process: adapter}
					scenario.play(s)
					require.Equal(t, scenario.runs, s.runs.Load())
				})
			}
		}
	}
}

package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestDefaultBoundsOfWaiters(t *testing.T) {
	t.Parallel()
	const perKey, perPrincipal, total = 128, 512, 4096
	for name, test := range map[string]struct{ calls, principals, keys, refused int }{
		"one key":                   {1 + perKey, 1, 1, 0},
		"one key, too many":         {1 + perKey + 3, 1, 1, 3},
		"one principal, too many":   {1 + 103, 1, 5, 5*103 - perPrincipal},
		"eight principals":          {1 + perKey, 8, 4, 0},
		"nine principals, too many": {1 + perKey, 9, 4, 9*4*perKey - total},
	} {
		runBubble(t, name, func(t *testing.T) {
			h := slow(5 * time.Second)
			mw := idempotent.New(memory(), idempotent.ByPrincipal, nil)(h)
			var refused atomic.Int64
			var wg sync.WaitGroup
			start := time.Now()
			for p := range test.principals {
				for k := range test.keys {
					for range test.calls {
						wg.Go(func() {
							r := callAs(mw, fmt.Sprint("p", p), fmt.Sprint("k", k), "")
							if r.Status == http.StatusTooManyRequests && time.Since(start) == 0 {
								refused.Add(1)
							}
						})
					}
				}
			}
			wg.Wait()
			require.EqualValues(t, test.refused, refused.Load())
			require.EqualValues(t, test.principals*test.keys, h.runs.Load())
		})
	}
}

// One principal can use an eighth of MaxWaiters, and one key a quarter of that, but at least one.
func TestOneWaiter(t *testing.T) {
	t.Parallel()
	a1, a2 := idempotent.Call{Principal: "a", Key: "1"}, idempotent.Call{Principal: "a", Key: "2"}
	b1 := idempotent.Call{Principal: "b", Key: "1"}
	for name, test := range map[string]struct {
		maxWaiters int
		calls      []idempotent.Call
	}{
		"of a key":       {32, []idempotent.Call{a1, a1, a1}},
		"of a principal": {8, []idempotent.Call{a1, a2, a1, a2}},
		"of all":         {1, []idempotent.Call{a1, b1, a1, b1}},
	} {
		runBubble(t, name, func(t *testing.T) {
			var events eventLog
			g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: test.maxWaiters, Observe: events.observe})
			var wg sync.WaitGroup
			for _, c := range test.calls {
				wg.Go(func() { _, _ = idempotent.Do(t.Context(), g, c, slowValue(time.Second)) })
				synctest.Wait()
			}
			wg.Wait()
			require.Equal(t, 1, events.count(idempotent.OutcomeReplayed))
			require.Equal(t, 1, events.count(idempotent.OutcomeInProgress))
			require.Equal(t, len(test.calls)-2, events.count(idempotent.OutcomeExecuted))
		})
	}
}

// A call that polls for a run of another process needs a place, too.
func TestPollingNeedsAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := slow(5 * time.Second)
		store := memory()
		here := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxWaiters: 2})(h)
		elsewhere := idempotent.New(store, idempotent.Global, nil)(h)
		var wg sync.WaitGroup
		start := func(h http.Handler, key string) {
			wg.Go(func() { call(h, key, "") })
			synctest.Wait()
		}
		for _, key := range []string{"a", "b"} {
			start(here, key)
			start(here, key) // waits
		}
		start(elsewhere, "c")

		begun := time.Now()
		require.Equal(t, http.StatusTooManyRequests, call(here, "c", "").Status)
		require.Zero(t, time.Since(begun))

		wg.Wait()
		require.EqualValues(t, 3, h.runs.Load())
	})
}

func TestGlobalScopeHasNoBoundOfWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: 8}) // one for one principal
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				c := idempotent.Call{Principal: idempotent.GlobalPrincipal, Key: strconv.Itoa(i / 2)}
				_, err := idempotent.Do(t.Context(), g, c, slowValue(time.Second))
				require.NoError(t, err)
			})
		}
		wg.Wait()
	})
}

func TestNegativeMaxWaitersIsNoBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: -1})
		var wg sync.WaitGroup
		for range 5000 {
			wg.Go(func() {
				_, err := idempotent.Do(t.Context(), g, callOf("k"), slowValue(time.Second))
				require.NoError(t, err)
			})
		}
		wg.Wait()
	})
}

func TestPlaceOfAWaiterIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := slow(5 * time.Second)
		store := memory()
		elsewhere := idempotent.New(store, idempotent.Global, nil)(h)
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxWaiters: 1})(h)
		for i := range 5 {
			for name, first := range map[string]http.Handler{"follows": mw, "polls": elsewhere} {
				key := fmt.Sprint(name, i)
				var wg sync.WaitGroup
				wg.Go(func() { call(first, key, "") })
				synctest.Wait()
				require.True(t, call(mw, key, "").replayed(), key)
				wg.Wait()
			}
		}
	})
}

func TestPlaceOfACanceledWaiterIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events eventLog
		// One principal can have two waiters, and one key one.
		g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: 16, Observe: events.observe})
		ask := func(ctx context.Context, key string) {
			go func() { _, _ = idempotent.Do(ctx, g, callOf(key), slowValue(5*time.Second)) }()
			synctest.Wait()
		}
		for _, key := range []string{"a", "b", "c"} {
			ask(t.Context(), key) // runs
		}
		ask(t.Context(), "a") // waits
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			ask(ctx, "b") // waits
			cancel()
			synctest.Wait()
		}
		require.Equal(t, 3, events.count(idempotent.OutcomeInProgress))
		for _, key := range []string{"b", "c", "c"} { // only the first finds a place
			ask(t.Context(), key)
		}
		require.Equal(t, 5, events.count(idempotent.OutcomeInProgress))

		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, 2, events.count(idempotent.OutcomeReplayed))
	})
}

func TestGuardHoldsNothingAfterACall(t *testing.T) {
	t.Parallel()
	for _, principal := range []string{"customer", idempotent.GlobalPrincipal} {
		synctest.Test(t, func(t *testing.T) {
			g := idempotent.NewGuard(memory(), nil)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					c := idempotent.Call{Principal: principal, Key: "k"}
					_, _ = idempotent.Do(t.Context(), g, c, slowValue(time.Second))
				})
			}
			wg.Wait()
			require.Zero(t, g.Waiting())
		})
	}
}

func TestOnePrincipalLeavesPlacesForOthers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keys, duplicates int
		elsewhere        bool // the first calls run in another process
	}{
		"few keys, many duplicates": {keys: 32, duplicates: 128},
		"many keys, few duplicates": {keys: 1024, duplicates: 1, elsewhere: true},
	} {
		runBubble(t, name, func(t *testing.T) {
			store := leased{memory()}
			here := idempotent.NewGuard(store, nil)
			first := here
			if test.elsewhere {
				first = idempotent.NewGuard(store, nil)
			}
			var refused atomic.Int64
			var wg sync.WaitGroup
			ask := func(g *idempotent.Guard, principal, key string) {
				wg.Go(func() {
					_, err := idempotent.Do(t.Context(), g, idempotent.Call{Principal: principal, Key: key}, slowValue(8*time.Second))
					if principal == "attacker" && apierror.CodeOf(err) == apierror.CodeIdempotencyInProgress {
						refused.Add(1)
					} else {
						require.NoError(t, err)
					}
				})
			}
			for i := range test.keys {
				ask(first, "attacker", fmt.Sprint(i))
			}
			for i := range 10 {
				ask(first, fmt.Sprint("victim ", i), "k")
			}
			synctest.Wait()
			for i := range test.keys {
				for range test.duplicates {
					ask(here, "attacker", fmt.Sprint(i))
				}
			}
			synctest.Wait()
			require.EqualValues(t, test.keys*test.duplicates-512, refused.Load(), "immediately")
			for i := range 10 {
				ask(here, fmt.Sprint("victim ", i), "k")
			}
			wg.Wait()
		})
	}
}

func TestWaitersHoldNoBody(t *testing.T) {
	t.Parallel()
	for contentType, fingerprint := range map[string]idempotent.FingerprintFunc{
		"application/json":         idempotent.FingerprintJSON,
		"application/octet-stream": idempotent.FingerprintBody,
	} {
		runBubble(t, contentType, func(t *testing.T) {
			var bodies bodyTracker
			h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
				time.Sleep(5 * time.Second)
				n, _ := io.Copy(io.Discard, r.Body)
				require.EqualValues(t, 1<<20, n)
			}}
			o := &idempotent.Options{Fingerprint: bodies.track(fingerprint), MaxWaiters: -1}
			mw := idempotent.New(memory(), idempotent.Global, o)(&h)
			body := `{"a":"` + strings.Repeat("x", 1<<20-8) + `"}`
			var wg sync.WaitGroup
			ask := func() {
				wg.Go(func() {
					r := keyedRequest("k", strings.NewReader(body))
					r.Header.Set("Content-Type", contentType)
					require.Equal(t, http.StatusOK, do(mw, r).Status)
				})
			}
			ask()
			synctest.Wait()
			require.Equal(t, 1, bodies.held(), "of the run")
			for range 200 {
				ask()
			}
			synctest.Wait()

			require.Len(t, bodies.bodies, 201)
			require.Equal(t, 1, bodies.held())
			wg.Wait()
		})
	}
}

// bodyTracker counts the bodies that are still in memory.
type bodyTracker struct {
	mu     sync.Mutex
	bodies []weak.Pointer[byte]
}

func (b *bodyTracker) track(f idempotent.FingerprintFunc) idempotent.FingerprintFunc {
	return func(r *http.Request, load func() ([]byte, error)) (idempotent.Fingerprint, error) {
		return f(r, func() ([]byte, error) {
			body, err := load()
			b.mu.Lock()
			defer b.mu.Unlock()
			b.bodies = append(b.bodies, weak.Make(&body[0]))
			return body, err
		})
	}
}

func (b *bodyTracker) held() (n int) {
	leakcheck.Collect()
	for _, body := range b.bodies {
		if body.Value() != nil {
			n++
		}
	}
	return n
}

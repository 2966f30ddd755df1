package idempotent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestResponseAtAndOverItsLimit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		writes []string
		kept   bool
	}{
		"as long as the limit":          {[]string{"01234", "56789"}, true},
		"over it with the second write": {[]string{"01234", "567890"}, false},
		"over it with the third":        {[]string{"01234", "56789", "0"}, false},
		"over it with the first":        {[]string{"01234567890", "1"}, false},
	} {
		for how, write := range map[string]func(w http.ResponseWriter, s string) (int, error){
			"Write":       func(w http.ResponseWriter, s string) (int, error) { return w.Write([]byte(s)) },
			"WriteString": func(w http.ResponseWriter, s string) (int, error) { return io.WriteString(w, s) },
		} {
			h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusCreated)
				for _, s := range tt.writes {
					n, err := write(w, s)
					require.NoError(t, err)
					require.Equal(t, len(s), n)
				}
			}}
			s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 10}))

			first, again := post(t, s, "k", ""), post(t, s, "k", "")

			require.Equal(t, http.StatusCreated, first.Status, "%s, %s", name, how)
			require.Equal(t, strings.Join(tt.writes, ""), first.Body)
			require.Equal(t, tt.kept, again.replayed())
			if !tt.kept {
				require.Contains(t, again.Body, "idempotency_response_unavailable")
			}
			require.EqualValues(t, 1, h.runs.Load())
		}
	}
}

// One renewal that fails costs nothing: it is repeated before the lease is over.
func TestRenewalThatFailsOnceLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			for range 100 {
				time.Sleep(time.Second)
				require.NoError(t, r.Context().Err())
			}
			_, _ = io.WriteString(w, "done")
		}}
		store := memory()
		var renewals atomic.Int64
		failing := &faulty{Store: store, renew: func(next func() error) error {
			if renewals.Add(1)%2 == 1 {
				return errDown
			}
			return next()
		}}
		var events seen
		a := idempotent.New(failing, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)
		b := idempotent.New(leased{store}, idempotent.Global, &idempotent.Options{Wait: 3 * time.Minute})(&h)
		var first, competitor reply
		var wg sync.WaitGroup
		wg.Go(func() { first = call(a, "k", "") })
		synctest.Wait()

		wg.Go(func() { competitor = call(b, "k", "") })
		wg.Wait()

		require.Equal(t, "done", first.Body)
		require.False(t, first.replayed())
		require.True(t, competitor.replayed())
		require.EqualValues(t, 1, h.runs.Load())
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeExecuted}, events.results())
		require.False(t, events.events[0].Lost)
	})
}

// waiters sends n requests each with these keys of these principals at the same time, and
// returns how many were told immediately that too many wait.
func waiters(h http.Handler, n int, principals, keys int) (refused int64) {
	var early atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for p := range principals {
		for k := range keys {
			for range n {
				wg.Go(func() {
					r := as(h, fmt.Sprint("p", p), fmt.Sprint("k", k), "")
					if r.Status == http.StatusTooManyRequests && time.Since(begun) == 0 {
						early.Add(1)
					}
				})
			}
		}
	}
	wg.Wait()
	return early.Load()
}

func TestDefaultBoundsOfWaiting(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ n, principals, keys, refused int }{
		"of a key":        {n: 1 + 128 + 3, principals: 1, keys: 1, refused: 3},
		"of a key, full":  {n: 1 + 128, principals: 1, keys: 1, refused: 0},
		"of a scope":      {n: 1 + 103, principals: 1, keys: 5, refused: 515 - 512},
		"of a process":    {n: 1 + 128, principals: 9, keys: 4, refused: 4608 - 4096},
		"of a process, 8": {n: 1 + 128, principals: 8, keys: 4, refused: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }}
				mw := idempotent.New(memory(), idempotent.ByPrincipal, nil)(&h)
				require.EqualValues(t, tt.refused, waiters(mw, tt.n, tt.principals, tt.keys))
				require.EqualValues(t, tt.principals*tt.keys, h.runs.Load())
			})
		})
	}
}

func TestDefaultWait(t *testing.T) {
	t.Parallel()
	for wait, status := range map[time.Duration]int{
		10*time.Second - time.Millisecond: http.StatusOK,
		10*time.Second + time.Millisecond: http.StatusTooManyRequests,
	} {
		synctest.Test(t, func(t *testing.T) {
			h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(wait) }}
			mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
			var wg sync.WaitGroup
			wg.Go(func() { call(mw, "k", "") })
			synctest.Wait()
			begun := time.Now()
			require.Equal(t, status, call(mw, "k", "").Status)
			require.Equal(t, min(wait, 10*time.Second), time.Since(begun))
			wg.Wait()
		})
	}
}

func TestFailOpenAsksTheStoreOnlyForTheClaim(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		onFailure idempotent.Fail
		finishes  int64
	}{
		"open":   {idempotent.FailOpen, 0},
		"closed": {idempotent.FailClosed, 1}, // it gives back what it may have got
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }}
				var acquires, finishes, others atomic.Int64
				count := func(n *atomic.Int64) func(func() error) error {
					return func(func() error) error { n.Add(1); return errDown }
				}
				store := &faulty{
					Store: memory(),
					acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
						acquires.Add(1)
						return idempotent.Decision{}, errDown
					},
					renew: count(&others), mark: count(&others),
					finish: func(idempotent.Completion, func() error) error { finishes.Add(1); return errDown },
				}
				var events seen
				o := &idempotent.Options{OnFailure: tt.onFailure, Observe: events.observe}

				call(idempotent.New(store, idempotent.Global, o)(&h), "k", "")

				// 10 ms, then twice as long each time up to 200 ms, within a second: jitter
				// makes the difference.
				require.GreaterOrEqual(t, acquires.Load(), int64(6))
				require.LessOrEqual(t, acquires.Load(), int64(14))
				require.Equal(t, tt.finishes, finishes.Load())
				require.Zero(t, others.Load(), "nothing is renewed that is not owned")
				require.LessOrEqual(t, events.events[0].Waited, time.Second, "StoreTimeout is for all of it")
			})
		})
	}
}

func TestEventsTellHowLongACallWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Second) }}
		store := memory()
		var leader, follower, poller, successor, bypassed, refused seen
		guarded := func(s idempotent.Store, e *seen) http.Handler {
			return idempotent.New(s, idempotent.Global, &idempotent.Options{Observe: e.observe, OnFailure: idempotent.FailOpen})(&h)
		}
		same := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: func(ctx context.Context, e idempotent.Event) {
			if e.Outcome == idempotent.OutcomeExecuted {
				leader.observe(ctx, e)
			} else {
				follower.observe(ctx, e)
			}
		}})(&h)
		var wg sync.WaitGroup
		wg.Go(func() { call(same, "k", "") })
		time.Sleep(time.Second)
		wg.Go(func() { call(same, "k", "") })
		wg.Go(func() { call(guarded(store, &poller), "k", "") })
		wg.Wait()
		down := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			time.Sleep(300 * time.Millisecond)
			return idempotent.Decision{}, idempotent.ErrFull
		}}
		call(guarded(down, &refused), "k", "")
		hangs := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			time.Sleep(time.Second)
			return idempotent.Decision{}, errDown
		}}
		call(guarded(hangs, &bypassed), "k", "")
		call(idempotent.New(crash(store), idempotent.Global, nil)(&h), "crashed", "")
		time.Sleep(15 * time.Second) // most of its lease is over
		crashed := time.Now()
		call(guarded(store, &successor), "crashed", "")
		waited := time.Since(crashed) - 5*time.Second // which it ran

		of := func(e *seen) time.Duration { require.Len(t, e.events, 1); return e.events[0].Waited }
		require.Zero(t, of(&leader), "the run itself is no waiting")
		require.Equal(t, 4*time.Second, of(&follower))
		require.InDelta(t, 4*time.Second, of(&poller), float64(1500*time.Millisecond))
		require.Equal(t, 300*time.Millisecond, of(&refused))
		require.Equal(t, time.Second, of(&bypassed))
		require.Equal(t, idempotent.OutcomeExecuted, successor.events[0].Outcome)
		require.Equal(t, 2, successor.events[0].Attempt)
		require.Greater(t, waited, time.Second)
		require.Equal(t, waited, of(&successor))
	})
}

func TestLostLeaseIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var events seen
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				time.Sleep(40 * time.Second)
			}
			_, _ = fmt.Fprintf(w, "run %d", n)
		}}
		store := memory()
		cut := &faulty{Store: store, renew: func(func() error) error { return errDown }}
		a := idempotent.New(cut, idempotent.Global, &idempotent.Options{
			Observe: events.observe, Logger: slog.New(slog.NewTextHandler(&out, nil)),
		})(&h)
		b := idempotent.New(store, idempotent.Global, nil)(&h)
		var first reply
		var wg sync.WaitGroup
		wg.Go(func() { first = call(a, "k", "") })
		time.Sleep(35 * time.Second)
		require.Equal(t, "run 2", call(b, "k", "").Body)
		wg.Wait()

		require.Equal(t, "run 2", first.Body)
		require.Len(t, events.events, 1)
		e := events.events[0]
		require.True(t, e.Lost)
		require.Equal(t, idempotent.OutcomeReplayed, e.Outcome)
		require.Equal(t, 1, e.Attempt)
		require.Equal(t, http.StatusOK, e.Status)
		require.Equal(t, 1, strings.Count(out.String(), "a lease was lost during the run"), out.String())
		require.Contains(t, out.String(), "idempotency_id="+e.ID.String())
		require.Contains(t, out.String(), "level=WARN")
		require.Contains(t, out.String(), errDown.Error())
	})
}

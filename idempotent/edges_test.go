package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// callWith is call with a context.
func callWith(ctx context.Context, h http.Handler, key string) reply {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/resources", nil)
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

func TestStreamAfterTheClientHasLeftEndsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
			cancel()
			time.Sleep(time.Second)
			require.NoError(t, r.Context().Err(), "a run goes on, so that the retry finds its answer")
			idempotent.Stream(r.Context())
			require.ErrorIs(t, r.Context().Err(), context.Canceled)
		}}
		callWith(ctx, idempotent.New(memory(), idempotent.Global, nil)(&h), "k")
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestEarliestDeadlineEndsAHandler(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		maxRun, deadline, ends time.Duration
		cause                  error
	}{
		"the caller's":  {time.Minute, 3 * time.Second, 3 * time.Second, context.DeadlineExceeded},
		"MaxRun":        {3 * time.Second, time.Minute, 3 * time.Second, idempotent.ErrMaxRun},
		"no MaxRun":     {-1, time.Minute, time.Minute, context.DeadlineExceeded},
		"no deadline":   {time.Minute, 0, time.Minute, idempotent.ErrMaxRun},
		"neither, here": {0, 0, 5 * time.Minute, idempotent.ErrMaxRun},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, serve := range map[string]func(context.Context, *idempotent.Options, func(context.Context)){
				"New": func(ctx context.Context, o *idempotent.Options, f func(context.Context)) {
					h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context()) })
					callWith(ctx, idempotent.New(leased{memory()}, idempotent.Global, o)(h), "k")
				},
				"Do": func(ctx context.Context, o *idempotent.Options, f func(context.Context)) {
					_, err := idempotent.Do(ctx, idempotent.NewGuard(leased{memory()}, o), callOf("k"), func(ctx context.Context) (int, error) {
						f(ctx)
						return 1, nil
					})
					require.NoError(t, err)
				},
			} {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					runs := 0
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if test.deadline > 0 {
						ctx, cancel = context.WithTimeout(ctx, test.deadline)
					}
					defer cancel()
					serve(ctx, &idempotent.Options{MaxRun: test.maxRun}, func(ctx context.Context) {
						runs++
						at, ok := ctx.Deadline()
						require.True(t, ok)
						require.Equal(t, test.ends, at.Sub(start))
						<-ctx.Done()
						require.Equal(t, test.ends, time.Since(start))
						require.ErrorIs(t, context.Cause(ctx), test.cause)
					})
					require.Equal(t, 1, runs)
				})
			}
		})
	}
}

// A response that is not kept must not go out under a claim that is lost, and the handler is told.
func TestStreamThatHasLostItsClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost := true
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if lost {
				return idempotent.ErrLost
			}
			return next()
		}}
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			_, err := io.WriteString(w, "half")
			require.ErrorIs(t, err, idempotent.ErrLeaseLost)
			require.ErrorIs(t, context.Cause(r.Context()), idempotent.ErrLeaseLost)
			require.ErrorIs(t, idempotent.BeginEffect(r.Context()), idempotent.ErrLeaseLost)
			lost = false
		}}
		r := call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "")
		require.NotContains(t, r.Body, "half")
	})
}

func TestEventOfAPanicThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events seen
		store := &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error { return errDown }}
		g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
		panicked, _ := isolated(func() {
			_, _ = idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) { panic("boom") })
		})
		require.Equal(t, "boom", panicked)
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeUnrecorded}, events.results())
		require.ErrorIs(t, events.last().Err, errDown)
	})
}

func TestEndOfTheServerEndsItsRunsAndALeavingClientDoesNot(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cause error
		ends  bool
	}{
		"the client has left":         {nil, false},
		"the server ends":             {errDown, true},
		"the server says why it ends": {fmt.Errorf("the server ends: %w", context.Canceled), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				h := counter{serve: func(n int64, _ http.ResponseWriter, r *http.Request) {
					if n > 1 {
						return
					}
					cancel(test.cause)
					time.Sleep(time.Second)
					require.Equal(t, test.ends, r.Context().Err() != nil)
					if test.ends {
						require.Equal(t, test.cause, context.Cause(r.Context()))
					}
				}}
				mw := idempotent.New(leased{memory()}, idempotent.Global, nil)(&h)
				callWith(ctx, mw, "k")
				require.Equal(t, !test.ends, call(mw, "k", "").replayed())
			})
		})
	}
}

// A renewal that reaches the store after the record is finished finds no owner. Nothing is lost
// by that.
func TestRenewalBehindTheEndOfARunIsNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log transcript
		finished := make(chan struct{})
		store := &faulty{
			Store: memory(),
			renew: func(next func() error) error { <-finished; return next() },
			finish: func(_ idempotent.Completion, next func() error) error {
				err := next()
				close(finished)
				time.Sleep(time.Millisecond) // the reply takes longer than the renewal's
				return err
			},
		}
		g := idempotent.NewGuard(store, &idempotent.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		var late context.Context
		_, err := idempotent.Do(t.Context(), g, callOf("k"), func(ctx context.Context) (int, error) {
			late = ctx
			time.Sleep(10*time.Second + time.Millisecond)
			return 1, nil
		})
		require.NoError(t, err)
		require.NotErrorIs(t, context.Cause(late), idempotent.ErrLeaseLost)
		require.Empty(t, log.String())
	})
}

// A renewal that fails is tried again every tenth of the lease, and the lease is lost when it is
// over, not earlier.
func TestRenewalIsTriedUntilTheLeaseIsOver(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		back time.Duration // when the store can be reached again
		want []int         // when it is asked, in seconds
		lost bool
	}{
		"the store stays down": {time.Hour, []int{10, 13, 16, 19, 22, 25, 28, 30}, true},
		"the store comes back": {20 * time.Second, []int{10, 13, 16, 19, 22, 32}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var tries []int
				store := &faulty{Store: memory(), renew: func(next func() error) error {
					tries = append(tries, int(time.Since(start).Seconds()))
					if time.Since(start) < test.back {
						return errDown
					}
					return next()
				}}
				g := idempotent.NewGuard(store, nil)
				_, err := idempotent.Do(t.Context(), g, callOf("k"), func(ctx context.Context) (int, error) {
					select {
					case <-ctx.Done():
						require.ErrorIs(t, context.Cause(ctx), idempotent.ErrLeaseLost)
						require.Equal(t, 30*time.Second, time.Since(start))
					case <-time.After(35 * time.Second):
					}
					require.Equal(t, test.lost, ctx.Err() != nil)
					return 0, nil
				})
				require.NoError(t, err)
				require.Equal(t, test.want, tries)
			})
		})
	}
}

func TestNegativeBoundsOfWaitersAreNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: -1})
		var wg sync.WaitGroup
		for range 5000 {
			wg.Go(func() {
				_, err := idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) {
					time.Sleep(time.Second)
					return 1, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// A duplicate that leaves gives its place to another duplicate of the same run.
func TestPlaceOfADuplicateThatLeavesIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: 32})
		w := &work{do: func(context.Context, int) (string, error) { time.Sleep(9 * time.Second); return "done", nil }}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = idempotent.Do(t.Context(), g, callOf("k"), w.run) })
		synctest.Wait()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			_, err := idempotent.Do(ctx, g, callOf("k"), w.run)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Since(start), "it waited")
		}
		v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "done", v)
		wg.Wait()
	})
}

func TestWhatCannotBeRecordedIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log transcript
		store := &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error { return errDown }}
		g := idempotent.NewGuard(store, &idempotent.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		var w work
		_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.NoError(t, err)
		require.Contains(t, log.String(), "could not be recorded")
		require.Contains(t, log.String(), errDown.Error())
		require.Contains(t, log.String(), new(idempotent.Options).ID("customer", "k").String())
	})
}

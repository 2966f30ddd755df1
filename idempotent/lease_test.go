package idempotent_test

import (
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

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// Renewing.

func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &recorder{Store: memory()}
		_, err := idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), func(ctx context.Context) (int, error) {
			time.Sleep(115 * time.Second)
			return 0, ctx.Err()
		})
		require.NoError(t, err)
		require.Equal(t, []string{"Acquire", "Renew", "Finish done"}, store.distinct())
		require.Len(t, store.calls, 1+11+1, "every third of the lease")
	})
}

func TestRenewalEndsWithTheRun(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"returns": func() {}, "panics": func() { panic("boom") }} {
		runBubble(t, name, func(t *testing.T) {
			store := &recorder{Store: memory()}
			h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(25 * time.Second); end() }}
			call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "")
			time.Sleep(time.Hour)
			require.Len(t, store.calls, 1+2+1)
		})
	}
}

// A renewal that fails is tried again every tenth of the lease. The lease is lost when it is
// over, not earlier.
func TestFailedRenewalIsRetried(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		back time.Duration // when the store can be reached again
		want []int         // when it is asked, in seconds
		lost bool
	}{
		"the store stays down": {time.Hour, []int{10, 13, 16, 19, 22, 25, 28, 30}, true},
		"the store comes back": {20 * time.Second, []int{10, 13, 16, 19, 22, 32}, false},
	} {
		runBubble(t, name, func(t *testing.T) {
			start := time.Now()
			var tries []int
			store := &faulty{Store: memory(), renew: func(next func() error) error {
				tries = append(tries, int(time.Since(start).Seconds()))
				if time.Since(start) < test.back {
					return errDown
				}
				return next()
			}}
			_, err := idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), func(ctx context.Context) (int, error) {
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
	}
}

// A renewal that reaches the store after the record is finished finds no owner.
func TestRenewalAfterTheRunIsNotALoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		finished := make(chan struct{})
		store := &faulty{
			Store: memory(),
			renew: func(next func() error) error { <-finished; return next() },
			finish: func(_ idempotent.Completion, next func() error) error {
				err := next()
				close(finished)
				time.Sleep(time.Millisecond) // the renewal's reply comes first
				return err
			},
		}
		var late context.Context
		g := idempotent.NewGuard(store, &idempotent.Options{Logger: log.logger()})
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

func TestDeniedRenewalLosesTheLeaseImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: memory(), renew: failWith(idempotent.ErrLost)}
		start := time.Now()
		_, _ = idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			require.Equal(t, 10*time.Second, time.Since(start), "at the first renewal")
			require.ErrorIs(t, context.Cause(ctx), idempotent.ErrLeaseLost)
			return 0, context.Cause(ctx)
		})
	})
}

// hangingRenewal is a store whose first renewal fails after a delay. Later ones do not answer.
type hangingRenewal struct {
	idempotent.Store
	delay time.Duration
	calls int
}

func (s *hangingRenewal) Renew(ctx context.Context, _ idempotent.Owner, _ time.Duration) error {
	if s.calls++; s.calls == 1 {
		time.Sleep(s.delay)
		return errDown
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestHangingRenewalLosesTheLeaseInTime(t *testing.T) {
	t.Parallel()
	for delay := time.Duration(0); delay < time.Second; delay += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
				start := time.Now()
				<-r.Context().Done()
				require.LessOrEqual(t, time.Since(start), 3*time.Second)
			}}
			store := &hangingRenewal{Store: memory(), delay: delay}
			call(idempotent.New(store, idempotent.Global, &idempotent.Options{Lease: 3 * time.Second})(&h), "k", "")
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

func TestLeaseIsNotRenewedAfterMaxRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var last time.Duration
		store := &faulty{Store: memory(), renew: func(next func() error) error {
			last = time.Since(start)
			return next()
		}}
		ignoresItsContext := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(20 * time.Minute)
			_, _ = io.WriteString(w, "too late")
		})
		a := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxRun: time.Minute})(ignoresItsContext)
		b := idempotent.New(store.Store, idempotent.Global, nil)(writes("from the successor"))
		var first reply
		var wg sync.WaitGroup
		wg.Go(func() { first = call(a, "k", "") })
		time.Sleep(85 * time.Second)

		second := call(b, "k", "") // waits for the end of the lease

		require.Equal(t, "from the successor", second.Body)
		require.Equal(t, 90*time.Second, time.Since(start).Round(10*time.Second))
		wg.Wait()
		require.Less(t, last, time.Minute+time.Second)
		require.Greater(t, last, 30*time.Second)
		require.Equal(t, "from the successor", first.Body)
	})
}

// A caller that leaves does not end the lease of a run that ignores its context.
func TestCanceledCallerKeepsTheLease(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(ctx context.Context, store idempotent.Store, h http.Handler){
		"Do": func(ctx context.Context, store idempotent.Store, h http.Handler) {
			_, _ = idempotent.Do(ctx, idempotent.NewGuard(store, nil), callOf("k"), func(context.Context) (int, error) {
				h.ServeHTTP(nil, nil)
				return 1, nil
			})
		},
		"middleware": func(ctx context.Context, store idempotent.Store, h http.Handler) {
			callWith(ctx, idempotent.New(store, idempotent.Global, nil)(h), "k")
		},
	} {
		runBubble(t, name, func(t *testing.T) {
			h := slow(time.Minute)
			store := leased{memory()}
			ctx, cancel := context.WithCancel(t.Context())
			go ask(ctx, store, h)
			time.Sleep(time.Second)
			cancel()
			time.Sleep(40 * time.Second)
			ask(t.Context(), store, h)
			time.Sleep(5 * time.Minute)
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

// panicHandler is a slog.Handler that panics.
type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panicHandler) Handle(context.Context, slog.Record) error { panic("logger") }

func TestPanicOfALoggerDuringARenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: memory(), renew: failWith(idempotent.ErrLost)}
		o := &idempotent.Options{Logger: slog.New(panicHandler{})}
		call(idempotent.New(store, idempotent.Global, o)(slow(time.Minute)), "k", "") // does not end the process
	})
}

// Losing.

func TestTakeoverAfterACrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var attempts []int
		var keys []string
		var owners []idempotent.Owner
		w := &work{do: func(ctx context.Context, n int) (string, error) {
			attempts = append(attempts, idempotent.Attempt(ctx))
			keys = append(keys, idempotent.DerivedKey(ctx, "charge"))
			o, ok := idempotent.OwnerOf(ctx)
			require.True(t, ok)
			owners = append(owners, o)
			return fmt.Sprint("run ", n), nil
		}}
		var events eventLog
		died := idempotent.NewGuard(crashed(store), &idempotent.Options{Observe: events.observe})
		alive := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})

		v, err := idempotent.Do(t.Context(), died, callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "run 1", v)
		time.Sleep(25 * time.Second)
		v, err = idempotent.Do(t.Context(), alive, callOf("k"), w.run) // waits until the lease is over
		require.NoError(t, err)
		require.Equal(t, "run 2", v)

		require.Equal(t, []int{1, 2}, attempts)
		require.Equal(t, keys[0], keys[1])
		require.Len(t, keys[0], 32)
		require.Equal(t, idOf("", "customer", "k"), owners[0].ID)
		require.Equal(t, owners[0].ID, owners[1].ID)
		require.NotEqual(t, owners[0].Token, owners[1].Token)
		events.require(t, idempotent.OutcomeUnrecorded, idempotent.OutcomeExecuted)
		require.ErrorIs(t, events.events[0].Err, errDown)
		require.Equal(t, 2, events.events[1].Attempt)
		require.GreaterOrEqual(t, events.events[1].Waited, 2*time.Second)
	})
}

func TestLostRunIsAnsweredWithTheReplay(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]http.HandlerFunc{
		"fails":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"succeeds": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "from the lost run") },
		"is mute":  func(http.ResponseWriter, *http.Request) {},
		"streams":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) },
	} {
		runBubble(t, name, func(t *testing.T) {
			lost := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				require.ErrorIs(t, context.Cause(r.Context()), idempotent.ErrLeaseLost)
				require.ErrorIs(t, idempotent.BeginEffect(r.Context()), idempotent.ErrLeaseLost)
				time.Sleep(2 * time.Second)
				end(w, r)
			})
			successor := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, 2, idempotent.Attempt(r.Context()))
				time.Sleep(5 * time.Second)
				_, _ = io.WriteString(w, "from the successor")
			})
			store := memory()
			var events eventLog
			a := idempotent.New(cutOff(store), idempotent.Global, &idempotent.Options{Observe: events.observe})(lost)
			b := idempotent.New(store, idempotent.Global, nil)(successor)
			var first reply
			var wg sync.WaitGroup
			wg.Go(func() { first = call(a, "k", "") })
			time.Sleep(25 * time.Second)
			require.Equal(t, "from the successor", call(b, "k", "").Body)
			wg.Wait()

			require.Equal(t, "from the successor", first.Body)
			require.True(t, first.replayed())
			events.require(t, idempotent.OutcomeReplayed)
			require.True(t, events.last().Lost)
		})
	}
}

func TestLostDoReturnsTheOtherValue(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(ctx context.Context) (string, error){
		"a value":      func(context.Context) (string, error) { return "from the lost run", nil },
		"its error":    func(ctx context.Context) (string, error) { return "", context.Cause(ctx) },
		"a kept error": func(context.Context) (string, error) { return "", cardDeclined },
	} {
		runBubble(t, name, func(t *testing.T) {
			store := memory()
			var events eventLog
			a := idempotent.NewGuard(cutOff(store), &idempotent.Options{Observe: events.observe})
			b := idempotent.NewGuard(store, nil)
			var wg sync.WaitGroup
			wg.Go(func() {
				v, err := idempotent.Do(t.Context(), a, callOf("k"), func(ctx context.Context) (string, error) {
					<-ctx.Done()
					require.ErrorIs(t, context.Cause(ctx), idempotent.ErrLeaseLost)
					require.ErrorIs(t, idempotent.BeginEffect(ctx), idempotent.ErrLeaseLost)
					require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(idempotent.BeginEffect(ctx)))
					time.Sleep(2 * time.Second)
					return end(ctx)
				})
				require.NoError(t, err)
				require.Equal(t, "from the successor", v)
			})
			time.Sleep(25 * time.Second)
			v, err := idempotent.Do(t.Context(), b, callOf("k"), func(ctx context.Context) (string, error) {
				require.Equal(t, 2, idempotent.Attempt(ctx))
				time.Sleep(5 * time.Second)
				return "from the successor", nil
			})
			require.NoError(t, err)
			require.Equal(t, "from the successor", v)
			wg.Wait()
			events.require(t, idempotent.OutcomeReplayed)
			require.True(t, events.last().Lost)
			require.Equal(t, 1, events.last().Attempt)
			require.Zero(t, events.last().Waited)
		})
	}
}

// A call that has waited for one owner, taken over, and lost to a third one has its whole wait
// for that one.
func TestLostCallHasItsWholeWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep([]time.Duration{0, 0, 33 * time.Second, 5 * time.Second}[n])
			_, _ = fmt.Fprintf(w, "run %d", n)
		}}
		store := memory()
		call(idempotent.New(crashed(store), idempotent.Global, nil)(&h), "k", "")
		time.Sleep(22 * time.Second)
		var lost reply
		var wg sync.WaitGroup
		wg.Go(func() { lost = call(idempotent.New(cutOff(store), idempotent.Global, nil)(&h), "k", "") })
		time.Sleep(36 * time.Second)
		require.Equal(t, "run 3", call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "").Body)
		wg.Wait()
		require.Equal(t, "run 3", lost.Body)
	})
}

func TestLostFinishIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Int64
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if lost.Add(1) <= 4 {
				return idempotent.ErrLost
			}
			return next()
		}}
		var events eventLog
		var w work
		g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
		for range 2 {
			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.NoError(t, err)
			require.Equal(t, "run 1", v)
		}
		events.require(t, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed)
	})
}

// loseLease serves a request in a process that cannot renew its lease, and a minute later in one
// that takes over. It returns the first one's response. The first run must not end with a panic.
func loseLease(t *testing.T, h http.Handler, o *idempotent.Options) (lost reply) {
	t.Helper()
	store := memory()
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		panicked, _ = isolated(func() { lost = do(idempotent.New(cutOff(store), idempotent.Global, o)(h), keyedRequest("k", nil)) })
	}()
	time.Sleep(time.Minute)
	require.Equal(t, http.StatusOK, call(idempotent.New(leased{store}, idempotent.Global, nil)(h), "k", "").Status)
	<-done
	require.Nil(t, panicked)
	return lost
}

func TestHeaderOfALostRunIsNotInARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.Header().Set("X-Secret", "of the lost run")
				w.Header().Set("Set-Cookie", "session=lost")
				time.Sleep(2 * time.Minute)
			}
			_, _ = io.WriteString(w, "hello")
		}}
		lost := loseLease(t, &h, &idempotent.Options{Authorize: func(*http.Request) error { return apierror.CodePermissionDenied }})
		require.Equal(t, http.StatusForbidden, lost.Status)
		require.Empty(t, lost.Header.Get("X-Secret"))
		require.Empty(t, lost.Header.Get("Set-Cookie"))
	})
}

func TestWriteErrorOfALostRunIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			body := "hello"
			if idempotent.Attempt(r.Context()) == 1 {
				time.Sleep(2 * time.Minute)
				body = strings.Repeat("x", 2000)
			}
			_, err := io.WriteString(w, body)
			return err
		})
		lost := loseLease(t, h, &idempotent.Options{MaxResponse: 1000})
		require.True(t, lost.replayed())
		require.Equal(t, "hello", lost.Body)
	})
}

func TestLostLeaseIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		var events eventLog
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				time.Sleep(90 * time.Second)
			}
			_, _ = fmt.Fprintf(w, "run %d", n)
		}}

		lost := loseLease(t, &h, &idempotent.Options{Observe: events.observe, Logger: log.logger()})

		require.Equal(t, "run 2", lost.Body)
		require.Len(t, events.events, 1)
		e := events.last()
		require.True(t, e.Lost)
		require.Equal(t, idempotent.OutcomeReplayed, e.Outcome)
		require.Equal(t, 1, e.Attempt)
		require.Equal(t, http.StatusOK, e.Status)
		require.Equal(t, 1, strings.Count(log.String(), "a lease was lost during the run"), log.String())
		require.Contains(t, log.String(), "idempotency_id="+e.ID.String())
		require.Contains(t, log.String(), "level=WARN")
		require.Contains(t, log.String(), errDown.Error())
	})
}

package idempotent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
)

func TestContextKeepsItsValues(t *testing.T) {
	t.Parallel()
	type key struct{}
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		require.Equal(t, "value", r.Context().Value(key{}))
		reqstate.From(r.Context()).SetRequestID("req_handler")
	}}
	r, state := reqstate.Ensure(keyedRequest("k", nil).WithContext(context.WithValue(t.Context(), key{}, "value")))
	do(idempotent.New(memory(), idempotent.Global, nil)(&h), r)
	require.Equal(t, "req_handler", state.RequestID(), "outer layers share the state")
}

// Deadlines.

func TestDeadlineReachesTheHandler(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"no answer": func(http.ResponseWriter, *http.Request) {},
		"error":     func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, r.Context().Err()) },
	} {
		runBubble(t, name, func(t *testing.T) {
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				require.ErrorIs(t, r.Context().Err(), context.DeadlineExceeded)
				answer(w, r)
			}}
			mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				r := callWith(ctx, mw, "k")
				cancel()
				require.Equal(t, http.StatusGatewayTimeout, r.Status)
				require.Contains(t, r.Body, "timeout")
				require.False(t, r.replayed())
			}
			require.EqualValues(t, 2, h.runs.Load())
		})
	}
}

func TestRunEndsAtTheEarliestDeadline(t *testing.T) {
	t.Parallel()
	adapters := map[string]func(context.Context, *idempotent.Options, func(context.Context)){
		"middleware": func(ctx context.Context, o *idempotent.Options, f func(context.Context)) {
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
	}
	for name, test := range map[string]struct {
		maxRun, deadline, ends time.Duration
		cause                  error
	}{
		"the caller's": {time.Minute, 3 * time.Second, 3 * time.Second, context.DeadlineExceeded},
		"MaxRun":       {3 * time.Second, time.Minute, 3 * time.Second, idempotent.ErrMaxRun},
		"no MaxRun":    {-1, time.Minute, time.Minute, context.DeadlineExceeded},
		"no deadline":  {time.Minute, 0, time.Minute, idempotent.ErrMaxRun},
		"the default":  {0, 0, 5 * time.Minute, idempotent.ErrMaxRun},
	} {
		for how, ask := range adapters {
			runBubble(t, name+", "+how, func(t *testing.T) {
				start := time.Now()
				runs := 0
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if test.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
				}
				defer cancel()
				ask(ctx, &idempotent.Options{MaxRun: test.maxRun}, func(ctx context.Context) {
					runs++
					at, ok := ctx.Deadline()
					require.True(t, ok)
					require.Equal(t, test.ends, at.Sub(start))
					<-ctx.Done()
					require.Equal(t, test.ends, time.Since(start))
					require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
					require.ErrorIs(t, context.Cause(ctx), test.cause)
					require.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
				})
				require.Equal(t, 1, runs)
			})
		}
	}
}

func TestRunOfADisconnectedClientEndsAfterMaxRun(t *testing.T) {
	t.Parallel()
	for name, effect := range map[string]bool{"released": false, "unknown after its effect": true} {
		runBubble(t, name, func(t *testing.T) {
			begun, first := time.Now(), true
			h := apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
				if !first {
					return nil
				}
				first = false
				if effect {
					require.NoError(t, idempotent.BeginEffect(r.Context()))
				}
				<-r.Context().Done()
				require.Equal(t, 5*time.Minute, time.Since(begun))
				require.ErrorIs(t, context.Cause(r.Context()), idempotent.ErrMaxRun)
				return r.Context().Err()
			})
			m := idempotent.NewMemory(nil)
			var events eventLog
			s := serve(t, h, idempotent.New(m, idempotent.Global, &idempotent.Options{Observe: events.observe}))
			ctx, disconnect := context.WithTimeout(t.Context(), time.Second)
			defer disconnect()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/resources", nil)
			req.Header.Set("Idempotency-Key", "k")
			_, err := s.Client().Do(req)
			require.Error(t, err)
			time.Sleep(6 * time.Minute)
			synctest.Wait()

			require.Zero(t, m.Running())
			require.Equal(t, http.StatusGatewayTimeout, events.events[0].Status)
			again := post(t, s, "k", "")
			if effect {
				require.Contains(t, again.Body, "idempotency_outcome_unknown")
			} else {
				require.Equal(t, http.StatusOK, again.Status)
				require.False(t, again.replayed())
			}
		})
	}
}

func TestSilentRunAfterMaxRunIsATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxRun: time.Minute}))
		start := time.Now()

		r := post(t, s, "k", "")

		require.Equal(t, http.StatusGatewayTimeout, r.Status)
		require.Contains(t, r.Body, `"code":"timeout"`)
		require.Equal(t, time.Minute, time.Since(start))
	})
}

// A store that answers late, while the handler returns, does not delay the response.
func TestSlowStoreDoesNotDelayTheEnd(t *testing.T) {
	t.Parallel()
	late := func(next func() error) error {
		time.Sleep(10 * time.Millisecond)
		return next()
	}
	for name, test := range map[string]struct {
		run    func(begin func())
		panics bool
	}{
		"Renew":       {run: func(func()) { time.Sleep(10*time.Second + 5*time.Millisecond) }},
		"BeginEffect": {run: func(begin func()) { begin(); time.Sleep(5 * time.Millisecond) }},
		"BeginEffect, and a panic": {run: func(begin func()) {
			begin()
			time.Sleep(5 * time.Millisecond)
			panic(http.ErrAbortHandler)
		}, panics: true},
	} {
		runBubble(t, name, func(t *testing.T) {
			var effects sync.WaitGroup
			begun := make(chan error, 1)
			h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					test.run(func() { effects.Go(func() { begun <- idempotent.BeginEffect(r.Context()) }) })
				}
				_, _ = io.WriteString(w, "done")
			}}
			m := idempotent.NewMemory(nil)
			mw := idempotent.New(&faulty{Store: m, renew: late, begin: late}, idempotent.Global, nil)(&h)
			start := time.Now()

			first := call(mw, "k", "")

			require.Less(t, time.Since(start), 10*time.Second+20*time.Millisecond)
			effects.Wait()
			require.Zero(t, m.Running())
			again := call(mw, "k", "")
			require.Equal(t, "done", again.Body)
			require.Equal(t, test.panics, !again.replayed())
			if test.panics {
				require.Error(t, <-begun, "the run had ended, so its effect must not begin")
			} else {
				require.Equal(t, "done", first.Body)
			}
		})
	}
}

// Cancellation.

func TestSilentRunReportsItsCause(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cause error
		code  apierror.Code
	}{
		"the client disconnects": {context.Canceled, ""},
		"the server shuts down":  {errors.New("shutdown"), apierror.CodeServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			var events eventLog
			h := streams(func(_ http.ResponseWriter, r *http.Request) {
				cancel(test.cause)
				<-r.Context().Done()
			})
			callWith(ctx, idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe})(h), "k")
			require.ErrorIs(t, events.last().Err, test.cause)
			require.Equal(t, test.code, apierror.CodeOf(events.last().Err))
		})
	}
}

// A context that was canceled with a cause is that of a server that shuts down. One that was
// canceled without a cause is that of a client that has disconnected.
func TestShutdownCancelsRunsAndDisconnectsDoNot(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cause error
		ends  bool
	}{
		"the client disconnects":             {nil, false},
		"the server shuts down":              {errDown, true},
		"the server shuts down, cause wraps": {fmt.Errorf("shutdown: %w", context.Canceled), true},
	} {
		runBubble(t, name, func(t *testing.T) {
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
	}
}

func TestShutdownIsAnswered503(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shutdown := errors.New("shutdown")
		base, end := context.WithCancelCause(t.Context())
		h := counter{serve: func(n int64, _ http.ResponseWriter, r *http.Request) {
			if n == 1 {
				<-r.Context().Done()
				require.ErrorIs(t, context.Cause(r.Context()), shutdown)
			}
		}}
		s := memhttp.NewConfigured(idempotent.New(memory(), idempotent.Global, nil)(&h), func(s *http.Server) {
			s.BaseContext = func(net.Listener) context.Context { return base }
		})
		defer s.Close()
		time.AfterFunc(time.Second, func() { end(shutdown) })
		start := time.Now()

		first := post(t, s, "k", "")

		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, http.StatusServiceUnavailable, first.Status)
		require.NotEmpty(t, first.Header.Get("Retry-After"))
		require.False(t, post(t, s, "k", "").replayed(), "the key is free")
		require.EqualValues(t, 2, h.runs.Load())
	})
}

func TestDoWithACanceledContextRunsNothing(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{nil, errDown} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		var events eventLog
		var w work
		store := &recorder{Store: memory()}
		_, err := idempotent.Do(ctx, idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe}), callOf("k"), w.run)
		require.Equal(t, context.Canceled, err)
		require.Zero(t, w.runs)
		require.Empty(t, store.calls)
		events.require(t, idempotent.OutcomeRefused)
		require.Equal(t, context.Canceled, events.last().Err)
	}
}

func TestCanceledDoFreesItsKey(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
	store := &recorder{Store: memory()}
	g := idempotent.NewGuard(store, nil)
	w := &work{do: func(ctx context.Context, n int) (string, error) {
		require.Equal(t, "value", ctx.Value(key{}))
		if n == 1 {
			cancel(errDown)
			<-ctx.Done()
			return "", context.Cause(ctx)
		}
		return "done", nil
	}}
	_, err := idempotent.Do(ctx, g, callOf("k"), w.run)
	require.Equal(t, errDown, err)
	require.Equal(t, []string{"Acquire", "Finish absent"}, store.distinct(), "the store is called all the same")

	v, err := idempotent.Do(context.WithoutCancel(ctx), g, callOf("k"), w.run)
	require.NoError(t, err)
	require.Equal(t, "done", v)
}

func TestCanceledDoThatSucceedsIsRecorded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	g := idempotent.NewGuard(leased{memory()}, nil)
	w := &work{do: func(context.Context, int) (string, error) { cancel(); return "done", nil }}
	for _, ctx := range []context.Context{ctx, t.Context()} {
		v, err := idempotent.Do(ctx, g, callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "done", v)
	}
	require.Equal(t, 1, w.runs)
}

func TestWaitingDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for how, elsewhere := range map[string]bool{"follows": false, "polls": true} {
		for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
			runBubble(t, how+" until "+want.Error(), func(t *testing.T) {
				store := leased{memory()}
				var events eventLog
				g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
				first := g
				if elsewhere {
					first = idempotent.NewGuard(store, nil)
				}
				go func() { _, _ = idempotent.Do(t.Context(), first, callOf("k"), slowValue(9*time.Second)) }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if errors.Is(want, context.Canceled) {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(time.Second, cancel)
				}
				start := time.Now()
				_, err := idempotent.Do(ctx, g, callOf("k"), slowValue(0))
				require.Equal(t, want, err)
				require.Equal(t, time.Second, time.Since(start))
				events.require(t, idempotent.OutcomeInProgress)
				time.Sleep(9 * time.Second)
			})
		}
	}
}

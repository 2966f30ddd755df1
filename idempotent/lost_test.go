package idempotent_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestForgetHoldsForALongResponse(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]bool{"over the limit": false, "stream": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				idempotent.Forget(r.Context())
				if stream {
					idempotent.Stream(r.Context())
				}
				_, _ = io.WriteString(w, strings.Repeat("x", 100))
			}}
			mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 10})(&h)
			call(mw, "k", "")
			again := call(mw, "k", "")
			require.Equal(t, 200, again.Status, again.Body)
			require.EqualValues(t, 2, h.runs.Load())
		})
	}
}

func TestSlowFinishOfAStreamIsNoLostLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cause error
		var n int
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			err := next()
			if n++; n == 1 { // the reply is lost, which is noticed late
				time.Sleep(900 * time.Millisecond)
				return errDown
			}
			return err
		}}
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			time.Sleep(500 * time.Millisecond)
			_, _ = io.WriteString(w, "a")
			time.Sleep(time.Second)
			cause = context.Cause(r.Context())
		}}
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Lease: 3 * time.Second})(&h)
		call(mw, "k", "")
		require.NoError(t, cause)
	})
}

func TestErrorOfALostStreamIsReplacedByTheOtherAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, returns := range []bool{false, true} {
			store := memory()
			slow := &faulty{Store: store, renew: func(func() error) error { return errDown }}
			h := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				if idempotent.Attempt(r.Context()) == 1 {
					idempotent.Stream(r.Context())
					time.Sleep(2 * time.Minute)
				}
				_, err := io.WriteString(w, "hello")
				if returns {
					return err
				}
				return nil
			})
			mw := idempotent.New(slow, idempotent.Global, nil)(h)
			other := idempotent.New(&faulty{Store: store}, idempotent.Global, nil)(h)
			done := make(chan reply, 1)
			var aborted any
			go func() {
				r := httptest.NewRequest(http.MethodPost, "/v1/resources", nil)
				r.Header.Set("Idempotency-Key", "k")
				w := httptest.NewRecorder()
				defer func() { done <- reply{w.Code, w.Header(), w.Body.String()} }()
				defer func() { aborted = recover() }()
				mw.ServeHTTP(w, r)
			}()
			time.Sleep(time.Minute)
			require.Equal(t, 200, call(other, "k", "").Status)
			first := <-done
			t.Log("returns:", returns, "status", first.Status, "panic", aborted, first.Body)
			require.Nil(t, aborted, "returns the error of Write: %v", returns)
			require.True(t, first.replayed())
		}
	})
}

func TestHeaderOfALostRunIsNotInARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		slow := &faulty{Store: store, renew: func(func() error) error { return errDown }}
		h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				w.Header().Set("X-Secret", "of the lost run")
				w.Header().Set("Set-Cookie", "session=lost")
				time.Sleep(2 * time.Minute)
			}
			_, _ = io.WriteString(w, "hello")
		}}
		o := &idempotent.Options{Authorize: func(*http.Request) error { return apierror.CodePermissionDenied.New() }}
		mw := idempotent.New(slow, idempotent.Global, o)(&h)
		other := idempotent.New(&faulty{Store: store}, idempotent.Global, nil)(&h)
		done := make(chan reply, 1)
		go func() { done <- call(mw, "k", "") }()
		time.Sleep(time.Minute)
		require.Equal(t, 200, call(other, "k", "").Status)
		first := <-done
		require.Equal(t, 403, first.Status)
		require.Empty(t, first.Header.Get("X-Secret"))
		require.Empty(t, first.Header.Get("Set-Cookie"))
	})
}

type rawCodec struct{ panics bool }

func (c rawCodec) Marshal(v any) ([]byte, error) {
	if c.panics {
		panic("codec")
	}
	return v.([]byte), nil
}

func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

func TestCodecThatKeepsItsInputCannotReachTheRecord(t *testing.T) {
	t.Parallel()
	g := idempotent.NewGuard(memory(), nil)
	do := func() ([]byte, error) {
		return idempotent.Do(t.Context(), g, idempotent.Call{Principal: "p", Key: "k", Codec: rawCodec{}},
			func(context.Context) ([]byte, error) { return []byte("hello"), nil })
	}
	_, err := do()
	require.NoError(t, err)
	v, err := do()
	require.NoError(t, err)
	v[0] = 'X'
	v, err = do()
	require.NoError(t, err)
	require.Equal(t, "hello", string(v))
}

func TestFailOpenLeavesNoClaimBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var n atomic.Int64
		bad := &faulty{Store: store, acquire: func(next func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			d, err := next()
			if d.Verdict == idempotent.VerdictAcquired {
				return idempotent.Decision{}, errDown
			}
			return d, err
		}}
		_ = n.Load()
		var h counter
		h.serve = func(_ int64, w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.WriteHeader(500)
		}
		first := idempotent.New(&faulty{Store: store}, idempotent.Global, nil)(&h)
		second := idempotent.New(bad, idempotent.Global, &idempotent.Options{OnFailure: idempotent.FailOpen})(&h)
		go call(first, "k", "")
		synctest.Wait()
		require.Equal(t, 503, call(second, "k", "").Status)
		require.EqualValues(t, 1, h.runs.Load())
		start := time.Now()
		again := call(first, "k", "")
		t.Log(again.Status, again.Body, time.Since(start))
		require.NotContains(t, again.Body, "in_progress")
	})
}

func TestShortLeaseMakesNoBusyLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		store := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			if asked++; asked > 100000 {
				panic("busy")
			}
			return idempotent.Decision{Verdict: idempotent.VerdictRunning, LeaseLeft: time.Microsecond}, nil
		}}
		var h counter
		call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "")
		require.Less(t, asked, 1000)
	})
}

type badExecutor struct {
	idempotent.Store
	n int
}

func (b *badExecutor) Execute(ctx context.Context, _ idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	if b.n++; b.n == 1 {
		run(ctx, 1) // rolled back
		return idempotent.Decision{Verdict: idempotent.VerdictRunning}, nil
	}
	return idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: 1}, nil
}

func TestExecutorThatDoesNotRunTheSecondTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		r := call(idempotent.New(&badExecutor{Store: memory()}, idempotent.Global, nil)(&h), "k", "x")
		require.Equal(t, 503, r.Status, r.Body)
	})
}

type panicWaiter struct{ *faulty }

func (panicWaiter) Wait(context.Context, idempotent.ID) error { panic("driver") }

func TestWaiterThatPanicsHasFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) { time.Sleep(time.Second) }}
		var s seen
		o := &idempotent.Options{Observe: s.observe}
		first := idempotent.New(&faulty{Store: store}, idempotent.Global, nil)(&h)
		second := idempotent.New(panicWaiter{&faulty{Store: store}}, idempotent.Global, o)(&h)
		go call(first, "k", "")
		synctest.Wait()
		r := call(second, "k", "")
		t.Logf("%d %q %t", r.Status, s.results(), r.replayed())
		time.Sleep(time.Minute)
		require.True(t, r.replayed())
	})
}

func TestLostLeaseIsToldInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		worst := time.Duration(0)
		for d := time.Duration(0); d < time.Second; d += 50 * time.Millisecond {
			store := &hangRenew{Store: memory(), after: d}
			var late time.Duration
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				start := time.Now()
				<-r.Context().Done()
				late = time.Since(start) - 3*time.Second
			}}
			call(idempotent.New(store, idempotent.Global, &idempotent.Options{Lease: 3 * time.Second})(&h), "k", "")
			worst = max(worst, late)
		}
		require.Zero(t, worst)
	})
}

type hangRenew struct {
	idempotent.Store
	after time.Duration
	n     int
}

func (h *hangRenew) Renew(ctx context.Context, _ idempotent.Owner, _ time.Duration) error {
	if h.n++; h.n <= 1 {
		time.Sleep(h.after)
		return errDown
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestFullStoreForANotKeptIsNoRecord(t *testing.T) {
	t.Parallel()
	store := &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error { return idempotent.ErrFull }}
	var h counter
	var s seen
	call(idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: s.observe})(&h), "k", "")
	require.Equal(t, []idempotent.Outcome{idempotent.OutcomeUnrecorded}, s.results())
}

func TestLeaderThatGivesUpLeavesItsFollowersTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		elsewhere := idempotent.NewGuard(&faulty{Store: store}, nil)
		g := idempotent.NewGuard(&faulty{Store: store}, nil)
		do := func(g *idempotent.Guard, d time.Duration) (string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return idempotent.Do(ctx, g, idempotent.Call{Principal: "p", Key: "k"}, func(context.Context) (string, error) {
				time.Sleep(3 * time.Second)
				return "done", nil
			})
		}
		go do(elsewhere, time.Minute)
		synctest.Wait()
		go do(g, 100*time.Millisecond)
		synctest.Wait()
		start := time.Now()
		v, err := do(g, time.Minute)
		t.Log(v, err, time.Since(start))
		require.NoError(t, err)
	})
}

func TestFollowerHasAWaitItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) { time.Sleep(11 * time.Second) }}
		elsewhere := idempotent.New(&faulty{Store: store}, idempotent.Global, nil)(&h)
		here := idempotent.New(&faulty{Store: store}, idempotent.Global, nil)(&h)
		go call(elsewhere, "k", "")
		synctest.Wait()
		go call(here, "k", "")
		time.Sleep(9900 * time.Millisecond)
		start := time.Now()
		r := call(here, "k", "")
		t.Log(r.Status, time.Since(start))
		require.True(t, r.replayed())
	})
}

func TestBeginEffectAfterForgetHolds(t *testing.T) {
	t.Parallel()
	effects := 0
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		idempotent.Forget(r.Context())
		if idempotent.BeginEffect(r.Context()) == nil {
			effects++
		}
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	call(mw, "k", "")
	call(mw, "k", "")
	require.Equal(t, 1, effects)
}

func TestCallerThatLeavesDoesNotEndTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var running, most atomic.Int64
		do := func(ctx context.Context) (int, error) {
			return idempotent.Do(ctx, idempotent.NewGuard(&faulty{Store: store}, nil), idempotent.Call{Principal: "p", Key: "k"},
				func(context.Context) (int, error) {
					n := running.Add(1)
					most.Store(max(n, most.Load()))
					time.Sleep(time.Minute) // a bank that takes no context
					running.Add(-1)
					return 1, nil
				})
		}
		ctx, cancel := context.WithCancel(t.Context())
		go do(ctx)
		time.Sleep(time.Second)
		cancel()
		time.Sleep(40 * time.Second)
		_, err := do(t.Context())
		time.Sleep(5 * time.Minute)
		t.Log(err)
		require.EqualValues(t, 1, most.Load(), "runs at the same time")
	})
}

func TestClientThatLeavesDoesNotEndTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }}
		mw := func() http.Handler {
			return idempotent.New(&faulty{Store: store}, idempotent.Global, nil)(&h)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/resources", nil)
			r.Header.Set("Idempotency-Key", "k")
			mw().ServeHTTP(httptest.NewRecorder(), r)
		}()
		time.Sleep(time.Second)
		cancel()
		time.Sleep(40 * time.Second)
		call(mw(), "k", "")
		time.Sleep(5 * time.Minute)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(context.Context, slog.Level) bool { return true }

func (panicHandler) Handle(context.Context, slog.Record) error { panic("logger") }

func TestLoggerThatPanicsDuringARenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: memory(), renew: func(func() error) error { return idempotent.ErrLost }}
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }}
		call(idempotent.New(store, idempotent.Global, &idempotent.Options{Logger: slog.New(panicHandler{})})(&h), "k", "")
	})
}

func TestWriteErrorOfALostRunIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		slow := &faulty{Store: store, renew: func(func() error) error { return errDown }}
		var aborted any
		h := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if idempotent.Attempt(r.Context()) == 1 {
				time.Sleep(2 * time.Minute)
				_, err := io.WriteString(w, strings.Repeat("x", 100))
				return err
			}
			_, err := io.WriteString(w, "hello")
			return err
		})
		o := &idempotent.Options{MaxResponse: 10}
		done := make(chan reply, 1)
		go func() {
			r := httptest.NewRequest(http.MethodPost, "/v1/resources", nil)
			r.Header.Set("Idempotency-Key", "k")
			w := httptest.NewRecorder()
			defer func() { done <- reply{w.Code, w.Header(), w.Body.String()} }()
			defer func() { aborted = recover() }()
			idempotent.New(slow, idempotent.Global, o)(h).ServeHTTP(w, r)
		}()
		time.Sleep(time.Minute)
		require.Equal(t, 200, call(idempotent.New(&faulty{Store: store}, idempotent.Global, o)(h), "k", "").Status)
		<-done
		require.Nil(t, aborted)
	})
}

func TestAtMostOnceWhateverBecomesOfTheResponse(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 500} {
		for _, big := range []bool{false, true} {
			for _, stream := range []bool{false, true} {
				for _, end := range []string{"return", "panic", "error"} {
					for _, finish := range []string{"ok", "lost reply", "down once", "lost first"} {
						synctest.Test(t, func(t *testing.T) {
							n := 0
							mem := memory()
							store := &faulty{Store: mem, finish: func(c idempotent.Completion, next func() error) error {
								n++
								switch {
								case finish == "lost reply" && n == 1:
									_ = next()
									return errDown
								case finish == "down once" && n < 5:
									return errDown
								case finish == "lost first" && n == 1:
									return idempotent.ErrLost
								}
								return next()
							}}
							effects := 0
							h := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
								if err := idempotent.BeginEffect(r.Context()); err != nil {
									return err
								}
								effects++
								if stream {
									idempotent.Stream(r.Context())
								}
								w.WriteHeader(status)
								body := "x"
								if big {
									body = strings.Repeat("x", 100)
								}
								_, err := io.WriteString(w, body)
								switch end {
								case "panic":
									panic("x")
								case "error":
									return io.ErrUnexpectedEOF
								}
								return err
							})
							mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxResponse: 10})(h)
							for range 4 {
								call(mw, "k", "")
								time.Sleep(40 * time.Second)
							}
							require.Equal(t, 1, effects, "%d big %t stream %t %s %s", status, big, stream, end, finish)
						})
					}
				}
			}
		}
	}
}

func TestDuplicatesOfARolledBackMarkAskTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s seen
		h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
			if n > 1 {
				return
			}
			// the mark is part of a business transaction
			_ = idempotent.BeginEffectWith(r.Context(), func(context.Context, idempotent.Owner) error { return nil })
			time.Sleep(time.Second)
			w.WriteHeader(500) // and that was rolled back
		}}
		mw := idempotent.New(&faulty{Store: memory()}, idempotent.Global, &idempotent.Options{Observe: s.observe})(&h)
		go call(mw, "k", "")
		synctest.Wait()
		follower := call(mw, "k", "")
		later := call(mw, "k", "")
		t.Logf("%q follower %d %s later %d", s.results(), follower.Status, follower.Body, later.Status)
		require.Equal(t, 503, follower.Status)
	})
}

func TestDoOfACanceledCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := idempotent.NewGuard(memory(), nil)
		do := func(ctx context.Context) error {
			_, err := idempotent.Do(ctx, g, idempotent.Call{Principal: "p", Key: "k"}, func(context.Context) (int, error) {
				time.Sleep(5 * time.Second)
				return 1, nil
			})
			return err
		}
		go do(t.Context())
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := do(ctx)
		time.Sleep(time.Minute)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

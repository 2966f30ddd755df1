package idempotent_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestFailureAfterBeginEffectIsUnknown(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(w http.ResponseWriter){
		"5xx":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"panic":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"Goexit": func(http.ResponseWriter) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				require.NoError(t, idempotent.BeginEffect(r.Context()))
				fail(w)
			}}
			mw := idempotent.New(memory(), idempotent.Global, nil)(&h)

			call(mw, "k", "charge")
			again := call(mw, "k", "charge")

			require.Equal(t, http.StatusConflict, again.Status)
			require.Contains(t, again.Body, "idempotency_outcome_unknown")
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

func TestEffectThatSucceedsIsReplayed(t *testing.T) {
	t.Parallel()
	mw := protected(nil, func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		w.WriteHeader(http.StatusPaymentRequired)
	})
	call(mw, "k", "")
	again := call(mw, "k", "")
	require.True(t, again.replayed())
	require.Equal(t, http.StatusPaymentRequired, again.Status)
}

func TestUnknownOutcomeIsResolved(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		w.WriteHeader(http.StatusBadGateway)
	}}
	store := idempotent.NewMemory(nil)
	var events eventLog
	o := &idempotent.Options{Namespace: "payments", Observe: events.observe}
	mw := idempotent.New(store, func(*http.Request) (string, error) { return "customer", nil }, o)(&h)
	call(mw, "k", "")

	found := idempotent.Response{Status: http.StatusCreated, Body: []byte("charged after all")}
	require.NoError(t, store.Resolve(t.Context(), o.ID("customer", "k"), found.Completion(time.Hour)))

	again := call(mw, "k", "")
	require.Equal(t, http.StatusCreated, again.Status)
	require.Equal(t, "charged after all", again.Body)
	require.True(t, again.replayed())
	require.NotContains(t, again.Header, "Original-Request", "no request got this response before")
	require.Equal(t, http.StatusCreated, events.last().Status)
	require.EqualValues(t, 1, h.runs.Load())
}

func TestAtMostOnce(t *testing.T) {
	t.Parallel()
	store := &recorder{Store: memory()}
	g := idempotent.NewGuard(store, &idempotent.Options{AtMostOnce: true})
	w := fails(errDown)
	_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
	require.Equal(t, errDown, err)
	require.Equal(t, []string{"Acquire", "BeginEffect", "Finish unknown"}, store.distinct())
	_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
	require.Equal(t, apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeOf(err))
	require.Equal(t, 1, w.runs)
}

func TestAtMostOnceRunsNothingIfTheStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events eventLog
		store := &faulty{Store: memory(), begin: failWith(errDown)}
		g := idempotent.NewGuard(store, &idempotent.Options{AtMostOnce: true, Observe: events.observe})
		var w work
		_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
		require.ErrorIs(t, err, errDown)
		require.Zero(t, w.runs)

		store.begin = nil
		v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "run 1", v)
		events.require(t, idempotent.OutcomeReleased, idempotent.OutcomeExecuted)
	})
}

func TestBeginEffectReturnsTheErrorOfTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: memory(), begin: failWith(errDown)}
		effects := 0
		mw := idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := idempotent.BeginEffect(r.Context()); err != nil {
				require.ErrorIs(t, err, errDown)
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			effects++
		}))

		require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
		require.Zero(t, effects)
		store.begin = nil
		require.Equal(t, http.StatusOK, call(mw, "k", "").Status)
		require.Equal(t, 1, effects)
	})
}

func TestBeginEffectAfterTheDeadlineIsATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mw := idempotent.New(memory(), idempotent.Global, nil)(apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			<-r.Context().Done()
			return idempotent.BeginEffect(r.Context())
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		require.Equal(t, http.StatusGatewayTimeout, callWith(ctx, mw, "k").Status)
	})
}

func TestBeginEffectWithACanceledContextIsUnavailable(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, nil)(apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithCancel(r.Context()) // one that the handler cancels itself
		cancel()
		return idempotent.BeginEffect(ctx)
	}))

	refused := call(mw, "k", "")

	require.Equal(t, http.StatusServiceUnavailable, refused.Status)
	require.NotEmpty(t, refused.Header.Get("Retry-After"))
}

func TestBeginEffectAfterTheRunIsRefused(t *testing.T) {
	t.Parallel()
	g := idempotent.NewGuard(memory(), nil)
	var late context.Context
	w := &work{do: func(ctx context.Context, _ int) (string, error) { late = ctx; return "done", nil }}
	_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
	require.NoError(t, err)

	begin := func(context.Context, idempotent.Owner) error { t.Error("called"); return nil }
	require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(idempotent.BeginEffect(late)))
	require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(idempotent.BeginEffectWith(late, begin)))
	idempotent.Forget(late)

	_, err = idempotent.Do(t.Context(), g, callOf("k"), w.run)
	require.NoError(t, err)
	require.Equal(t, 1, w.runs)
}

func TestContextWithoutARun(t *testing.T) {
	t.Parallel()
	check := func(ctx context.Context) {
		begin := func(context.Context, idempotent.Owner) error { t.Error("called"); return nil }
		require.NoError(t, idempotent.BeginEffect(ctx))
		require.NoError(t, idempotent.BeginEffectWith(ctx, begin))
		require.Zero(t, idempotent.Attempt(ctx))
		require.Empty(t, idempotent.DerivedKey(ctx, "charge"))
		_, ok := idempotent.OwnerOf(ctx)
		require.False(t, ok)
		idempotent.Forget(ctx)
		idempotent.Stream(ctx)
	}
	check(t.Context())

	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) { check(r.Context()) }}
	do(idempotent.New(memory(), idempotent.Global, nil)(&h), httptest.NewRequest(http.MethodPost, "/", nil)) // no key
	require.EqualValues(t, 1, h.runs.Load())
}

func TestFunctionsOfARun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do    func(t *testing.T, ctx context.Context, store idempotent.Store) error
		again apierror.Code // of a retry
		value string        // of a retry; if empty, it runs again
		calls []string
	}{
		"BeginEffect twice": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffect(ctx))
				require.NoError(t, idempotent.BeginEffect(ctx))
				return errDown
			},
			again: apierror.CodeIdempotencyOutcomeUnknown,
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"Forget after BeginEffect": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffect(ctx))
				idempotent.Forget(ctx)
				return errDown
			},
			calls: []string{"Acquire", "BeginEffect", "Finish absent"},
		},
		"BeginEffect after Forget": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Forget(ctx)
				require.NoError(t, idempotent.BeginEffect(ctx))
				return errDown
			},
			again: apierror.CodeIdempotencyOutcomeUnknown,
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"a value after Forget and BeginEffect": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Forget(ctx)
				require.NoError(t, idempotent.BeginEffect(ctx))
				return nil
			},
			value: "first",
			calls: []string{"Acquire", "BeginEffect", "Finish done"},
		},
		"Forget of a value": {
			do: func(_ *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Forget(ctx)
				return nil
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"Forget of a kept error": {
			do: func(_ *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Forget(ctx)
				return cardDeclined
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"BeginEffectWith, committed": {
			do: func(t *testing.T, ctx context.Context, store idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffectWith(ctx, store.BeginEffect))
				return errDown
			},
			again: apierror.CodeIdempotencyOutcomeUnknown,
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"BeginEffectWith, rolled back": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				rolledBack := func(context.Context, idempotent.Owner) error { return nil }
				require.NoError(t, idempotent.BeginEffectWith(ctx, rolledBack))
				return errDown
			},
			calls: []string{"Acquire", "Finish unknown"},
		},
		"BeginEffectWith that fails": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				err := idempotent.BeginEffectWith(ctx, func(context.Context, idempotent.Owner) error { return errDown })
				require.ErrorIs(t, err, errDown)
				require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
				return err
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"BeginEffectWith of a lost claim": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				err := idempotent.BeginEffectWith(ctx, func(context.Context, idempotent.Owner) error { return idempotent.ErrLost })
				require.ErrorIs(t, err, idempotent.ErrLeaseLost)
				require.ErrorIs(t, context.Cause(ctx), idempotent.ErrLeaseLost)
				return err
			},
			calls: []string{"Acquire", "Finish absent"},
		},
		"BeginEffectWith that fails after BeginEffect": {
			do: func(t *testing.T, ctx context.Context, _ idempotent.Store) error {
				require.NoError(t, idempotent.BeginEffect(ctx))
				fails := func(context.Context, idempotent.Owner) error { return errDown }
				require.ErrorIs(t, idempotent.BeginEffectWith(ctx, fails), errDown)
				return errDown
			},
			again: apierror.CodeIdempotencyOutcomeUnknown,
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"BeginEffectWith that panics": {
			do: func(_ *testing.T, ctx context.Context, store idempotent.Store) error {
				_ = idempotent.BeginEffectWith(ctx, func(ctx context.Context, o idempotent.Owner) error {
					_ = store.BeginEffect(ctx, o)
					panic("after the commit")
				})
				return nil
			},
			again: apierror.CodeIdempotencyOutcomeUnknown,
			calls: []string{"Acquire", "BeginEffect", "Finish unknown"},
		},
		"Stream, which has no effect in a Do": {
			do: func(_ *testing.T, ctx context.Context, _ idempotent.Store) error {
				idempotent.Stream(ctx)
				return cardDeclined
			},
			again: cardDeclined.Code,
			calls: []string{"Acquire", "Finish done"},
		},
	} {
		runBubble(t, name, func(t *testing.T) {
			store := &recorder{Store: memory()}
			g := idempotent.NewGuard(store, nil)
			w := &work{do: func(ctx context.Context, n int) (string, error) {
				if n == 1 {
					return "first", test.do(t, ctx, store)
				}
				return "again", nil
			}}
			isolated(func() { _, _ = idempotent.Do(t.Context(), g, callOf("k"), w.run) })
			require.Equal(t, test.calls, store.distinct())

			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.Equal(t, test.again, apierror.CodeOf(err))
			if test.again == "" {
				require.Equal(t, cmp.Or(test.value, "again"), v)
			}
		})
	}
}

func TestForgottenResponseIsSentAndNotKept(t *testing.T) {
	t.Parallel()
	for name, effect := range map[string]bool{"without an effect": false, "after BeginEffect": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
				if effect {
					require.NoError(t, idempotent.BeginEffect(r.Context()))
				}
				if n == 1 {
					idempotent.Forget(r.Context())
					w.WriteHeader(http.StatusConflict)
				}
				_, _ = fmt.Fprintf(w, "run %d", n)
			}}
			var events eventLog
			s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe}))

			first, second, third := post(t, s, "k", ""), post(t, s, "k", ""), post(t, s, "k", "")

			require.Equal(t, http.StatusConflict, first.Status)
			require.Equal(t, "run 1", first.Body)
			require.Equal(t, "run 2", second.Body)
			require.False(t, second.replayed())
			require.Equal(t, "run 2", third.Body)
			require.True(t, third.replayed())
			events.require(t, idempotent.OutcomeReleased, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed)
		})
	}
}

func TestForgetAppliesToLongResponses(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]bool{"over MaxResponse": false, "a stream": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			long := strings.Repeat("x", 100)
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				idempotent.Forget(r.Context())
				if stream {
					idempotent.Stream(r.Context())
				}
				_, _ = io.WriteString(w, long)
			}}
			mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 10})(&h)
			for range 2 {
				r := call(mw, "k", "")
				require.Equal(t, http.StatusOK, r.Status)
				require.Equal(t, long, r.Body)
			}
			require.EqualValues(t, 2, h.runs.Load())
		})
	}
}

// An effect after BeginEffect is done once, however its run ends and the store answers.
func TestEffectIsDoneOnceHoweverTheRunEnds(t *testing.T) {
	t.Parallel()
	finishes := map[string]func(n int, next func() error) error{
		"works": func(_ int, next func() error) error { return next() },
		"loses its first reply": func(n int, next func() error) error {
			if err := next(); n > 1 {
				return err
			}
			return errDown
		},
		"fails four times": func(n int, next func() error) error {
			if n < 5 {
				return errDown
			}
			return next()
		},
		"denies the first time": func(n int, next func() error) error {
			if n == 1 {
				return idempotent.ErrLost
			}
			return next()
		},
	}
	ends := map[string]func() error{
		"returns": func() error { return nil },
		"fails":   func() error { return io.ErrUnexpectedEOF },
		"panics":  func() error { panic("boom") },
	}
	for finishing, finish := range finishes {
		for ending, end := range ends {
			t.Run("the store "+finishing+", the handler "+ending, func(t *testing.T) {
				t.Parallel()
				for _, status := range []int{http.StatusOK, http.StatusInternalServerError} {
					for _, body := range []string{"short", strings.Repeat("long", 25)} {
						for _, stream := range []bool{false, true} {
							synctest.Test(t, func(t *testing.T) {
								finished, effects := 0, 0
								store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
									finished++
									return finish(finished, next)
								}}
								h := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
									if err := idempotent.BeginEffect(r.Context()); err != nil {
										return err
									}
									effects++
									if stream {
										idempotent.Stream(r.Context())
									}
									w.WriteHeader(status)
									_, _ = io.WriteString(w, body)
									return end()
								})
								mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxResponse: 10})(h)
								for range 4 {
									call(mw, "k", "")
									time.Sleep(40 * time.Second)
								}
								require.Equal(t, 1, effects, "status %d, body %q, stream %t", status, body, stream)
							})
						}
					}
				}
			})
		}
	}
}

// FinishWith.

func finishing(store idempotent.Store, response idempotent.Response, after func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := idempotent.FinishWith(r.Context(), response, store.Finish); err != nil {
			apierror.Write(w, r, err)
			return
		}
		after(w, r)
	}
}

func TestFinishWithRecordsWhateverFollows(t *testing.T) {
	t.Parallel()
	recorded := idempotent.Response{Status: http.StatusCreated, Header: http.Header{"Location": {"/1"}}, Body: []byte("recorded")}
	for name, after := range map[string]func(w http.ResponseWriter, r *http.Request){
		"the response": func(w http.ResponseWriter, _ *http.Request) {
			require.NoError(t, recorded.Write(w))
			require.Equal(t, "/1", w.Header().Get("Location"))
		},
		"the same as a stream": func(w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			require.NoError(t, recorded.Write(w))
		},
		"another": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
		"5xx":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		for _, maxResponse := range []int{0, len(recorded.Body) - 1} {
			t.Run(fmt.Sprintf("%s, MaxResponse %d", name, maxResponse), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store := leased{memory()}
					h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
						finishing(store, recorded, func(w http.ResponseWriter, r *http.Request) {
							time.Sleep(time.Second)
							after(w, r)
						})(w, r)
					}}
					mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxResponse: maxResponse})(&h)

					var first reply
					go func() { first = call(mw, "k", "") }()
					synctest.Wait()
					duplicate := call(mw, "k", "")
					synctest.Wait()
					again := call(mw, "k", "")

					require.EqualValues(t, 1, h.runs.Load())
					if strings.HasPrefix(name, "the") {
						require.Equal(t, again.Status, first.Status)
						require.Equal(t, again.Body, first.Body)
					}
					require.Equal(t, http.StatusCreated, again.Status)
					require.Equal(t, "recorded", again.Body)
					require.Equal(t, "/1", again.Header.Get("Location"))
					require.True(t, again.replayed())
					require.NotEmpty(t, again.Header.Get("Original-Request"))
					require.Equal(t, first.Header.Get("Request-Id"), again.Header.Get("Original-Request"))
					if name == "a panic" {
						require.Equal(t, http.StatusServiceUnavailable, duplicate.Status)
						return
					}
					require.Equal(t, again.Status, duplicate.Status)
					require.Equal(t, again.Body, duplicate.Body)
				})
			})
		}
	}
}

func TestFinishWithThatIsRolledBackRecordsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		rolledBack := func(context.Context, idempotent.Owner, idempotent.Completion) error { return nil }
		require.NoError(t, idempotent.FinishWith(r.Context(), idempotent.Response{Status: http.StatusCreated}, rolledBack))
		w.WriteHeader(http.StatusConflict)
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	call(mw, "k", "")
	again := call(mw, "k", "")
	require.Equal(t, http.StatusConflict, again.Status)
	require.True(t, again.replayed())
}

func TestFinishWithReturnsErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		lost bool
	}{
		"the store fails":    {err: errDown},
		"the claim was lost": {err: idempotent.ErrLost, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mw := protected(nil, func(w http.ResponseWriter, r *http.Request) {
				fails := func(context.Context, idempotent.Owner, idempotent.Completion) error { return test.err }
				err := idempotent.FinishWith(r.Context(), idempotent.Response{Status: http.StatusCreated}, fails)
				require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
				if test.lost {
					require.ErrorIs(t, err, idempotent.ErrLeaseLost)
					require.ErrorIs(t, context.Cause(r.Context()), idempotent.ErrLeaseLost)
				} else {
					require.ErrorIs(t, err, test.err)
				}
				apierror.Write(w, r, err)
			})
			require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
		})
	}
}

func TestFinishWithRefusesAResponseThatIsNotKept(t *testing.T) {
	t.Parallel()
	mw := protected(nil, func(w http.ResponseWriter, r *http.Request) {
		finish := func(context.Context, idempotent.Owner, idempotent.Completion) error { t.Error("called"); return nil }
		err := idempotent.FinishWith(r.Context(), idempotent.Response{Status: http.StatusServiceUnavailable}, finish)
		require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(err))
		apierror.Write(w, r, err)
	})
	require.Equal(t, http.StatusInternalServerError, call(mw, "k", "").Status)
}

func TestFinishWithWithoutAKeyDoesNothing(t *testing.T) {
	t.Parallel()
	finish := func(context.Context, idempotent.Owner, idempotent.Completion) error { return errDown }
	require.NoError(t, idempotent.FinishWith(t.Context(), idempotent.Response{Status: http.StatusCreated}, finish))
}

// A renewal that finds the record finished must not stop the handler that has finished it.
func TestFinishWithDoesNotLoseTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := leased{memory()}
		mw := idempotent.New(store, idempotent.Global, nil)(finishing(store, idempotent.Response{Status: http.StatusCreated},
			func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Minute)
				require.NoError(t, r.Context().Err())
				w.WriteHeader(http.StatusCreated)
			}))
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
	})
}

// After a FinishWith that has failed, the record can only be lost, and a handler that goes on must
// learn that.
func TestLeaseCanBeLostAfterFinishWithHasFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := leased{memory()}
		mw := idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fails := func(ctx context.Context, o idempotent.Owner, _ idempotent.Completion) error {
				require.NoError(t, store.Finish(ctx, o, idempotent.Completion{State: idempotent.StateAbsent}))
				return errDown
			}
			require.Error(t, idempotent.FinishWith(r.Context(), idempotent.Response{Status: http.StatusCreated}, fails))
			time.Sleep(time.Minute)
			require.ErrorIs(t, context.Cause(r.Context()), idempotent.ErrLeaseLost)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
	})
}

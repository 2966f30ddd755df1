package idempotent_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// What a router answers by itself is no key's answer: no handler ran.

func TestKeyedRequestThatTheMuxRedirectsRunsOnce(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/orders", "/v1//orders/"} {
		var h counter
		mux := http.NewServeMux()
		mux.Handle("/orders/", &h)
		mux.Handle("/v1/orders/", &h)
		s := serve(t, mux, idempotent.New(memory(), idempotent.Global, nil))
		ask := func() reply {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+target, strings.NewReader("order"))
			require.NoError(t, err)
			req.Header.Set("Idempotency-Key", "k")
			return send(t, s, req) // the client follows the 307, with key and body
		}

		first, again := ask(), ask()

		require.Equal(t, http.StatusCreated, first.Status, target)
		require.Equal(t, "run 1: order", first.Body)
		require.True(t, again.replayed())
		require.Equal(t, first.Body, again.Body)
		require.EqualValues(t, 1, h.runs.Load())
	}
}

func TestKeyOfAnUnknownRouteIsNotUsed(t *testing.T) {
	t.Parallel()
	var h counter
	mux := http.NewServeMux()
	mux.Handle("GET /v1/resources", &h)
	s := serve(t, mux, idempotent.New(memory(), idempotent.Global, nil))
	require.Equal(t, http.StatusMethodNotAllowed, post(t, s, "k", "").Status)

	mux.Handle("POST /v1/resources", &h) // the route is deployed

	require.Equal(t, http.StatusCreated, post(t, s, "k", "").Status)
	require.True(t, post(t, s, "k", "").replayed())
	require.EqualValues(t, 1, h.runs.Load())
}

// Runs that must end.

func TestStreamEndsWhenItsClientLeaves(t *testing.T) {
	t.Parallel()
	for protocol, start := range map[string]func(http.Handler) *memhttp.Server{"HTTP/1.1": memhttp.New, "HTTP/2": memhttp.NewHTTP2} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				told := make(chan error, 1)
				h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					idempotent.Stream(r.Context())
					_, _ = io.WriteString(w, "data: 1\n")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					told <- context.Cause(r.Context())
				}}
				s := start(idempotent.New(memory(), idempotent.Global, nil)(&h))
				defer s.Close()
				ctx, leave := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, nil)
				require.NoError(t, err)
				req.Header.Set("Idempotency-Key", "k")
				begun := time.Now()

				resp, err := s.Client().Do(req)
				require.NoError(t, err)
				line, err := bufio.NewReader(resp.Body).ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "data: 1\n", line)
				leave()
				_ = resp.Body.Close()

				require.ErrorIs(t, <-told, context.Canceled)
				require.Less(t, time.Since(begun), time.Second, "it is told now, not after MaxRun")
				synctest.Wait()
			})
		})
	}
}

func TestKeyedHandlerIsToldThatTheServerEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shutdown := errors.New("the server shuts down")
		base, end := context.WithCancelCause(t.Context())
		var told error
		h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				<-r.Context().Done()
				told = context.Cause(r.Context())
			}
		}}
		s := memhttp.NewConfigured(idempotent.New(memory(), idempotent.Global, nil)(&h), func(s *http.Server) {
			s.BaseContext = func(net.Listener) context.Context { return base }
		})
		defer s.Close()
		time.AfterFunc(time.Second, func() { end(shutdown) })
		begun := time.Now()

		first := post(t, s, "k", "")

		require.ErrorIs(t, told, shutdown)
		require.Equal(t, time.Second, time.Since(begun))
		require.Equal(t, http.StatusServiceUnavailable, first.Status, "the client is told to come again")
		require.NotEmpty(t, first.Header.Get("Retry-After"))
		require.False(t, post(t, s, "k", "").replayed(), "the key is free")
		require.EqualValues(t, 2, h.runs.Load())
	})
}

func TestEveryRunEnds(t *testing.T) {
	t.Parallel()
	for name, effect := range map[string]bool{"released": false, "unknown after its effect": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var cause, err error
				var took time.Duration
				begun := time.Now()
				var h counter
				h.serve = func(n int64, w http.ResponseWriter, r *http.Request) {
					if n > 1 {
						return
					}
					apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
						if effect {
							require.NoError(t, idempotent.BeginEffect(r.Context()))
						}
						<-r.Context().Done()
						cause, err, took = context.Cause(r.Context()), r.Context().Err(), time.Since(begun)
						return err
					}).ServeHTTP(w, r)
				}
				m := idempotent.NewMemory(nil)
				var events seen
				s := serve(t, &h, idempotent.New(m, idempotent.Global, &idempotent.Options{Observe: events.observe}))
				ctx, leave := context.WithTimeout(t.Context(), time.Second)
				defer leave()
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/resources", nil)
				req.Header.Set("Idempotency-Key", "k")
				_, gone := s.Client().Do(req)
				require.Error(t, gone)
				time.Sleep(6 * time.Minute)
				synctest.Wait()

				require.Zero(t, m.Running())
				require.Equal(t, 5*time.Minute, took)
				require.ErrorIs(t, cause, idempotent.ErrMaxRun)
				require.ErrorIs(t, cause, context.DeadlineExceeded)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, http.StatusGatewayTimeout, events.events[0].Status)
				again := post(t, s, "k", "")
				if effect {
					require.Equal(t, http.StatusConflict, again.Status)
					require.Contains(t, again.Body, "idempotency_outcome_unknown")
				} else {
					require.Equal(t, http.StatusOK, again.Status)
					require.False(t, again.replayed())
				}
			})
		})
	}
}

// A handler that is silent when its time is over has not succeeded.
func TestSilenceAfterMaxRunIsATimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxRun: time.Minute}))
		begun := time.Now()

		r := post(t, s, "k", "")

		require.Equal(t, http.StatusGatewayTimeout, r.Status)
		require.Contains(t, r.Body, `"code":"timeout"`)
		require.Equal(t, time.Minute, time.Since(begun))
	})
}

func TestLongPollsOfClientsThatHungUpEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int64
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Add(-1)
			<-r.Context().Done()
		}}
		m := idempotent.NewMemory(nil)
		s := serve(t, &h, idempotent.New(m, idempotent.Global, nil))
		ctx, hangUp := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range 100 {
			clients.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, nil)
				req.Header.Set("Idempotency-Key", fmt.Sprint(i))
				_, err := s.Client().Do(req)
				require.Error(t, err)
			})
		}
		synctest.Wait()
		hangUp()
		clients.Wait()
		time.Sleep(5*time.Minute - time.Nanosecond)
		require.EqualValues(t, 100, running.Load())

		time.Sleep(time.Second)
		synctest.Wait()

		require.Zero(t, running.Load())
		require.Zero(t, m.Running())
	})
}

func TestLeaseIsNotRenewedAfterMaxRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var last time.Duration
		store := &faulty{Store: memory(), renew: func(next func() error) error {
			last = time.Since(begun)
			return next()
		}}
		deaf := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(20 * time.Minute)
			_, _ = io.WriteString(w, "from the deaf one")
		})
		successor := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "from the successor") })
		a := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxRun: time.Minute})(deaf)
		b := idempotent.New(store.Store, idempotent.Global, nil)(successor)
		var first reply
		var wg sync.WaitGroup
		wg.Go(func() { first = call(a, "k", "") })
		time.Sleep(85 * time.Second)

		second := call(b, "k", "") // waits for the end of the lease

		require.Equal(t, "from the successor", second.Body)
		require.Equal(t, 90*time.Second, time.Since(begun).Round(10*time.Second))
		wg.Wait()
		require.Less(t, last, time.Minute+time.Second)
		require.Greater(t, last, 30*time.Second)
		require.Equal(t, "from the successor", first.Body)
	})
}

func TestWaitEndsBeforeTheServerCuts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		h.serve = func(int64, http.ResponseWriter, *http.Request) { time.Sleep(8 * time.Second) }
		store := memory()
		elsewhere := idempotent.New(store, idempotent.Global, nil)(&h)
		s := memhttp.NewConfigured(idempotent.New(store, idempotent.Global, nil)(&h), func(s *http.Server) { s.WriteTimeout = 5 * time.Second })
		defer s.Close()
		var wg sync.WaitGroup
		wg.Go(func() { call(elsewhere, "k", "") })
		synctest.Wait()
		begun := time.Now()
		for range 3 { // one polls, two follow it
			wg.Go(func() {
				r := post(t, s, "k", "")
				require.Equal(t, http.StatusTooManyRequests, r.Status)
				require.Contains(t, r.Body, "idempotency_in_progress")
				require.Less(t, time.Since(begun), 5*time.Second)
				require.Greater(t, time.Since(begun), 4*time.Second)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
	})
}

// A call of the store that takes its time, while the handler returns, holds nothing up.
func TestSlowStoreDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	slowly := func(next func() error) error {
		time.Sleep(10 * time.Millisecond)
		return next()
	}
	for name, handle := range map[string]func(begin func()){
		"Renew":       func(func()) { time.Sleep(10*time.Second + 5*time.Millisecond) },
		"BeginEffect": func(begin func()) { begin(); time.Sleep(5 * time.Millisecond) },
		"BeginEffect, of a handler that panics": func(begin func()) {
			begin()
			time.Sleep(5 * time.Millisecond)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var late sync.WaitGroup
				begun := make(chan error, 1)
				h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
					if n == 1 {
						handle(func() { late.Go(func() { begun <- idempotent.BeginEffect(r.Context()) }) })
					}
					_, _ = io.WriteString(w, "done")
				}}
				m := idempotent.NewMemory(nil)
				mw := idempotent.New(&faulty{Store: m, renew: slowly, mark: slowly}, idempotent.Global, nil)(&h)
				start := time.Now()

				first := call(mw, "k", "")

				require.Less(t, time.Since(start), 10*time.Second+20*time.Millisecond)
				late.Wait()
				require.Zero(t, m.Running())
				if !strings.Contains(name, "panics") {
					require.Equal(t, "done", first.Body)
					require.True(t, call(mw, "k", "").replayed())
					return
				}
				require.Error(t, <-begun, "it came after the end, so the effect must not begin")
				require.Equal(t, "done", call(mw, "k", "").Body, "and nothing keeps a retry from it")
			})
		})
	}
}

// Requests that a keyed route cannot take, and those whose key does not count.

func TestFormThatAnOuterLayerHasParsed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ask   func(*http.Request)
		parse func(*http.Request)
		err   string // empty if nothing was taken from the body
	}{
		"ParseForm":          {sendForm, func(r *http.Request) { _ = r.ParseForm() }, "parsed the request's form"},
		"PostFormValue":      {sendForm, func(r *http.Request) { _ = r.PostFormValue("csrf") }, "parsed the request's form"},
		"ParseMultipartForm": {uploadForm, func(r *http.Request) { _ = r.ParseMultipartForm(1) }, "parsed the request's form"},
		"FormValue":          {uploadForm, func(r *http.Request) { _ = r.FormValue("csrf") }, "parsed the request's form"},
		"unknown length": {
			func(r *http.Request) { sendForm(r); r.ContentLength = -1 },
			func(r *http.Request) { _ = r.PostFormValue("csrf") }, "parsed the request's form",
		},
		"the body is read": {sendForm, func(r *http.Request) { _, _ = io.ReadAll(r.Body) }, "read the request body"},
		"the query":        {sendForm, func(r *http.Request) { _ = r.URL.Query().Get("csrf") }, ""},
		"another type": {
			func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
			func(r *http.Request) { _ = r.PostFormValue("csrf") }, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h counter
			var events seen
			keyed := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe})
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tt.parse(r)
				keyed(&h).ServeHTTP(w, r)
			}))
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("body"))
			tt.ask(req)
			req.Header.Set("Idempotency-Key", "k")

			r := send(t, s, req)

			if tt.err == "" {
				require.Equal(t, http.StatusCreated, r.Status)
				return
			}
			require.Equal(t, http.StatusInternalServerError, r.Status)
			require.Contains(t, r.Body, `"code":"api_error"`)
			require.NotContains(t, r.Body, "layer", "a client is not told")
			require.Equal(t, []idempotent.Outcome{idempotent.OutcomeRefused}, events.results())
			require.ErrorContains(t, events.events[0].Err, tt.err)
			require.Zero(t, h.runs.Load())
		})
	}
}

func TestScopeWithoutAPrincipalIsAMistake(t *testing.T) {
	t.Parallel()
	var h counter
	var events seen
	nobody := func(*http.Request) (string, error) { return "", nil }
	mw := idempotent.New(memory(), nobody, &idempotent.Options{Observe: events.observe})(&h)

	r := call(mw, "k", "")

	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.NotContains(t, r.Body, "principal")
	require.ErrorContains(t, events.events[0].Err, "the principal of a key is empty")
	require.Zero(t, h.runs.Load())
}

func TestIgnoredKey(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		require.Zero(t, idempotent.Attempt(r.Context()))
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}}
	ignore := func(*http.Request) (string, error) { return "", fmt.Errorf("log-in form: %w", idempotent.ErrIgnoreKey) }
	var events seen
	s := serve(t, &h, idempotent.New(memory(), ignore, &idempotent.Options{Observe: events.observe}))
	for range 2 {
		r := post(t, s, "k", "hello")
		require.Equal(t, "hello", r.Body)
		require.False(t, r.replayed())
	}
	require.Equal(t, "hello", post(t, s, "not\ta key", "hello").Body, "nor is it looked at")
	require.EqualValues(t, 3, h.runs.Load())
	require.Empty(t, events.results(), "it is no keyed call")

	required := call(idempotent.New(memory(), ignore, &idempotent.Options{Required: true})(&h), "k", "")
	require.Equal(t, http.StatusBadRequest, required.Status)
	require.Contains(t, required.Body, `"code":"parameter_missing"`)
}

// Without a chain around it, a response with a key has a request id, for Original-Request.
func TestAKeyBringsARequestID(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))
	require.Empty(t, post(t, s, "", "").Header.Get("Request-Id"))
	require.NotEmpty(t, post(t, s, "k", "").Header.Get("Request-Id"))
}

// The log is the default one at the time of a record. This test changes it, so it does not run
// beside others.
//
//nolint:paralleltest // see above
func TestLogGoesToTheDefaultOfTheMoment(t *testing.T) {
	var h counter
	down := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
		return idempotent.Decision{}, errDown
	}}
	unprotected := idempotent.New(down, idempotent.Global, &idempotent.Options{OnFailure: idempotent.FailOpen, StoreTimeout: time.Millisecond})(&h)
	nobody := idempotent.New(memory(), func(*http.Request) (string, error) { return "", nil }, nil)(&h)
	parsing := idempotent.New(memory(), idempotent.Global, nil)(&h)
	was := slog.Default()
	defer slog.SetDefault(was)
	var out bytes.Buffer

	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))

	call(unprotected, "k", "")
	require.Contains(t, out.String(), "a call runs without protection")
	call(nobody, "k", "")
	require.Contains(t, out.String(), "the principal of a key is empty")
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("csrf=token"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Idempotency-Key", "k")
	_ = r.PostFormValue("csrf")
	parsing.ServeHTTP(httptest.NewRecorder(), r)
	require.Contains(t, out.String(), "level=ERROR")
	require.Contains(t, out.String(), "an outer layer has parsed the request's form")
}

// What the store has no room for, and what a caller may not see.

func TestEventsTellWhatTheStoreHasNoRoomFor(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) }}
	var events seen
	o := &idempotent.Options{Observe: events.observe}

	small := idempotent.New(idempotent.NewMemory(&idempotent.MemoryOptions{MaxBytes: 1300}), idempotent.Global, o)(&h)
	require.Len(t, call(small, "k", "").Body, 1000)
	require.Contains(t, call(small, "k", "").Body, "idempotency_response_unavailable")

	blocked := make(chan struct{})
	full := idempotent.NewMemory(&idempotent.MemoryOptions{MaxRecords: 1})
	running := make(chan struct{})
	hold := idempotent.New(full, idempotent.Global, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(running)
		<-blocked
	}))
	var wg sync.WaitGroup
	wg.Go(func() { call(hold, "holds-the-room", "") })
	<-running
	r := call(idempotent.New(full, idempotent.Global, o)(&h), "k", "")
	close(blocked)
	wg.Wait()
	require.Equal(t, http.StatusServiceUnavailable, r.Status)

	require.Equal(t, []idempotent.Outcome{
		idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable, idempotent.OutcomeStoreFull,
	}, events.results())
	require.ErrorIs(t, events.events[0].Err, idempotent.ErrFull)
	require.ErrorIs(t, events.events[2].Err, idempotent.ErrFull)
}

func TestAuthorizeHidesEveryKindOfRecord(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]struct {
		handle func(w http.ResponseWriter, r *http.Request)
		body   string // of the second request
		told   string // where Authorize allows it
	}{
		"done":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }, "body", "secret"},
		"conflict": {func(http.ResponseWriter, *http.Request) {}, "another body", "idempotency_conflict"},
		"running":  {func(_ http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute) }, "body", "idempotency_in_progress"},
		"unknown": {func(_ http.ResponseWriter, r *http.Request) {
			_ = idempotent.BeginEffect(r.Context())
			panic(http.ErrAbortHandler)
		}, "body", "idempotency_outcome_unknown"},
		"not kept": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/secret")
			idempotent.Stream(r.Context())
			_, _ = io.WriteString(w, "secret")
		}, "body", "idempotency_response_unavailable"},
		"failed while this one waited": {func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			w.WriteHeader(http.StatusBadGateway)
		}, "body", "service_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) { state.handle(w, r) }}
				refuse := true
				o := &idempotent.Options{Authorize: func(*http.Request) error {
					if refuse {
						return apierror.CodePermissionDenied.New()
					}
					return nil
				}}
				store := memory()
				same := idempotent.New(store, idempotent.Global, o)(&h)
				elsewhere := idempotent.New(store, idempotent.Global, o)(&h)
				var wg sync.WaitGroup
				wg.Go(func() { call(same, "k", "body") })
				synctest.Wait()

				for i, mw := range []http.Handler{same, elsewhere} {
					refuse = true
					if name == "failed while this one waited" && i == 1 {
						continue // there, the one before has freed the key
					}
					r := call(mw, "k", state.body)
					require.Equal(t, http.StatusForbidden, r.Status)
					require.Contains(t, r.Body, "permission_denied")
					require.NotContains(t, r.Body, state.told)
					require.Empty(t, r.Header.Get("Location"))
					require.Empty(t, r.Header.Get("Original-Request"))
					refuse = false
					if name != "failed while this one waited" {
						require.Contains(t, call(mw, "k", state.body).Body, state.told)
					}
				}
				wg.Wait()
				require.EqualValues(t, 1, h.runs.Load())
			})
		})
	}
}

// Errors that a framework answers.

// echoHandler is a handler of a framework that answers the error it returns, further out.
type echoHandler func(w http.ResponseWriter, r *http.Request) error

func TestErrorThatAFrameworkAnswersInsideIsRecorded(t *testing.T) {
	t.Parallel()
	runs := 0
	refuse := echoHandler(func(http.ResponseWriter, *http.Request) error {
		runs++
		return apierror.CodeResourceMissing
	})
	keyed := idempotent.New(memory(), idempotent.Global, nil)
	recipe := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keyed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := refuse(w, r); err != nil {
				apierror.Write(w, r, err) // c.Error(err)
			}
		})).ServeHTTP(w, r)
	})

	first, again := call(recipe, "k", ""), call(recipe, "k", "")

	require.Equal(t, http.StatusNotFound, first.Status)
	require.True(t, again.replayed())
	require.Equal(t, http.StatusNotFound, again.Status)
	require.Equal(t, first.Body, again.Body)
	require.Equal(t, 1, runs)
}

// Forget says that nothing was done.

func TestForgottenResponseIsSentAndNotKept(t *testing.T) {
	t.Parallel()
	for name, effect := range map[string]bool{"before an effect": false, "after BeginEffect": true} {
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
		var events seen
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe}))

		first, second, third := post(t, s, "k", ""), post(t, s, "k", ""), post(t, s, "k", "")

		require.Equal(t, http.StatusConflict, first.Status, name)
		require.Equal(t, "run 1", first.Body, "the response goes out")
		require.Equal(t, "run 2", second.Body, "a retry runs")
		require.False(t, second.replayed())
		require.Equal(t, "run 2", third.Body)
		require.True(t, third.replayed())
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeReleased, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed}, events.results())
	}
}

func TestForgottenResponseThatIsTooLargeIsSentAndNotKept(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		idempotent.Forget(r.Context())
		_, _ = io.WriteString(w, "0123456789")
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 5})(&h)
	for range 2 {
		require.Equal(t, "0123456789", call(mw, "k", "").Body)
	}
	require.EqualValues(t, 2, h.runs.Load())
}

func TestOmittedFieldsAreNotRecorded(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Trace-Id", "1")
		w.Header()["x-lower"] = []string{"1"}
		w.Header().Set("X-Kept", "1")
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{OmitFields: []string{"x-trace-ID", "X-Lower"}})(&h)

	first, again := call(mw, "k", ""), call(mw, "k", "")

	require.Equal(t, "1", first.Header.Get("X-Trace-Id"))
	require.True(t, again.replayed())
	require.NotContains(t, again.Header, "X-Trace-Id")
	require.NotContains(t, again.Header, "x-lower")
	require.Equal(t, "1", again.Header.Get("X-Kept"))
}

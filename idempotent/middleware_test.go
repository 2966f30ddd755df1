package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// reply is a response, read.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

func (r reply) replayed() bool { return r.Header.Get("Idempotent-Replayed") == "true" }

// post sends a write with a key; "" is none.
func post(t testing.TB, s *memhttp.Server, key, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/resources", strings.NewReader(body))
	require.NoError(t, err)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return send(t, s, req)
}

func send(t testing.TB, s *memhttp.Server, req *http.Request) reply {
	t.Helper()
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func serve(t testing.TB, h http.Handler, mw ...func(http.Handler) http.Handler) *memhttp.Server {
	t.Helper()
	for _, mw := range slices.Backward(mw) {
		h = mw(h)
	}
	s := memhttp.New(h)
	t.Cleanup(s.Close)
	return s
}

// counter is a handler that counts its runs.
type counter struct {
	runs  atomic.Int64
	serve func(n int64, w http.ResponseWriter, r *http.Request)
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.runs.Add(1)
	if c.serve != nil {
		c.serve(n, w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Location", fmt.Sprint("/v1/resources/", n))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "run %d: %s", n, body)
}

func memory() idempotent.Store { return idempotent.NewMemory(nil) }

func TestRepeatGetsTheFirstResponse(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	first := post(t, s, "k", "hello")
	again := post(t, s, "k", "hello")

	require.Equal(t, http.StatusCreated, first.Status)
	require.Equal(t, "run 1: hello", first.Body)
	require.False(t, first.replayed())
	require.Empty(t, first.Header.Get("Original-Request"))
	require.True(t, again.replayed())
	require.Equal(t, first.Body, again.Body)
	require.Equal(t, first.Status, again.Status)
	require.Equal(t, "/v1/resources/1", again.Header.Get("Location"))
	require.Equal(t, first.Header.Get("Request-Id"), again.Header.Get("Original-Request"))
	require.NotEqual(t, first.Header.Get("Request-Id"), again.Header.Get("Request-Id"))
	require.EqualValues(t, 1, h.runs.Load())
}

func TestAnotherRequestWithTheKeyConflictsAtOnce(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	post(t, s, "k", "hello")
	other := post(t, s, "k", "goodbye")

	require.Equal(t, http.StatusConflict, other.Status)
	require.Contains(t, other.Body, "idempotency_conflict")
	require.NotContains(t, other.Body, "hello")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestDuplicatesWaitAndGetOneAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			_, _ = fmt.Fprintf(w, "run %d", n)
		}}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

		const n = 100
		replies := make([]reply, n)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() { replies[i] = post(t, s, "k", "hello") })
		}
		wg.Wait()

		replays := 0
		for _, r := range replies {
			require.Equal(t, http.StatusOK, r.Status)
			require.Equal(t, "run 1", r.Body)
			if r.replayed() {
				replays++
			}
		}
		require.Equal(t, n-1, replays)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestBeginEffectMeansAtMostOnce(t *testing.T) {
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

func TestFailureFreesTheKey(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(w http.ResponseWriter){
		"500":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"401":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) },
		"403":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"408":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestTimeout) },
		"425":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooEarly) },
		"429":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) },
		"panic":  func(http.ResponseWriter) { panic("boom") },
		"abort":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"Goexit": func(http.ResponseWriter) { runtime.Goexit() },
		"short":  func(w http.ResponseWriter) { w.Header().Set("Content-Length", "9"); _, _ = io.WriteString(w, "cut") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					fail(w)
				}
			}}
			mw := idempotent.New(memory(), idempotent.Global, nil)(&h)

			call(mw, "k", "body")
			again := call(mw, "k", "body")

			require.Equal(t, http.StatusOK, again.Status)
			require.False(t, again.replayed())
			require.EqualValues(t, 2, h.runs.Load())
		})
	}
}

// call is one request without a server, which keeps what the handler panics with.
func call(h http.Handler, key, body string) reply {
	r := httptest.NewRequest(http.MethodPost, "/v1/resources", strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { // for Goexit
		defer close(done)
		defer func() { _ = recover() }()
		h.ServeHTTP(w, r)
	}()
	<-done
	return reply{w.Code, w.Header(), w.Body.String()}
}

func TestLargeResponseIsSentWholeAndSealed(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 3<<20)
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/v1/resources/1")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, strings.NewReader(body))
	}}
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	first := post(t, s, "k", "")
	again := post(t, s, "k", "")

	require.Equal(t, http.StatusCreated, first.Status)
	require.Len(t, first.Body, len(body))
	require.Equal(t, strconv.Itoa(len(body)), first.Header.Get("Content-Length"))
	require.Equal(t, "/v1/resources/1", first.Header.Get("Location"))
	require.Equal(t, http.StatusConflict, again.Status)
	require.Contains(t, again.Body, "idempotency_response_unavailable")
	require.Equal(t, "/v1/resources/1", again.Header.Get("Location"))
	require.EqualValues(t, 1, h.runs.Load())
}

func TestStreamGoesOutBeforeTheHandlerReturns(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		<-proceed
		_, _ = io.WriteString(w, "two")
	}}
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
	req.Header.Set("Idempotency-Key", "k")

	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	part := make([]byte, 3)
	_, err = io.ReadFull(resp.Body, part)
	require.NoError(t, err)
	close(proceed)
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)

	require.Equal(t, "one", string(part))
	require.Equal(t, "two", string(rest))
}

func TestStreamOutlivesItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			for range 10 {
				_, err := io.WriteString(w, "tick ")
				require.NoError(t, err)
				require.NoError(t, http.NewResponseController(w).Flush())
				time.Sleep(time.Minute)
			}
			require.NoError(t, r.Context().Err(), "what is recorded as not kept has no lease to lose")
			require.NoError(t, idempotent.BeginEffect(r.Context()), "nor is it run again")
		}}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxRun: -1}))
		first := post(t, s, "k", "")
		require.Equal(t, strings.Repeat("tick ", 10), first.Body)
		require.Equal(t, http.StatusConflict, post(t, s, "k", "").Status)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestStreamThatBreaksIsNotRunAgain(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	require.Equal(t, "half", call(mw, "k", "").Body)
	require.Contains(t, call(mw, "k", "").Body, "idempotency_response_unavailable")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestLargeFailureIsSentAndNotKept(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "0123456789")
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 5})(&h)
	for range 2 {
		require.Equal(t, "0123456789", call(mw, "k", "").Body)
	}
	require.EqualValues(t, 2, h.runs.Load())
}

func TestDuplicateGivesUpWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }}
		store := memory()
		a := serve(t, &h, idempotent.New(store, idempotent.Global, nil))
		b := serve(t, &h, idempotent.New(store, idempotent.Global, nil)) // as another process would
		var wg sync.WaitGroup
		wg.Go(func() { post(t, a, "k", "") })
		synctest.Wait()

		for _, s := range []*memhttp.Server{a, b} {
			start := time.Now()
			dup := post(t, s, "k", "")

			require.Equal(t, http.StatusTooManyRequests, dup.Status)
			require.Contains(t, dup.Body, "idempotency_in_progress")
			require.Contains(t, []string{"1", "2"}, dup.Header.Get("Retry-After"))
			require.InDelta(t, 10*time.Second, time.Since(start), float64(2*time.Second))
		}
		wg.Wait()
		require.True(t, post(t, a, "k", "").replayed())
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestWaitersOfAFailedLeaderDoNotRunInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(3 * time.Second)
			w.WriteHeader(http.StatusInternalServerError)
		}}
		store := memory()
		a := serve(t, &h, idempotent.New(store, idempotent.Global, nil))
		b := serve(t, &h, idempotent.New(store, idempotent.Global, nil))
		var wg sync.WaitGroup
		wg.Go(func() { require.Equal(t, http.StatusInternalServerError, post(t, a, "k", "").Status) })
		synctest.Wait()
		for i := range 40 {
			wg.Go(func() {
				r := post(t, []*memhttp.Server{a, b}[i%2], "k", "")
				require.Equal(t, http.StatusServiceUnavailable, r.Status)
				require.NotEmpty(t, r.Header.Get("Retry-After"))
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestLongHandlerKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * 30 * time.Second)
			require.NoError(t, r.Context().Err())
			_, _ = io.WriteString(w, "done")
		}}
		store := memory()
		a := serve(t, &h, idempotent.New(store, idempotent.Global, nil))
		b := serve(t, &h, idempotent.New(store, idempotent.Global, nil))
		var wg sync.WaitGroup
		wg.Go(func() { require.Equal(t, "done", post(t, a, "k", "").Body) })
		synctest.Wait()
		for h.runs.Load() == 1 {
			r := post(t, b, "k", "")
			if r.Status == http.StatusOK {
				require.True(t, r.replayed())
				break
			}
			time.Sleep(time.Second)
		}
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestClientGoneHandlerDoneRetryReplays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			require.NoError(t, r.Context().Err())
			_, _ = io.WriteString(w, "done")
		}}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/resources", strings.NewReader(""))
		req.Header.Set("Idempotency-Key", "k")
		_, err := s.Client().Do(req)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		again := post(t, s, "k", "")

		require.True(t, again.replayed())
		require.Equal(t, "done", again.Body)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

package idempotent_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// streams returns a handler that calls Stream and then f.
func streams(f func(w http.ResponseWriter, r *http.Request)) *counter {
	return &counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		f(w, r)
	}}
}

func TestStreamIsSentBeforeTheHandlerReturns(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	h := streams(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		<-proceed
		_, _ = io.WriteString(w, "two")
	})
	s := serve(t, h, idempotent.New(memory(), idempotent.Global, nil))
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
	for name, store := range map[string]idempotent.Store{"memory": memory(), "leases": leased{memory()}} {
		runBubble(t, name, func(t *testing.T) {
			h := streams(func(w http.ResponseWriter, r *http.Request) {
				for range 10 {
					_, err := io.WriteString(w, "tick ")
					require.NoError(t, err)
					require.NoError(t, http.NewResponseController(w).Flush())
					time.Sleep(time.Minute)
				}
				require.NoError(t, r.Context().Err(), "the record is finished, so no lease can be lost")
				require.NoError(t, idempotent.BeginEffect(r.Context()), "and nothing runs again")
			})
			s := serve(t, h, idempotent.New(store, idempotent.Global, &idempotent.Options{MaxRun: -1}))
			first := post(t, s, "k", "")
			require.Equal(t, strings.Repeat("tick ", 10), first.Body)
			require.Equal(t, http.StatusConflict, post(t, s, "k", "").Status)
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

func TestStreamIsRecordedOnce(t *testing.T) {
	t.Parallel()
	store := &recorder{Store: memory()}
	h := streams(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a stream") })
	call(idempotent.New(store, idempotent.Global, nil)(h), "k", "")
	require.Equal(t, []string{"Acquire", "Finish not_kept"}, store.calls)
}

func TestFailedStreamIsNotRunAgain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w http.ResponseWriter, r *http.Request){
		"panic":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"Forget": func(_ http.ResponseWriter, r *http.Request) { idempotent.Forget(r.Context()) },
		"Rewind": func(w http.ResponseWriter, _ *http.Request) {
			require.False(t, w.(interface{ Rewind() bool }).Rewind(), "a part was sent")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			h := streams(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "a part")
				end(w, r)
			})
			mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe})(h)
			require.Equal(t, "a part", call(mw, "k", "").Body)
			require.Contains(t, call(mw, "k", "").Body, "idempotency_response_unavailable")
			require.EqualValues(t, 1, h.runs.Load())
			events.require(t, idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable)
		})
	}
}

func TestShortStreamGetsNoError(t *testing.T) {
	t.Parallel()
	h := streams(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hell")
	})
	require.Equal(t, "hell", call(idempotent.New(memory(), idempotent.Global, nil)(h), "k", "").Body)
}

func TestStreamFlushReturnsItsError(t *testing.T) {
	t.Parallel()
	h := streams(func(w http.ResponseWriter, _ *http.Request) {
		require.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
	})
	mw := idempotent.New(memory(), idempotent.Global, nil)(h)
	call(wrapWriter(mw, func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }), "k", "")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestStreamEndsWhenItsClientDisconnects(t *testing.T) {
	t.Parallel()
	for protocol, start := range map[string]func(http.Handler) *memhttp.Server{"HTTP/1.1": memhttp.New, "HTTP/2": memhttp.NewHTTP2} {
		runBubble(t, protocol, func(t *testing.T) {
			cause := make(chan error, 1)
			s := start(idempotent.New(memory(), idempotent.Global, nil)(streams(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "data: 1\n")
				_ = http.NewResponseController(w).Flush()
				<-w.(interface{ CloseNotify() <-chan bool }).CloseNotify() // as gin's Context.Stream does
				cause <- context.Cause(r.Context())
			})))
			defer s.Close()
			ctx, disconnect := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, nil)
			require.NoError(t, err)
			req.Header.Set("Idempotency-Key", "k")
			begun := time.Now()

			resp, err := s.Client().Do(req)
			require.NoError(t, err)
			line, err := bufio.NewReader(resp.Body).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "data: 1\n", line)
			disconnect()
			_ = resp.Body.Close()

			require.ErrorIs(t, <-cause, context.Canceled)
			require.Less(t, time.Since(begun), time.Second, "long before MaxRun")
			synctest.Wait()
		})
	}
}

func TestStreamAfterADisconnectCancelsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, disconnect := context.WithCancel(t.Context())
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
			disconnect()
			time.Sleep(time.Second)
			require.NoError(t, r.Context().Err(), "the run goes on, so that a retry finds its answer")
			idempotent.Stream(r.Context())
			require.ErrorIs(t, r.Context().Err(), context.Canceled)
		}}
		callWith(ctx, idempotent.New(memory(), idempotent.Global, nil)(&h), "k")
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestStreamInAnExecutorOutlivesItsClient(t *testing.T) {
	t.Parallel()
	_, store := newExecutor()
	ctx, disconnect := context.WithCancel(t.Context())
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		disconnect()
		idempotent.Stream(r.Context())
		require.NoError(t, r.Context().Err())
	}}
	callWith(ctx, idempotent.New(store, idempotent.Global, nil)(&h), "k")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestStreamOfALostClaimIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finished := 0
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if finished++; finished == 1 {
				return idempotent.ErrLost
			}
			return next()
		}}
		h := streams(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/v1/resources/1")
			w.WriteHeader(http.StatusCreated)
			_, err := io.WriteString(w, "created")
			require.ErrorIs(t, err, idempotent.ErrLeaseLost)
			require.ErrorIs(t, context.Cause(r.Context()), idempotent.ErrLeaseLost)
			require.ErrorIs(t, idempotent.BeginEffect(r.Context()), idempotent.ErrLeaseLost)
		})
		mw := idempotent.New(store, idempotent.Global, nil)(h)
		for range 2 {
			r := call(mw, "k", "")
			require.Equal(t, http.StatusConflict, r.Status)
			require.Contains(t, r.Body, "idempotency_response_unavailable")
		}
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestStreamIsSentWhileItCannotBeRecorded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		later    func(next func() error) error // Finish after the first five seconds
		log      string
		outcomes []idempotent.Outcome
	}{
		"it is recorded later": {
			later:    func(next func() error) error { return next() },
			log:      "sent before it could be recorded",
			outcomes: []idempotent.Outcome{idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable},
		},
		"its claim is lost later": {
			later:    failWith(idempotent.ErrLost),
			log:      "a claim was lost during the run",
			outcomes: []idempotent.Outcome{idempotent.OutcomeUnrecorded},
		},
	} {
		runBubble(t, name, func(t *testing.T) {
			var log logBuffer
			var events eventLog
			start := time.Now()
			store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
				if time.Since(start) < 5*time.Second {
					return errDown
				}
				return test.later(next)
			}}
			h := streams(func(w http.ResponseWriter, _ *http.Request) {
				_, err := io.WriteString(w, "a stream")
				require.NoError(t, err)
				time.Sleep(10 * time.Second)
			})
			mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe, Logger: log.logger()})(h)

			require.Equal(t, "a stream", call(mw, "k", "").Body)
			require.Less(t, time.Since(start), 15*time.Second, "no other answer is awaited")
			require.Contains(t, log.String(), test.log)
			if len(test.outcomes) > 1 {
				require.Contains(t, call(mw, "k", "").Body, "idempotency_response_unavailable")
			}
			require.EqualValues(t, 1, h.runs.Load())
			events.require(t, test.outcomes...)
		})
	}
}

func TestSlowFinishOfAStreamIsNoLostLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finished := 0
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			err := next()
			if finished++; finished == 1 { // the reply is lost, which is noticed late
				time.Sleep(900 * time.Millisecond)
				return errDown
			}
			return err
		}}
		h := streams(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(500 * time.Millisecond)
			_, _ = io.WriteString(w, "a")
			time.Sleep(time.Second)
			require.NoError(t, context.Cause(r.Context()))
		})
		call(idempotent.New(store, idempotent.Global, &idempotent.Options{Lease: 3 * time.Second})(h), "k", "")
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestLostStreamIsReplacedByTheReplay(t *testing.T) {
	t.Parallel()
	for name, returns := range map[string]bool{"returns the error of Write": true, "returns nil": false} {
		runBubble(t, name, func(t *testing.T) {
			h := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				if idempotent.Attempt(r.Context()) == 1 {
					idempotent.Stream(r.Context())
					time.Sleep(2 * time.Minute)
				}
				if _, err := io.WriteString(w, "hello"); returns {
					return err
				}
				return nil
			})
			lost := loseLease(t, h, nil)
			require.True(t, lost.replayed())
			require.Equal(t, "hello", lost.Body)
		})
	}
}

// A failure that is too long to be held back is sent as it is written. When its claim turns out
// to be lost, no replay may follow it.
func TestSentResponseIsNotFollowedByAReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		large := strings.Repeat("x", 2<<20)
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				time.Sleep(time.Minute)
				w.WriteHeader(http.StatusBadGateway)
				_, _ = io.WriteString(w, large)
				return
			}
			_, _ = io.WriteString(w, "from the successor")
		}}
		store := cutOff(memory())
		var events eventLog
		a := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)
		b := idempotent.New(store, idempotent.Global, nil)(&h)
		var first reply
		var wg sync.WaitGroup
		wg.Go(func() { first = call(a, "k", "") })
		time.Sleep(40 * time.Second)
		second := call(b, "k", "")
		time.Sleep(15 * time.Second)
		waiter := call(a, "k", "") // waits for the first, and then asks the store
		wg.Wait()

		require.Equal(t, http.StatusBadGateway, first.Status)
		require.Len(t, first.Body, len(large))
		require.Equal(t, "from the successor", second.Body)
		require.Equal(t, "from the successor", waiter.Body)
		require.ElementsMatch(t, []idempotent.Outcome{idempotent.OutcomeUnrecorded, idempotent.OutcomeReplayed}, events.outcomes())
	})
}

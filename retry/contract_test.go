package retry_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// What http.RoundTripper and net/http's own tests ask of a transport.

// post makes a POST whose body counts how often it is closed. With getBody, so do those of the
// other attempts.
func post(t testing.TB, content string, getBody bool) (*http.Request, func() []*body) {
	req := request(t, "POST", target, nil)
	bodies := []*body{newBody(content)}
	req.Body, req.ContentLength = bodies[0], int64(len(content))
	if getBody {
		req.GetBody = func() (io.ReadCloser, error) {
			bodies = append(bodies, newBody(content))
			return bodies[len(bodies)-1], nil
		}
	}
	return req, func() []*body { return bodies }
}

func TestTheLastWithPolicyOfAContextCounts(t *testing.T) {
	t.Parallel()
	s := scripted(status(503))
	ctx := retry.WithPolicy(t.Context(), &retry.Policy{MaxAttempts: 1})
	ctx = retry.WithPolicy(ctx, &retry.Policy{MaxAttempts: 2, BaseDelay: time.Nanosecond})
	resp, err := transport(s).RoundTrip(request(t, http.MethodGet, "http://a.example/", nil).WithContext(ctx))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 2, s.count())
}

func TestEveryBodyIsClosedExactlyOnce(t *testing.T) {
	t.Parallel()
	closesTwice := baseFunc(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		r.Body.Close()
		return answer(503, ""), nil
	})
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, tc := range map[string]struct {
		tr      *retry.Transport
		ctx     func(context.Context) context.Context
		readers int
	}{
		"success":             {tr: transport(scripted(status(200))), readers: 1},
		"retried status":      {tr: transport(scripted(status(503), status(500), status(200))), readers: 3},
		"attempts run out":    {tr: transport(scripted(status(503))), readers: 3},
		"transport error":     {tr: transport(scripted(fails(errBroken))), readers: 3},
		"dial refused":        {tr: transport(scripted(fails(refused), status(200))), readers: 2},
		"closed twice":        {tr: transport(closesTwice), readers: 3},
		"cancelled before":    {tr: transport(scripted(status(200))), ctx: cancelled, readers: 1},
		"cancelled in a wait": {tr: transport(scripted(status(503, "Retry-After: 9"))), ctx: cancelledIn(time.Second), readers: 2},
		"pace refused": {
			tr:      &retry.Transport{Base: scripted(status(200)), Pace: rate.NewLimiter(1, 0), Logger: quiet()},
			readers: 1,
		},
		"recorded": {
			tr:      &retry.Transport{Base: scripted(status(503)), Policy: &retry.Policy{RecordBody: 100}, Logger: quiet()},
			readers: -1,
		},
		"recorded, cancelled in a wait": {
			tr:      &retry.Transport{Base: scripted(status(503, "Retry-After: 9")), Policy: &retry.Policy{RecordBody: 100}, Logger: quiet()},
			ctx:     cancelledIn(time.Second),
			readers: -1,
		},
		"recorded, over the limit": {
			tr:      &retry.Transport{Base: scripted(status(503)), Policy: &retry.Policy{RecordBody: 3}, Logger: quiet()},
			readers: -1,
		},
		"recorded, cancelled before": {
			tr:      &retry.Transport{Base: scripted(status(200)), Policy: &retry.Policy{RecordBody: 3}, Logger: quiet()},
			ctx:     cancelled,
			readers: -1,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			req, bodies := post(t, "payload", tc.readers > 0)
			if tc.ctx != nil {
				req = req.WithContext(tc.ctx(t.Context()))
			}

			resp, err := tc.tr.RoundTrip(req)

			require.NotEqual(t, resp == nil, err == nil, "%s: one of both", name)
			if resp != nil {
				resp.Body.Close()
			}
			for i, b := range bodies() {
				require.Equal(t, 1, b.closed(), "%s: reader %d", name, i)
			}
			require.Len(t, bodies(), max(tc.readers, 1), name)
		})
	}
}

func cancelled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

func cancelledIn(d time.Duration) func(context.Context) context.Context {
	return func(ctx context.Context) context.Context {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(d, cancel)
		return ctx
	}
}

func TestAnOpenCircuitClosesTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Policy = once()
		for range 20 {
			_ = do(t, tr, target)
		}
		req, bodies := post(t, "payload", false)

		_, err := tr.RoundTrip(req)

		require.ErrorIs(t, err, retry.ErrCircuitOpen)
		require.Equal(t, 1, bodies()[0].closed())
	})
}

func TestABaseThatBreaksItsContractIsHeldToIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		both := answer(200, "")
		for name, base := range map[string]baseFunc{
			"neither": func(*http.Request) (*http.Response, error) { return nil, nil },
			"both":    func(*http.Request) (*http.Response, error) { return both, errBroken },
		} {
			tr := transport(base)
			tr.Policy = once()
			resp, err := tr.RoundTrip(request(t, "GET", target, nil))
			require.Nil(t, resp, name)
			require.Error(t, err, name)
		}
		require.Equal(t, 1, both.Body.(*body).closed())

		resp, err := transport(baseFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503}, nil
		})).RoundTrip(request(t, "GET", target, nil))
		require.NoError(t, err)
		require.NotNil(t, resp.Body)
	})
}

func TestAPanicLeaksNothing(t *testing.T) {
	t.Parallel()
	boom := func(retry.Failure) bool { panic("hook") }
	for name, tr := range map[string]*retry.Transport{
		"base":      {Base: baseFunc(func(*http.Request) (*http.Response, error) { panic("base") })},
		"retryable": {Base: scripted(status(503)), Policy: &retry.Policy{Retryable: boom}, Logger: quiet()},
		"observe":   {Base: scripted(status(503)), Observe: func(context.Context, retry.Event) { panic("hook") }, Logger: quiet()},
		"observe of the call": {
			Base: scripted(status(200)), Logger: quiet(),
			Observe: func(_ context.Context, e retry.Event) {
				if e.Kind == retry.KindCall {
					panic("hook")
				}
			},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			require.Panics(t, func() {
				_, _ = tr.RoundTrip(request(t, "GET", target, nil))
			}, name)
			if s, ok := tr.Base.(*script); ok {
				require.Equal(t, 1, s.given[0].closed(), name)
			}
		})
	}
}

func TestABaseThatDoesNotReturnLeavesNoBodyOpen(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(){"panic": func() { panic("base") }, "Goexit": runtime.Goexit} {
		for _, record := range []int64{0, 100} {
			tr := transport(baseFunc(func(*http.Request) (*http.Response, error) { leave(); return nil, nil }))
			tr.Policy = &retry.Policy{RecordBody: record}
			req, bodies := post(t, "payload", false)
			var call sync.WaitGroup
			call.Go(func() {
				defer func() { _ = recover() }()
				_, _ = tr.RoundTrip(req)
			})
			call.Wait()
			require.Equal(t, 1, bodies()[0].closed(), "%s, recording %d", name, record)
		}
	}
}

func TestAnInterruptedRepetitionStillTellsWhatFailedBefore(t *testing.T) {
	t.Parallel()
	why := errors.New("shutting down")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := transport(scripted(fails(errBroken), func(r *http.Request) (*http.Response, error) {
			cancel(why)
			return nil, r.Context().Err()
		})).RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, errBroken)
	})
}

func TestACallThatWasCancelledAfterATimeoutIsNoTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		tr.Policy = &retry.Policy{AttemptTimeout: time.Second, BaseDelay: 10_000 * time.Hour, MaxDelay: -1}

		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(cancelledIn(3 * time.Second)(t.Context())))

		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, retry.ReasonCanceled, failed.Reason)
		require.False(t, failed.Timeout())
	})
}

func TestAReadPassesThroughUncopied(t *testing.T) {
	t.Parallel()
	base := scripted(status(200))
	req := request(t, "GET", target, nil)

	resp, err := transport(base).RoundTrip(req)

	require.NoError(t, err)
	require.Same(t, req, base.requests[0])
	resp.Body.Close()
}

func TestANilURLIsTheBasesToRefuse(t *testing.T) {
	t.Parallel()
	_, err := (&retry.Transport{}).RoundTrip(&http.Request{})
	require.EqualError(t, err, "http: nil Request.URL")
}

func TestARequestThatCannotBeSentIsNotRetriedNorTheHostsFault(t *testing.T) {
	t.Parallel()
	server(t, flaky(0), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		bad := []func(*http.Request){
			func(r *http.Request) { r.Header.Set("X-Name", "two\nlines") },
			func(r *http.Request) { r.Header["Bad Name"] = []string{"x"} },
			func(r *http.Request) { r.Method = "BAD METHOD" },
			func(r *http.Request) { r.Header = nil },
			func(r *http.Request) { r.URL.Scheme = "gopher" },
			func(r *http.Request) { r.ContentLength = 5 },
			func(r *http.Request) {
				r.Method = "POST"
				*r = *r.WithContext(retry.WithIdempotencyKey(r.Context(), "two\nlines"))
			},
		}
		for i := range 60 {
			ctx, report := retry.WithReport(t.Context())
			req := request(t, "GET", s.URL, nil).WithContext(ctx)
			bad[i%len(bad)](req)

			_, err := tr.RoundTrip(req)

			require.Error(t, err)
			require.Equal(t, retry.ReasonInvalidRequest, report.Reason(), "%v", err)
			require.Len(t, report.Attempts(), 1)
		}
	})
}

// Only a request that goes out without a header is one that net/http refuses: a key makes one.
func TestAWriteWithoutAHeaderIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(fails(errors.New("connection reset")), status(200))
		req := request(t, "POST", target, nil)
		req.Header = nil
		resp, err := transport(base).RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Nil(t, req.Header)
		resp.Body.Close()
	})
}

// server runs a test against net/http's own server and transport, in a bubble.
func server(t *testing.T, h http.HandlerFunc, test func(t *testing.T, s *memhttp.Server, tr *retry.Transport)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := memhttp.New(h)
		defer s.Close()
		test(t, s, &retry.Transport{Base: s.Transport(), Logger: quiet()})
	})
}

func TestRedirectsAreTheClientsToFollow(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}
	server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		resp, err := tr.RoundTrip(request(t, "POST", s.URL, strings.NewReader("x")))
		require.NoError(t, err)
		require.Equal(t, 307, resp.StatusCode)
		resp.Body.Close()
	})
}

func TestAWriteKeepsItsKeyWhenTheClientFollowsARedirect(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		tr     func(*retry.Transport)
		own    string // the caller's key
		keys   int    // that differ; an empty one counts
	}{
		{name: "307", status: 307, keys: 1},
		{name: "308", status: 308, keys: 1},
		{name: "307, with an attempt timeout", status: 307, keys: 1, tr: func(tr *retry.Transport) {
			tr.Policy = &retry.Policy{AttemptTimeout: time.Minute}
		}},
		{name: "307, observed", status: 307, keys: 1, tr: func(tr *retry.Transport) {
			tr.Observe = func(context.Context, retry.Event) {}
		}},
		{name: "307, the caller's own", status: 307, own: "order-7", keys: 1},
		{name: "303, which becomes a GET", status: 303, keys: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var keys []string
			h := func(w http.ResponseWriter, r *http.Request) {
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				if n := len(keys); n <= 3 {
					http.Redirect(w, r, "/hop"+strconv.Itoa(n), tc.status)
				}
			}
			server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
				if tc.tr != nil {
					tc.tr(tr)
				}
				req := request(t, "POST", s.URL, strings.NewReader("x"))
				if tc.own != "" {
					req.Header.Set("Idempotency-Key", tc.own)
				}

				resp, err := (&http.Client{Transport: tr}).Do(req)

				require.NoError(t, err)
				resp.Body.Close()
				require.Len(t, keys, 4)
				require.NotEmpty(t, keys[0])
				slices.Sort(keys)
				require.Len(t, slices.Compact(keys), tc.keys)
			})
		})
	}
}

func TestAProtocolSwitchCanBeWrittenTo(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, line)
	}
	for name, policy := range map[string]*retry.Policy{"plain": nil, "with an attempt time-out": {AttemptTimeout: time.Second}} {
		server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			tr.Policy = policy
			req := request(t, "GET", s.URL, nil)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "echo")

			resp, err := tr.RoundTrip(req)

			require.NoError(t, err)
			require.Equal(t, 101, resp.StatusCode)
			conn, ok := resp.Body.(io.ReadWriteCloser)
			require.True(t, ok, name)
			time.Sleep(time.Minute) // longer than an attempt may take
			_, err = io.WriteString(conn, "hello\n")
			require.NoError(t, err)
			line, err := bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "hello\n", line)
			conn.Close()
		})
	}
}

func TestExpectContinueSendsNoBodyToARefusal(t *testing.T) {
	t.Parallel()
	var read int
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized) // without 100 Continue
			return
		}
		b, _ := io.ReadAll(r.Body)
		read = len(b)
	}
	server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		s.Transport().ExpectContinueTimeout = time.Hour
		for _, authorization := range []string{"", "Bearer x"} {
			req := request(t, "POST", s.URL, strings.NewReader("payload"))
			req.Header.Set("Expect", "100-continue")
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
			}
			resp, err := tr.RoundTrip(req)
			require.NoError(t, err)
			resp.Body.Close()
		}
		require.Equal(t, len("payload"), read)
	})
}

func TestCancellationInEveryPhase(t *testing.T) {
	t.Parallel()
	why := errors.New("shutting down")
	h := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/header":
			<-r.Context().Done()
		case "/body":
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/wait":
			w.Header().Set("Retry-After", "100")
			w.WriteHeader(429)
		}
	}
	for _, phase := range []string{"/header", "/body", "/wait"} {
		server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(3*time.Second, func() { cancel(why) })
			start := time.Now()

			resp, err := tr.RoundTrip(request(t, "GET", s.URL+phase, nil).WithContext(ctx))
			if phase == "/body" {
				require.NoError(t, err)
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}

			require.ErrorIs(t, err, why, phase)
			if phase != "/body" {
				require.ErrorIs(t, err, context.Canceled, phase)
			}
			require.Equal(t, 3*time.Second, time.Since(start), phase)
		})
	}
}

func TestAClientsTimeoutIsAnErrorThatSaysSo(t *testing.T) {
	t.Parallel()
	server(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		client := &http.Client{Transport: tr, Timeout: time.Second}

		_, err := client.Get(s.URL)

		timeout, ok := errors.AsType[net.Error](err)
		require.True(t, ok)
		require.True(t, timeout.Timeout())
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

package retry_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

func TestZeroTransportWorks(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &retry.Transport{}}
	require.NotNil(t, client)
	client.CloseIdleConnections()
}

func TestLastResponseIsReturnedWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503), status(502), status(500, "X-Last: yes"))
		req := request(t, "POST", target, nil)

		resp, err := transport(base).RoundTrip(req)

		require.NoError(t, err)
		require.Equal(t, 500, resp.StatusCode)
		require.Equal(t, "yes", resp.Header.Get("X-Last"))
		require.Equal(t, base.keys()[0], resp.Request.Header.Get("Idempotency-Key"), "the request that was sent")
		require.Same(t, req.URL, resp.Request.URL)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "body of Internal Server Error", string(got))
		require.NoError(t, resp.Body.Close())
		for i, b := range base.given {
			require.Equal(t, 1, b.closed(), "response %d", i)
		}
	})
}

func TestReadIsSentWithoutACopy(t *testing.T) {
	t.Parallel()
	base := scripted(status(200))
	req := request(t, "GET", target, nil)

	resp, err := transport(base).RoundTrip(req)

	require.NoError(t, err)
	require.Same(t, req, base.requests[0])
	resp.Body.Close()
}

func TestBaseRefusesARequestWithoutURL(t *testing.T) {
	t.Parallel()
	_, err := (&retry.Transport{}).RoundTrip(&http.Request{})
	require.EqualError(t, err, "http: nil Request.URL")
}

func TestBaseThatBreaksTheContractOfRoundTripper(t *testing.T) {
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

func TestResponseWithoutAStatusIsASuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(status(0)))
		for range 50 {
			require.NoError(t, do(t, tr, target))
			time.Sleep(20 * time.Millisecond)
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
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

func TestProtocolSwitchIsWritable(t *testing.T) {
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
	for name, policy := range map[string]*retry.Policy{"plain": nil, "with an attempt timeout": {AttemptTimeout: time.Second}} {
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
			time.Sleep(time.Minute) // longer than AttemptTimeout
			_, err = io.WriteString(conn, "hello\n")
			require.NoError(t, err)
			line, err := bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "hello\n", line)
			conn.Close()
		})
	}
}

func TestExpectContinueSendsNoBodyWhenRefused(t *testing.T) {
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

func TestPanicLeavesNoResponseOpen(t *testing.T) {
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

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Breaker = &retry.Breaker{FailureRatio: -1}
		tr.Policy = &retry.Policy{MaxAttempts: -1, Budget: &retry.Budget{Tokens: -1}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()

		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		e, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Len(t, e.Attempts, 100)
		require.Greater(t, e.Attempts[0].Number, 400)
		require.Equal(t, e.Attempts[0].Number+99, e.Attempts[99].Number)
	})
}

func TestTransportIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if n.Add(1)%20 == 0 {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(b)
	}
	server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		tr.Observe = func(context.Context, retry.Event) {}
		tr.Policy = &retry.Policy{HoldHost: true, AttemptTimeout: time.Minute, Budget: &retry.Budget{Tokens: 1000}}
		var calls sync.WaitGroup
		for i := range 32 {
			calls.Go(func() {
				for j := range 20 {
					want := fmt.Sprint(i, j)
					ctx, report := retry.WithReport(t.Context())
					resp, err := tr.RoundTrip(request(t, "POST", s.URL, strings.NewReader(want)).WithContext(ctx))
					if err != nil {
						t.Error(err, report.Attempts())
						return
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(got) != want {
						t.Errorf("got %q, %v, want %q", got, err, want)
					}
				}
			})
		}
		calls.Wait()
	})
}

// idler is a base that counts the calls of CloseIdleConnections.
type idler struct {
	baseFunc
	closes int
}

func (i *idler) CloseIdleConnections() { i.closes++ }

func TestCloseIdleConnectionsCallsBase(t *testing.T) {
	t.Parallel()
	base := new(idler)
	transport(base).CloseIdleConnections()
	require.Equal(t, 1, base.closes)
	transport(base.baseFunc).CloseIdleConnections() // has no such method
}

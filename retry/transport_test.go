package retry_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

const target = "https://api.example/v1/resources"

func TestWhichStatusesAreRetried(t *testing.T) {
	t.Parallel()
	retried := map[int]bool{429: true, 500: true, 502: true, 503: true, 504: true, 505: true, 507: true, 520: true, 599: true}
	for _, code := range []int{200, 201, 204, 206, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 418, 422, 423, 425, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 520, 599, 600, 700, 999} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(status(code))

			resp, err := transport(base).RoundTrip(request(t, "GET", target, nil))

			require.NoError(t, err)
			require.Equal(t, code, resp.StatusCode)
			want := 1
			if retried[code] {
				want = 3
			}
			require.Equal(t, want, base.count(), "status %d", code)
			resp.Body.Close()
		})
	}
}

func TestTheLastResponseComesBackWhole(t *testing.T) {
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

func TestATransportErrorOutlivesItsRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		base := scripted(fails(reset))
		req := request(t, "GET", "https://user:secret@api.example/v1?token=hush", nil)

		resp, err := transport(base).RoundTrip(req)

		require.Nil(t, resp)
		require.Equal(t, 3, base.count())
		require.ErrorIs(t, err, syscall.ECONNRESET)
		op, ok := errors.AsType[*net.OpError](err)
		require.True(t, ok)
		require.Same(t, reset, op)
		e, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, retry.ReasonAttemptsExhausted, e.Reason)
		require.Len(t, e.Attempts, 3)
		require.Equal(t, "retry: GET api.example: attempts-exhausted (attempt 3): read tcp: connection reset by peer", err.Error())
	})
}

func TestAnErrorIsOneLineWithoutSecrets(t *testing.T) {
	t.Parallel()
	inner := &url.Error{Op: "Get", URL: "https://user:secret@api.example/v1?token=hush", Err: errors.New("first\nsecond\u2028third https://user:secret@api.example/v1?token=hush")}
	req := request(t, "GET", "https://user:secret@api.example/v1?token=hush", nil)
	tr := transport(scripted(fails(inner)))
	tr.Policy = &retry.Policy{MaxAttempts: 1}

	_, err := tr.RoundTrip(req)
	require.ErrorIs(t, err, inner)
	elsewhere := &url.Error{Op: "Get", URL: "https://login.example/token?client=hush", Err: errBroken}
	tr.Base = scripted(fails(fmt.Errorf("signing: %w", elsewhere)))
	_, signing := tr.RoundTrip(req)

	require.NotContains(t, signing.Error(), "hush")
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "\u2028")
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), "hush")
}

func TestTheZeroTransportWorksInAnHTTPClient(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &retry.Transport{}}
	require.NotNil(t, client)
	client.CloseIdleConnections()
}

func TestAWriteIsSentWithOneKey(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(status(503), fails(errBroken), status(201))
			tr := transport(base)
			req := request(t, method, target, strings.NewReader("payload"))
			before := req.Header.Clone()
			body := req.Body

			resp, err := tr.RoundTrip(req)

			require.NoError(t, err)
			resp.Body.Close()
			keys := base.keys()
			require.Len(t, keys, 3)
			require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, keys[0])
			require.Equal(t, []string{keys[0], keys[0], keys[0]}, keys)
			require.Equal(t, []string{"payload", "payload", "payload"}, base.sent)
			require.Equal(t, before, req.Header, "the caller's header map")
			require.Equal(t, body, req.Body, "the caller's Body field")

			resp, err = tr.RoundTrip(request(t, method, target, nil))
			require.NoError(t, err)
			resp.Body.Close()
			require.NotEqual(t, keys[0], base.keys()[3], "another call, another key")
		})
	}
}

func TestACancelledBackOffReturnsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the user left")
		base := scripted(func(*http.Request) (*http.Response, error) {
			return answer(503, errorBody("service_unavailable"), "Content-Type: application/json", "Retry-After: 60"), nil
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(7*time.Second, func() { cancel(why) })
		start := time.Now()

		resp, err := transport(base).RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.Nil(t, resp)
		require.Equal(t, 7*time.Second, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, apierror.CodeServiceUnavailable, "the last real error")
		require.Equal(t, 1, base.given[0].closed())
	})
}

func TestACertificateThatDoesNotVerifyIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(fails(&tls.CertificateVerificationError{Err: errBroken}))
		require.ErrorIs(t, do(t, transport(base), target), errBroken)
		require.Equal(t, 1, base.count())
	})
}

func TestTheHistoryOfAnEndlessCallIsBounded(t *testing.T) {
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

func TestOneTransportServesManyGoroutines(t *testing.T) {
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

// idler is a base that counts how often it was told to close idle connections.
type idler struct {
	baseFunc
	closes int
}

func (i *idler) CloseIdleConnections() { i.closes++ }

func TestCloseIdleConnectionsReachesTheBase(t *testing.T) {
	t.Parallel()
	base := new(idler)
	transport(base).CloseIdleConnections()
	require.Equal(t, 1, base.closes)
	transport(base.baseFunc).CloseIdleConnections() // has no such method
}

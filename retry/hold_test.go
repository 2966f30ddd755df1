package retry_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// after sends a request with an API key and returns how long that took.
func after(t *testing.T, tr *retry.Transport, url, key string) time.Duration {
	t.Helper()
	req := request(t, "GET", url, nil)
	req.Header.Set("Authorization", "Bearer "+key)
	start := time.Now()
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	resp.Body.Close()
	return time.Since(start)
}

func limited(code string) baseFunc {
	return func(*http.Request) (*http.Response, error) {
		return answer(429, errorBody(code), "Content-Type: application/json", "Retry-After: 30"), nil
	}
}

func TestHoldHost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		first baseFunc
		hold  bool
		want  time.Duration // how long another request waits
	}{
		{"a rate limit", limited("rate_limit_exceeded"), true, 30 * time.Second},
		{"an idempotency key in use", limited("idempotency_in_progress"), true, 0},
		{"a 429 without a code", status(429, "Retry-After: 30"), true, 0},
		{"a 503 with a Retry-After", status(503, "Retry-After: 30"), true, 30 * time.Second},
		{"a 503 without one", status(503), true, 0},
		{"a 500", status(500, "Retry-After: 30"), true, 0},
		{"more than MaxRetryAfter", status(503, "Retry-After: 9999"), true, 0},
		{"HoldHost is off", limited("rate_limit_exceeded"), false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(scripted(tc.first, status(200)))
			tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: tc.hold}
			after(t, tr, target, "mine")

			waited := after(t, tr, target, "mine")

			require.GreaterOrEqual(t, waited, tc.want, tc.name)
			require.LessOrEqual(t, waited, tc.want+100*time.Millisecond, tc.name)
		})
	}
}

// The code of an error that streams is known once its response is discarded, for a retry.
func TestStreamed429HoldsOthersBackOnceItIsRetried(t *testing.T) {
	t.Parallel()
	for name, retryable := range map[string]func(retry.Failure) bool{"no hook": nil, "a hook": retry.DefaultRetryable} {
		synctest.Test(t, func(t *testing.T) {
			streams := func(r *http.Request) (*http.Response, error) {
				resp, err := limited("rate_limit_exceeded")(r)
				resp.ContentLength = -1
				return resp, err
			}
			logger, out := logged()
			tr := &retry.Transport{Base: scripted(streams, status(200)), Logger: logger}
			tr.Policy = &retry.Policy{HoldHost: true, Retryable: retryable}
			first := request(t, "GET", target, nil)
			first.Header.Set("Authorization", "Bearer mine")
			var retried sync.WaitGroup
			retried.Go(func() {
				if resp, err := tr.RoundTrip(first); err == nil {
					resp.Body.Close()
				}
			})
			synctest.Wait()

			waited := after(t, tr, target, "mine")
			retried.Wait()

			require.GreaterOrEqual(t, waited, 30*time.Second, name)
			require.Contains(t, out.String(), "code=rate_limit_exceeded", name)
		})
	}
}

func TestHoldIsPerHostAndCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(limited("rate_limit_exceeded"), status(200)))
		tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true}
		after(t, tr, target, "mine")

		require.Zero(t, after(t, tr, target, "theirs"))
		require.Zero(t, after(t, tr, "https://other.example", "mine"))
		require.NotZero(t, after(t, tr, target, "mine"))
		require.Zero(t, after(t, tr, target, "mine"), "it is over")
	})
}

func TestHoldDistinguishesSimilarCredentials(t *testing.T) {
	t.Parallel()
	headers := []http.Header{
		{"Authorization": {"ab"}, "X-Api-Key": {"c"}},
		{"Authorization": {"a"}, "X-Api-Key": {"bc"}},
		{"Authorization": {"abc"}},
		{"X-Api-Key": {"abc"}},
		{"Authorization": {"ab", "c"}},
		{"Authorization": {"a", "bc"}},
		{"Authorization": {"abc", ""}},
		{},
	}
	for held := range headers {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(scripted(limited("rate_limit_exceeded"), status(200)))
			tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true}
			send := func(h http.Header) time.Duration {
				req, start := request(t, "GET", target, nil), time.Now()
				req.Header = h
				resp, err := tr.RoundTrip(req)
				require.NoError(t, err)
				resp.Body.Close()
				return time.Since(start)
			}
			send(headers[held])
			for i, h := range headers {
				if i != held {
					require.Zero(t, send(h), "%v while %v is held", h, headers[held])
				}
			}
			require.NotZero(t, send(headers[held]))
		})
	}
}

func TestHoldBeyondTheDeadlineFailsImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(limited("rate_limit_exceeded"), status(200))
		tr := transport(base)
		tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true}
		after(t, tr, target, "mine")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ctx, report := retry.WithReport(ctx)
		req := request(t, "GET", target, nil).WithContext(ctx)
		req.Header.Set("Authorization", "Bearer mine")
		start := time.Now()

		_, err := tr.RoundTrip(req)

		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, retry.ReasonDeadlineTooSoon, report.Reason())
		require.Zero(t, time.Since(start))
		require.Equal(t, 1, base.count())
	})
}

func TestHeldRequestsAreSpreadOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(limited("rate_limit_exceeded"), status(200)))
		tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true}
		after(t, tr, target, "mine")

		var mu sync.Mutex
		waits := make(map[time.Duration]bool)
		var held sync.WaitGroup
		for range 10 {
			held.Go(func() {
				waited := after(t, tr, target, "mine")
				mu.Lock()
				defer mu.Unlock()
				waits[waited] = true
			})
		}
		held.Wait()

		require.Greater(t, len(waits), 1)
		for waited := range waits {
			require.GreaterOrEqual(t, waited, 30*time.Second)
			require.LessOrEqual(t, waited, 30*time.Second+100*time.Millisecond)
		}
	})
}

func TestLongestHoldDoesNotOverflow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"))
		tr := transport(base)
		tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true, MaxRetryAfter: -1}
		require.NoError(t, do(t, tr, target))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()

		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, base.count())
	})
}

func TestLongerOfTwoHoldsCounts(t *testing.T) {
	t.Parallel()
	for _, retryAfter := range [][]string{{"30", "5"}, {"5", "30"}} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
				switch r.URL.Path {
				case "/first":
					time.Sleep(time.Millisecond)
					return answer(503, "", "Retry-After: "+retryAfter[0]), nil
				case "/second":
					time.Sleep(2 * time.Millisecond)
					return answer(503, "", "Retry-After: "+retryAfter[1]), nil
				}
				return answer(200, ""), nil
			}))
			tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true}
			var calls sync.WaitGroup
			for _, path := range []string{"/first", "/second"} {
				calls.Go(func() { require.NoError(t, do(t, tr, "http://api.example"+path)) })
			}
			calls.Wait()
			start := time.Now()
			require.NoError(t, do(t, tr, "http://api.example/"))
			require.Greater(t, time.Since(start), 29*time.Second, retryAfter)
		})
	}
}

package retry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const fallback = -1 // a backoff of up to 100 ms
	const stop = -2     // no retry
	// A bubble's clock starts at 2000-01-01 00:00:00 UTC.
	for _, tc := range []struct {
		lines []string
		want  time.Duration
	}{
		// Whole seconds, and the three forms of a date.
		{[]string{"1"}, time.Second},
		{[]string{"120"}, 2 * time.Minute},
		{[]string{" 7 "}, 7 * time.Second},
		{[]string{"007"}, 7 * time.Second},
		{[]string{"Sat, 01 Jan 2000 00:00:30 GMT"}, 30 * time.Second},
		{[]string{"Saturday, 01-Jan-00 00:00:30 GMT"}, 30 * time.Second},
		{[]string{"Sat Jan  1 00:00:30 2000"}, 30 * time.Second},

		// Neither, or no time to wait: as without the field.
		{[]string{"0"}, fallback},
		{[]string{"-1"}, fallback},
		{[]string{"-9999999999999999999999"}, fallback},
		{[]string{"+1"}, fallback},
		{[]string{"1.5"}, fallback},
		{[]string{"1e3"}, fallback},
		{[]string{"0x10"}, fallback},
		{[]string{""}, fallback},
		{[]string{"soon"}, fallback},
		{[]string{"NaN"}, fallback},
		{[]string{"Fri, 31 Dec 1999 23:59:59 GMT"}, fallback},
		{[]string{"Sat, 01 Jan 2000 00:00:00 GMT"}, fallback},
		{[]string{"Thu, 01 Jan 1970 00:00:00 GMT"}, fallback},
		{[]string{"Sat, 32 Jan 2000 00:00:30 GMT"}, fallback},

		// Longer than MaxRetryAfter, also beyond what a time.Duration or an int64 can hold.
		{[]string{"121"}, stop},
		{[]string{"10000000000"}, stop},
		{[]string{strings.Repeat("9", 40)}, stop},
		{[]string{"9223372036854775807"}, stop},
		{[]string{"9223372036"}, stop},
		{[]string{"Fri, 31 Dec 9999 23:59:59 GMT"}, stop},
		{[]string{"Saturday, 01-Jan-01 00:00:30 GMT"}, stop},

		// Several lines: the longest counts.
		{[]string{"3", "3"}, 3 * time.Second},
		{[]string{"1", "60"}, time.Minute},
		{[]string{"60", "1"}, time.Minute},
		{[]string{"soon", "5"}, 5 * time.Second},
		{[]string{"1", strings.Repeat("9", 40)}, stop},
	} {
		for _, code := range []int{429, 500, 503} {
			synctest.Test(t, func(t *testing.T) {
				base := scripted(func(*http.Request) (*http.Response, error) {
					resp := answer(code, "")
					resp.Header["Retry-After"] = tc.lines
					return resp, nil
				}, status(200))
				start := time.Now()

				resp, err := transport(base).RoundTrip(request(t, "GET", target, nil))

				require.NoError(t, err)
				resp.Body.Close()
				waited := time.Since(start)
				switch tc.want {
				case stop:
					require.Equal(t, code, resp.StatusCode, "%q", tc.lines)
					require.Zero(t, waited, "%q", tc.lines)
				case fallback:
					require.Equal(t, 200, resp.StatusCode, "%q", tc.lines)
					require.LessOrEqual(t, waited, 100*time.Millisecond, "%q", tc.lines)
				default:
					require.Equal(t, 200, resp.StatusCode, "%q", tc.lines)
					require.GreaterOrEqual(t, waited, tc.want, "%q: too early", tc.lines)
					require.LessOrEqual(t, waited, tc.want+100*time.Millisecond, "%q", tc.lines)
				}
			})
		}
	}
}

func TestLongestOfSeveralRetryAftersCounts(t *testing.T) {
	t.Parallel()
	for _, headers := range [][]string{
		{"Retry-After: 120", "Retry-After: 300"},
		{"Retry-After: 300", "Retry-After: 120"},
		{"Retry-After: 120, 300"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(scripted(status(503, headers...)))
			ctx, report := retry.WithReport(t.Context())

			resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

			require.NoError(t, err)
			require.Equal(t, retry.ReasonRetryAfterTooLong, report.Reason())
			failed, ok := errors.AsType[*apierror.Error](apierror.Parse(resp))
			require.True(t, ok)
			require.Equal(t, "5m0s", failed.RetryAfter().String())
		})
	}
}

func TestNoRetryBeforeTheDateOfRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(999 * time.Millisecond)
		at := time.Now().Truncate(time.Second).Add(3 * time.Second)
		tr := transport(scripted(status(503, "Retry-After: "+at.UTC().Format(http.TimeFormat)), status(200)))
		tr.Policy = &retry.Policy{BaseDelay: -1}

		require.NoError(t, do(t, tr, target))

		require.False(t, time.Now().Before(at))
	})
}

func TestBackoffDoublesUpToMaxDelay(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tc := range []struct {
		name   string
		policy *retry.Policy
		want   map[int]time.Duration // the longest wait after an attempt
	}{
		{"the default", nil, map[int]time.Duration{1: 100 * ms, 2: 200 * ms, 7: 6400 * ms, 8: 10_000 * ms, 1000: 10_000 * ms}},
		{
			"MaxDelay between two steps", &retry.Policy{BaseDelay: 30 * ms, MaxDelay: 100 * ms},
			map[int]time.Duration{1: 30 * ms, 2: 60 * ms, 3: 100 * ms, 4: 100 * ms},
		},
		{
			"BaseDelay over MaxDelay", &retry.Policy{BaseDelay: time.Second, MaxDelay: 100 * ms},
			map[int]time.Duration{1: 100 * ms, 2: 100 * ms},
		},
		{"no wait", &retry.Policy{BaseDelay: -1}, map[int]time.Duration{1: 0, 1000: 0}},
		{"no MaxDelay", &retry.Policy{MaxDelay: -1}, map[int]time.Duration{1: 100 * ms, 1000: 1<<63 - 1}},
	} {
		for n, want := range tc.want {
			require.Equal(t, want, retry.Ceiling(tc.policy, n), "%s: after attempt %d", tc.name, n)
		}
	}
}

func TestCallWaitsForTheDelayOfEachAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Breaker = &retry.Breaker{FailureRatio: -1}
		tr.Policy = &retry.Policy{MaxAttempts: 100, Budget: &retry.Budget{Tokens: -1}}
		start := time.Now()

		err := do(t, tr, target)

		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Len(t, failed.Attempts, 100)
		var waited time.Duration
		for _, a := range failed.Attempts {
			require.LessOrEqual(t, a.Delay, retry.Ceiling(tr.Policy, a.Number), "after attempt %d", a.Number)
			require.GreaterOrEqual(t, a.Delay, time.Duration(0))
			waited += a.Delay
		}
		require.Equal(t, waited, time.Since(start))
	})
}

func TestJitterIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Breaker = &retry.Breaker{FailureRatio: -1}
		tr.Policy = &retry.Policy{MaxAttempts: 2, BaseDelay: time.Second, Budget: &retry.Budget{Tokens: -1}}
		tenths := make([]int, 10)
		for range 2000 {
			start := time.Now()
			_ = do(t, tr, target)
			waited := time.Since(start)
			require.LessOrEqual(t, waited, time.Second)
			tenths[min(int(waited/(100*time.Millisecond)), 9)]++
		}
		for i, n := range tenths {
			require.InDelta(t, 200, n, 100, "tenth %d", i) // seven standard deviations
		}
	})
}

func TestCallEndsIfTheDeadlineComesBeforeTheRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503, "Retry-After: 10"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ctx, report := retry.WithReport(ctx)
		start := time.Now()

		resp, err := transport(base).RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		resp.Body.Close()
		require.Equal(t, retry.ReasonDeadlineTooSoon, report.Reason())
		require.Zero(t, time.Since(start))
	})
}

func TestClientTimeoutIsADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: transport(scripted(status(503, "Retry-After: 10"))), Timeout: 9 * time.Second}
		start := time.Now()
		resp, err := client.Get(target)
		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		resp.Body.Close()
		require.Zero(t, time.Since(start))
	})
}

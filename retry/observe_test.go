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

func TestALineForEveryFailedAttempt(t *testing.T) {
	t.Parallel()
	unavailable := func(*http.Request) (*http.Response, error) {
		return answer(503, errorBody("service_unavailable"), "Content-Type: application/json; charset=utf-8", "Retry-After: 2"), nil
	}
	for _, tc := range []struct {
		name    string
		answers []func(*http.Request) (*http.Response, error)
		want    string
	}{
		{"a success is silent", []func(*http.Request) (*http.Response, error){status(200)}, ""},
		{
			"a recovery", []func(*http.Request) (*http.Response, error){unavailable, fails(errBroken), status(200)},
			`level=INFO msg="retrying request" method=POST host=api.example attempt=1 status=503 code=service_unavailable request_id=req_fromthebody retry_after=2s delay=2s
level=INFO msg="retrying request" method=POST host=api.example attempt=2 delay=0s error="connection reset by peer"
`,
		},
		{
			"the request's own fault", []func(*http.Request) (*http.Response, error){
				func(*http.Request) (*http.Response, error) {
					return answer(404, errorBody("resource_missing"), "Content-Type: application/json", "Request-Id: req_fromtheheader"), nil
				},
			},
			`level=INFO msg="request failed" method=POST host=api.example attempt=1 status=404 request_id=req_fromtheheader reason=not-retryable
`,
		},
		{
			"a page of a proxy's", []func(*http.Request) (*http.Response, error){status(502, "X-Should-Retry: false", "X-Request-Id: x-1")},
			`level=WARN msg="request failed" method=POST host=api.example attempt=1 status=502 request_id=x-1 reason=told-not-to
`,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			logger, out := logged()
			tr := &retry.Transport{Base: scripted(tc.answers...), Logger: logger, Policy: &retry.Policy{BaseDelay: -1}}
			req := request(t, "POST", "https://user:pass@api.example/v1?secret=hush", strings.NewReader("payload"))
			req.Header.Set("Idempotency-Key", "my-key")
			req.Header.Set("Authorization", "Bearer sk_live")

			resp, err := tr.RoundTrip(req)

			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, tc.want, out.String(), tc.name)
			for _, secret := range []string{"my-key", "sk_live", "hush", "pass", "payload"} {
				require.NotContains(t, out.String(), secret)
			}
		})
	}
}

func TestEveryAttemptAndOneVerdictAreObserved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events []retry.Event
		tr := transport(scripted(status(503), func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return answer(200, "", "Request-Id: req_2"), nil
		}))
		tr.Observe = func(_ context.Context, e retry.Event) { events = append(events, e) }

		require.NoError(t, do(t, tr, target))

		require.Len(t, events, 3)
		for _, e := range events {
			require.Equal(t, "GET", e.Method)
			require.Equal(t, "api.example", e.Host)
		}
		require.Equal(t, retry.KindAttempt, events[0].Kind)
		require.Equal(t, 503, events[0].Attempt.Status)
		delay := events[0].Attempt.Delay
		require.LessOrEqual(t, delay, 100*time.Millisecond)
		require.Zero(t, events[0].Attempt.RetryAfter)
		require.Error(t, events[0].Attempt.Err)
		require.Equal(t, retry.KindAttempt, events[1].Kind)
		require.Equal(t, time.Second, events[1].Attempt.Elapsed)
		require.Equal(t, retry.KindCall, events[2].Kind)
		require.Equal(t, retry.ReasonSucceeded, events[2].Reason)
		require.Equal(t, 2, events[2].Attempt.Number)
		require.Equal(t, "req_2", events[2].Attempt.RequestID)
		require.NoError(t, events[2].Attempt.Err)
		require.Equal(t, time.Second+delay, events[2].Elapsed)
	})
}

func TestAReportTellsWhatASuccessTook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, report := retry.WithReport(t.Context())
		base := scripted(status(503, "Retry-After: 1"), fails(errBroken), status(201))

		resp, err := transport(base).RoundTrip(request(t, "POST", target, nil).WithContext(ctx))

		require.NoError(t, err)
		resp.Body.Close()
		attempts := report.Attempts()
		require.Len(t, attempts, 3)
		require.Equal(t, []int{503, 0, 201}, []int{attempts[0].Status, attempts[1].Status, attempts[2].Status})
		require.Equal(t, time.Second, attempts[0].RetryAfter)
		require.GreaterOrEqual(t, attempts[0].Delay, time.Second)
		require.Zero(t, attempts[1].RetryAfter)
		require.ErrorIs(t, attempts[1].Err, errBroken)
		require.Zero(t, attempts[2].Delay)
		require.Equal(t, retry.ReasonSucceeded, report.Reason())
		require.Equal(t, base.keys()[0], report.IdempotencyKey())
	})
}

func TestWithoutRetryStillSendsAKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		ctx, report := retry.WithReport(t.Context())
		for _, ctx := range []context.Context{
			retry.WithoutRetry(ctx),
			retry.WithPolicy(retry.WithoutRetry(ctx), &retry.Policy{MaxAttempts: 5}), // each keeps what the other said
		} {
			resp, err := transport(base).RoundTrip(request(t, "POST", target, nil).WithContext(ctx))
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, retry.ReasonAttemptsExhausted, report.Reason())
			require.NotEmpty(t, report.IdempotencyKey())
		}
		require.Equal(t, 2, base.count())
	})
}

func TestRetryableDecidesInsteadOfTheStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked []retry.Attempt
		conflict := func(*http.Request) (*http.Response, error) {
			return answer(409, errorBody("lock_timeout"), "Content-Type: application/json"), nil
		}
		base := scripted(conflict, fails(errBroken), status(503))
		tr := transport(base)
		tr.Policy = &retry.Policy{Retryable: func(a retry.Failure) bool {
			asked = append(asked, a.Attempt)
			return a.Code == "lock_timeout" || errors.Is(a.Err, errBroken)
		}}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, 3, base.count())
		require.Len(t, asked, 3)
		require.ErrorIs(t, asked[0].Err, apierror.Code("lock_timeout"))

		tr.Policy.Retryable = func(retry.Failure) bool { return true }
		tr.Policy.Keys = retry.KeysCallerOnly
		resp, err := tr.RoundTrip(request(t, "POST", target, nil))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 4, base.count(), "it cannot repeat a write without a key")
	})
}

func TestACancelledCallIsNoWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, out := logged()
		tr := &retry.Transport{Base: scripted(status(503, "Retry-After: 9")), Logger: logger}
		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(cancelledIn(time.Second)(t.Context())))
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, out.String(), "WARN")
		require.Contains(t, out.String(), `msg="request failed" method=GET host=api.example attempt=1 status=503 retry_after=9s reason=canceled error="context canceled"`)
	})
}

func TestALogLineHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const url = "https://user:secret@api.example.com/p?q=secret"
		logger, out := logged()
		tr := &retry.Transport{Logger: logger, Base: scripted(fails(errors.New(`Get "` + url + `": reset`)))}
		req := request(t, "POST", url, strings.NewReader("secret"))
		req.Header.Set("Idempotency-Key", "secret")
		req.Header.Set("Authorization", "secret")

		_, err := tr.RoundTrip(req)

		require.Error(t, err)
		require.Contains(t, out.String(), "reset")
		require.NotContains(t, out.String(), "secret")
	})
}

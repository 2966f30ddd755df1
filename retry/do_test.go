package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

func TestDoFollowsThePolicy(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name   string
		err    error
		calls  int
		reason retry.Reason
	}{
		{"any error", broken, 3, retry.ReasonAttemptsExhausted},
		{"a permanent one", retry.Permanent(broken), 1, retry.ReasonToldNotTo},
		{"an API's 400", apierror.ParameterMissing("name"), 1, retry.ReasonNotRetryable},
		{"an API's 503", apierror.ServiceUnavailable(time.Second), 3, retry.ReasonAttemptsExhausted},
		{"one that is not retryable", apierror.ServiceUnavailable(0).WithNotRetryable(), 1, retry.ReasonToldNotTo},
		{"one that asks for too long", apierror.RateLimitExceeded(time.Hour), 1, retry.ReasonRetryAfterTooLong},
		{"a Transport's", &retry.Error{Reason: retry.ReasonAttemptsExhausted}, 1, retry.ReasonAlreadyRetried},
	} {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			ctx, report := retry.WithReport(t.Context())

			v, err := retry.Do(ctx, nil, func(context.Context) (int, error) {
				calls++
				return calls, tc.err
			})

			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.calls, calls, tc.name)
			require.Equal(t, calls, v)
			e, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			require.Equal(t, tc.reason, e.Reason, tc.name)
			require.Equal(t, tc.reason, report.Reason())
			require.Len(t, report.Attempts(), calls)
		})
	}
}

func TestDoWaitsAsLongAsTheServerAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		start := time.Now()
		v, err := retry.Do(t.Context(), nil, func(context.Context) (string, error) {
			if calls++; calls == 1 {
				return "", apierror.RateLimitExceeded(7 * time.Second)
			}
			return "done", nil
		})
		require.NoError(t, err)
		require.Equal(t, "done", v)
		require.GreaterOrEqual(t, time.Since(start), 7*time.Second)
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy, why := apierror.ServiceUnavailable(time.Minute), errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		start := time.Now()

		_, err := retry.Do(ctx, nil, func(context.Context) (int, error) { return 0, busy })

		require.ErrorIs(t, err, busy)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(start))

		_, err = retry.Do(ctx, nil, func(context.Context) (int, error) { t.Error("called"); return 0, nil })
		require.ErrorIs(t, err, context.Canceled)
	})
}

// impatient returns a policy with an attempt timeout of a second, and without waits.
func impatient() *retry.Policy { return &retry.Policy{AttemptTimeout: time.Second, BaseDelay: -1} }

func TestDoLimitsEachAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		calls := 0
		_, err := retry.Do(t.Context(), impatient(), func(ctx context.Context) (int, error) {
			calls++
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		require.Error(t, err)
		require.Equal(t, 3, calls)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestDoSpendsItsBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: 4}}
		calls := 0
		for range 10 {
			_, _ = retry.Do(t.Context(), p, func(context.Context) (int, error) { calls++; return 0, errors.New("broken") })
		}
		require.Equal(t, 14, calls)
		for range 10 {
			_, err := retry.Do(t.Context(), p, func(context.Context) (int, error) { return 0, nil })
			require.NoError(t, err)
		}
		calls = 0
		_, _ = retry.Do(t.Context(), p, func(context.Context) (int, error) { calls++; return 0, errors.New("broken") })
		require.Equal(t, 2, calls)
	})
}

func TestDoWithoutRetry(t *testing.T) {
	t.Parallel()
	calls := 0
	_, err := retry.Do(retry.WithoutRetry(t.Context()), nil, func(context.Context) (int, error) { calls++; return 0, errors.New("broken") })
	require.EqualError(t, err, "retry: attempts-exhausted (attempt 1): broken")
	require.Equal(t, 1, calls)
	require.NoError(t, retry.Permanent(nil))
}

func TestCanceledRetryOfDoCostsNoToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &retry.Policy{Budget: &retry.Budget{Tokens: 1, PerSecond: -1}}
		failing := 0
		fail := func(context.Context) (int, error) { failing++; return 0, apierror.ServiceUnavailable(time.Minute) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		time.AfterFunc(time.Second, cancel)
		_, err := retry.Do(ctx, p, fail)
		require.ErrorIs(t, err, context.Canceled)

		_, _ = retry.Do(t.Context(), p, fail)
		require.Equal(t, 1+2, failing)
	})
}

func TestContextOfAnAttemptOfDoEndsWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var during context.Context
		_, err := retry.Do(t.Context(), &retry.Policy{AttemptTimeout: time.Hour}, func(ctx context.Context) (int, error) {
			during = ctx
			return 0, ctx.Err()
		})
		require.NoError(t, err)
		require.ErrorIs(t, during.Err(), context.Canceled)
	})
}

// streaming returns a response whose body fails after the end of ctx.
func streaming(ctx context.Context, text string) *http.Response {
	resp := answer(200, "")
	b := &contextBody{ctx: ctx, body: newBody(text)}
	resp.Body = b
	return resp
}

type contextBody struct {
	ctx context.Context
	*body
}

func (b *contextBody) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.body.Read(p)
}

func TestContextOfAResponseOfDoEndsWithItsBody(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]time.Duration{"a short timeout": time.Millisecond, "a long one": time.Hour, "none": 0} {
		synctest.Test(t, func(t *testing.T) {
			var during context.Context
			resp, err := retry.Do(t.Context(), &retry.Policy{AttemptTimeout: timeout}, func(ctx context.Context) (*http.Response, error) {
				during = ctx
				return streaming(ctx, "whole"), nil
			})

			require.NoError(t, err)
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err, name)
			require.Equal(t, "whole", string(text))
			require.NoError(t, during.Err())
			require.NoError(t, resp.Body.Close())
			if timeout > 0 {
				require.ErrorIs(t, during.Err(), context.Canceled, name)
			}
		})
	}
}

func TestDoLimitsAnAttemptThatReturnsAResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var given []*body
		resp, err := retry.Do(t.Context(), impatient(), func(ctx context.Context) (*http.Response, error) {
			given = append(given, newBody("x"))
			resp := answer(200, "")
			resp.Body = given[len(given)-1]
			<-ctx.Done()
			if len(given) == 2 {
				return resp, nil // its context has ended
			}
			return nil, ctx.Err()
		})

		require.Nil(t, resp)
		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Len(t, failed.Attempts, 3)
		for _, a := range failed.Attempts {
			require.ErrorContains(t, a.Err, "no response within 1s")
		}
		require.True(t, failed.Timeout())
		require.Equal(t, 1, given[1].closed())
	})
}

func TestDoKeepsAPermanentErrorThatComesWithTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		_, err := retry.Do(t.Context(), impatient(), func(ctx context.Context) (*http.Response, error) {
			calls++
			<-ctx.Done()
			return nil, retry.Permanent(errBroken)
		})
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, 1, calls)
	})
}

func TestDoClosesTheResponsesThatItDoesNotReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var given []*body
		resp, err := retry.Do(t.Context(), &retry.Policy{BaseDelay: -1}, func(context.Context) (*http.Response, error) {
			given = append(given, newBody("x"))
			resp := answer(503, "")
			resp.Body = given[len(given)-1]
			return resp, errBroken
		})

		require.ErrorIs(t, err, errBroken)
		require.Len(t, given, 3)
		require.Equal(t, []int{1, 1, 0}, []int{given[0].closed(), given[1].closed(), given[2].closed()})
		resp.Body.Close()
	})
}

func TestReportOfDoHasTheKeyOfItsTransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(201))
		tr := transport(base)
		ctx, report := retry.WithReport(t.Context())

		_, err := retry.Do(ctx, nil, func(ctx context.Context) (int, error) {
			resp, err := tr.RoundTrip(request(t, "POST", target, nil).WithContext(ctx))
			if err != nil {
				return 0, err
			}
			resp.Body.Close()
			return resp.StatusCode, do(t, tr, target)
		})

		require.NoError(t, err)
		require.NotEmpty(t, base.keys()[0])
		require.Equal(t, base.keys()[0], report.IdempotencyKey())
		require.Equal(t, retry.ReasonSucceeded, report.Reason())
		require.Len(t, report.Attempts(), 1)
	})
}

func TestAttemptOfDoDescribesAnAPIError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, report := retry.WithReport(t.Context())

		_, err := retry.Do(ctx, nil, func(context.Context) (int, error) {
			return 0, apierror.Parse(answer(503, errorBody("service_unavailable"), "Content-Type: application/json"))
		})

		require.ErrorIs(t, err, apierror.CodeServiceUnavailable)
		require.Len(t, report.Attempts(), 3)
		for _, a := range report.Attempts() {
			require.Equal(t, 503, a.Status)
			require.Equal(t, apierror.CodeServiceUnavailable, a.Code)
			require.Equal(t, "req_fromthebody", a.RequestID)
		}
	})
}

func TestDoDoesNotRetryAfterTheEndOfItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0

	_, err := retry.Do(ctx, nil, func(context.Context) (int, error) {
		calls++
		cancel()
		return 0, errBroken
	})

	require.ErrorIs(t, err, errBroken)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, calls)
}

package retry_test

import (
	"cmp"
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/retry"
)

func TestPaceDelaysEveryAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		tr := transport(baseFunc(func(*http.Request) (*http.Response, error) {
			at = append(at, time.Since(start))
			return answer(503, ""), nil
		}))
		tr.Pace = rate.NewLimiter(1, 1)
		tr.Policy = &retry.Policy{BaseDelay: -1}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second}, at)
	})
}

func TestAttemptsTellHowLongTheyWereHeld(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		transport func(http.RoundTripper) *retry.Transport
		want      []time.Duration // of two calls, with a second in between
	}{
		"not held": {transport, []time.Duration{0, 0}},
		"Pace": {func(base http.RoundTripper) *retry.Transport {
			tr := transport(base)
			tr.Pace = rate.NewLimiter(rate.Every(10*time.Second), 1)
			return tr
		}, []time.Duration{0, 9 * time.Second}},
		"HoldHost": {func(base http.RoundTripper) *retry.Transport {
			tr := transport(base)
			tr.Policy = &retry.Policy{MaxAttempts: 1, BaseDelay: -1, HoldHost: true}
			return tr
		}, []time.Duration{0, 29 * time.Second}},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := tt.transport(baseFunc(func(*http.Request) (*http.Response, error) {
				return answer(503, "", "Retry-After: 30"), nil
			}))
			tr.Policy = cmp.Or(tr.Policy, once())
			var held []time.Duration
			tr.Observe = func(_ context.Context, e retry.Event) {
				if e.Kind == retry.KindAttempt {
					held = append(held, e.Attempt.Held)
				}
			}
			require.NoError(t, do(t, tr, target))
			time.Sleep(time.Second)
			require.NoError(t, do(t, tr, target))
			require.Equal(t, tt.want, held, name)
		})
	}
}

func TestPaceBeyondTheDeadlineFailsImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(200))
		tr := transport(base)
		tr.Pace = rate.NewLimiter(rate.Every(time.Minute), 1)
		require.NoError(t, do(t, tr, target))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()

		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, time.Since(start))
		require.Equal(t, 1, base.count())

		time.Sleep(time.Minute)
		require.NoError(t, do(t, tr, target))
		require.Equal(t, time.Minute, time.Since(start), "the turn was given back")
	})
}

// On the real clock, some time passes between any two calls of time.Now.
func TestAttemptThatNeedNotWaitIsNotHeld(t *testing.T) {
	t.Parallel()
	tr := transport(scripted(status(200)))
	tr.Policy = &retry.Policy{HoldHost: true}
	tr.Pace = rate.NewLimiter(rate.Inf, 1)
	tr.Observe = func(_ context.Context, e retry.Event) { require.Zero(t, e.Attempt.Held) }
	for range 10 {
		require.NoError(t, do(t, tr, target))
	}
}

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestCircuitShowsStateAndCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 200}
		tr := transport(base)
		tr.Policy, tr.Breaker = once(), new(retry.Breaker)
		read := func() retry.Circuit { return tr.Breaker.Circuit(targetGroup) }
		require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateClosed}, read(), "never seen")
		require.Empty(t, tr.Breaker.Circuits())

		for _, status := range []int{200, 200, 503, 404, 429} {
			base.set(status)
			require.NoError(t, do(t, tr, target))
		}
		require.NoError(t, do(t, tr, "http://b.example"))
		require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateClosed, Calls: 3, Failures: 1}, read())
		require.Equal(t, []retry.Circuit{
			{Group: "http://b.example:80", State: retry.StateClosed},
			read(),
		}, tr.Breaker.Circuits())
		time.Sleep(11 * time.Second)
		require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateClosed}, read(), "what Window left behind")

		base.set(503)
		for range 20 {
			require.NoError(t, do(t, tr, target))
		}
		open := read()
		require.Equal(t, retry.StateOpen, open.State)
		require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateOpen, Until: open.Until}, open)
		refused, ok := errors.AsType[*retry.CircuitOpenError](do(t, tr, target))
		require.True(t, ok)
		require.Equal(t, refused.Until, open.Until)

		time.Sleep(time.Until(open.Until) - 1)
		require.Equal(t, retry.StateOpen, read().State)
		time.Sleep(time.Nanosecond)
		require.Equal(t, retry.StateHalfOpen, read().State, "the next attempt is a probe, though there was none yet")
		require.NoError(t, do(t, tr, target))
		require.Equal(t, retry.StateOpen, read().State)
		require.Greater(t, read().Until, time.Now())

		base.set(200)
		time.Sleep(time.Second)
		require.NoError(t, do(t, tr, target))
		require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateClosed}, read())
	})
}

func TestHeldCircuitIsOpenUntilReset(t *testing.T) {
	t.Parallel()
	prepare := map[string]func(t *testing.T, tr *retry.Transport, base *dead){
		"never seen": func(*testing.T, *retry.Transport, *dead) {},
		"closed":     func(t *testing.T, tr *retry.Transport, _ *dead) { require.NoError(t, do(t, tr, target)) },
		"open": func(t *testing.T, tr *retry.Transport, base *dead) {
			base.set(503)
			for range 20 {
				require.NoError(t, do(t, tr, target))
			}
			base.set(200)
		},
		"turned off": func(_ *testing.T, tr *retry.Transport, _ *dead) { tr.Breaker.FailureRatio = -1 },
		"forgotten but for the hold": func(t *testing.T, tr *retry.Transport, _ *dead) {
			tr.Breaker.MaxGroups = 2
			tr.Breaker.Hold(targetGroup)
			for i := range 10 {
				tr.Breaker.Hold(fmt.Sprint("held", i))
				require.NoError(t, do(t, tr, fmt.Sprintf("http://h%d.example", i)))
			}
		},
	}
	for name, prepare := range prepare {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{status: 200}
			tr := transport(base)
			tr.Policy, tr.Breaker = once(), new(retry.Breaker)
			prepare(t, tr, base)
			sent := base.calls
			tr.Breaker.Hold(targetGroup)
			tr.Breaker.Hold(targetGroup)

			for range 3 {
				err := do(t, tr, target)
				refused, ok := errors.AsType[*retry.CircuitOpenError](err)
				require.True(t, ok, name)
				require.Zero(t, refused.Until)
				require.ErrorContains(t, err, "circuit held open for "+targetGroup)
				require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateOpen, Held: true}, tr.Breaker.Circuit(targetGroup))
				time.Sleep(time.Hour)
			}
			require.Equal(t, sent, base.calls, name)
			require.NoError(t, do(t, tr, "https://other.example"), name)

			tr.Breaker.Reset(targetGroup)
			tr.Breaker.Reset(targetGroup)
			require.NoError(t, do(t, tr, target), name)
			tr.Breaker.Reset("never seen")
		})
	}
}

func TestResetClosesACircuitAndItsCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 503}
		tr := transport(base)
		tr.Policy, tr.Breaker = once(), new(retry.Breaker)
		for range 20 {
			require.NoError(t, do(t, tr, target))
		}
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
		for range 2 {
			tr.Breaker.Reset(targetGroup)
			for range 19 {
				require.NoError(t, do(t, tr, target))
			}
		}
		require.NoError(t, do(t, tr, target))
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
		require.LessOrEqual(t, time.Until(tr.Breaker.Circuit(targetGroup).Until), 200*time.Millisecond)
	})
}

// TestHoldEndsACallBeforeItsRetry is about a call that waits for its second attempt, and one that is being sent.
func TestHoldEndsACallBeforeItsRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr *retry.Transport
		base := scripted(func(*http.Request) (*http.Response, error) {
			tr.Breaker.Hold(targetGroup)
			return answer(503, "", "Retry-After: 30"), nil
		})
		tr = transport(base)
		tr.Breaker = new(retry.Breaker)
		ctx, report := retry.WithReport(t.Context())
		start := time.Now()

		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, retry.ReasonCircuitOpen, report.Reason())
		require.Zero(t, time.Since(start), "it does not sleep towards a refusal")
		require.Equal(t, 1, base.count())
	})
}

func TestCallEndsWithoutAWaitIfTheCircuitOpens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 503}
		tr := transport(base)
		tr.Policy = &retry.Policy{MaxAttempts: 50, BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}
		ctx, report := retry.WithReport(t.Context())
		start := time.Now()

		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		resp.Body.Close()
		require.Equal(t, 20, base.calls)
		require.Equal(t, retry.ReasonCircuitOpen, report.Reason())
		require.Equal(t, start, time.Now())
	})
}

// TestRetryAfterTheCircuitsOpeningIsSent is about a call that waits longer than the circuit is open.
func TestRetryAfterTheCircuitsOpeningIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503, "Retry-After: 1"), status(200))
		tr := transport(base)
		tr.Breaker = &retry.Breaker{MinCalls: 1}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, 2, base.count())
	})
}

func TestAttemptsBeforeAChangeOfTheCircuitDoNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []stateChange
		release := make(chan struct{})
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			switch r.URL.Path {
			case "/late-success":
				<-release
			case "/late-failure":
				<-release
				return nil, errBroken
			case "/failure":
				return nil, errBroken
			}
			return answer(200, ""), nil
		}))
		tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: 2}
		tr.Observe = observeChanges(&changes)
		const host = "http://api.example"
		late := func() *sync.WaitGroup {
			var calls sync.WaitGroup
			for range 10 {
				calls.Go(func() { _ = do(t, tr, host+"/late-success") })
				calls.Go(func() { _ = do(t, tr, host+"/late-failure") })
			}
			synctest.Wait()
			return &calls
		}
		end := func(calls *sync.WaitGroup) {
			close(release)
			calls.Wait()
			release = make(chan struct{})
		}

		calls := late()
		_ = do(t, tr, host+"/failure")
		_ = do(t, tr, host+"/failure")
		end(calls)
		require.Equal(t, []stateChange{{"closed", "open"}}, changes, "in an open circuit")
		require.ErrorIs(t, do(t, tr, host), retry.ErrCircuitOpen)

		time.Sleep(200 * time.Millisecond)
		var probe sync.WaitGroup
		probe.Go(func() { _ = do(t, tr, host+"/late-failure") })
		synctest.Wait()
		time.Sleep(400 * time.Millisecond)
		require.NoError(t, do(t, tr, host))
		end(&probe)
		require.Equal(t, []stateChange{{"closed", "open"}, {"open", "half-open"}, {"half-open", "closed"}}, changes, "in one that closed")
		require.Equal(t, 0, tr.Breaker.Circuit(host+":80").Failures)

		calls = late()
		tr.Breaker.Reset(host + ":80")
		end(calls)
		require.Equal(t, retry.Circuit{Group: host + ":80", State: "closed"}, tr.Breaker.Circuit(host+":80"), "in one that was reset")
	})
}

func TestCircuitOpenErrorIsOneLine(t *testing.T) {
	t.Parallel()
	err := &retry.CircuitOpenError{Group: "a\nb\u202e", Until: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}
	require.EqualError(t, err, "circuit open for a b until 2026-01-02T03:04:05.678Z")
	require.ErrorIs(t, fmt.Errorf("%w", err), retry.ErrCircuitOpen)
	require.NotErrorIs(t, err, context.Canceled)
}

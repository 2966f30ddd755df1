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
		require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateClosed}, read(), "an unknown group")
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
		require.Equal(t, retry.Circuit{Group: targetGroup, State: retry.StateClosed}, read(), "after Window")

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
		require.Equal(t, retry.StateHalfOpen, read().State, "the next attempt is a probe")
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
		"unknown": func(*testing.T, *retry.Transport, *dead) {},
		"closed":  func(t *testing.T, tr *retry.Transport, _ *dead) { require.NoError(t, do(t, tr, target)) },
		"open": func(t *testing.T, tr *retry.Transport, base *dead) {
			base.set(503)
			for range 20 {
				require.NoError(t, do(t, tr, target))
			}
			base.set(200)
		},
		"breaker off": func(_ *testing.T, tr *retry.Transport, _ *dead) { tr.Breaker.FailureRatio = -1 },
		"more held than MaxGroups": func(t *testing.T, tr *retry.Transport, _ *dead) {
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
			tr.Breaker.Reset("unknown")
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
		require.Zero(t, time.Since(start), "no wait")
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

// The call waits for longer than the circuit is open.
func TestCallCanWaitUntilTheCircuitAllowsAProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503, "Retry-After: 1"), status(200))
		tr := transport(base)
		tr.Breaker = &retry.Breaker{MinCalls: 1}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, 2, base.count())
	})
}

// latecomers is a base whose answers can be held back. The path of a request decides what
// it does.
type latecomers struct{ release chan struct{} }

func (l *latecomers) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Path {
	case "/late-success":
		<-l.release
	case "/late-failure":
		<-l.release
		return nil, errBroken
	case "/failure":
		return nil, errBroken
	}
	return answer(200, ""), nil
}

// start sends requests whose answers are held back.
func (l *latecomers) start(t *testing.T, tr *retry.Transport, urls ...string) *sync.WaitGroup {
	l.release = make(chan struct{})
	var calls sync.WaitGroup
	for range 10 {
		for _, url := range urls {
			calls.Go(func() { _ = do(t, tr, url) })
		}
	}
	synctest.Wait()
	return &calls
}

// end lets the answers come.
func (l *latecomers) end(calls *sync.WaitGroup) {
	close(l.release)
	calls.Wait()
}

func TestAttemptsBeforeAChangeOfTheCircuitDoNotCount(t *testing.T) {
	t.Parallel()
	const host = "http://api.example"
	const group = host + ":80"
	synctest.Test(t, func(t *testing.T) {
		var changes []stateChange
		base := new(latecomers)
		tr := transport(base)
		tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: 2}
		tr.Observe = observeChanges(&changes)

		calls := base.start(t, tr, host+"/late-success", host+"/late-failure")
		_ = do(t, tr, host+"/failure")
		_ = do(t, tr, host+"/failure")
		base.end(calls)
		require.Equal(t, []stateChange{{"closed", "open"}}, changes, "opened")
		require.ErrorIs(t, do(t, tr, host), retry.ErrCircuitOpen)

		time.Sleep(200 * time.Millisecond)
		probe := base.start(t, tr, host+"/late-failure")
		time.Sleep(400 * time.Millisecond)
		require.NoError(t, do(t, tr, host))
		base.end(probe)
		require.Equal(t, []stateChange{{"closed", "open"}, {"open", "half-open"}, {"half-open", "closed"}}, changes, "closed")
		require.Equal(t, 0, tr.Breaker.Circuit(group).Failures)

		calls = base.start(t, tr, host+"/late-success", host+"/late-failure")
		tr.Breaker.Reset(group)
		base.end(calls)
		require.Equal(t, retry.Circuit{Group: group, State: retry.StateClosed}, tr.Breaker.Circuit(group), "reset")
	})
}

func TestCircuitOpenErrorIsOneLine(t *testing.T) {
	t.Parallel()
	err := &retry.CircuitOpenError{Group: "a\nb\u202e", Until: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}
	require.EqualError(t, err, "retry: circuit open for a b until 2026-01-02T03:04:05.678Z")
	require.ErrorIs(t, fmt.Errorf("%w", err), retry.ErrCircuitOpen)
	require.NotErrorIs(t, err, context.Canceled)
}

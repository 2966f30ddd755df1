package retry_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

type stateChange struct{ from, to retry.State }

func observeChanges(to *[]stateChange) func(context.Context, retry.Event) {
	return func(_ context.Context, e retry.Event) {
		if e.Kind == retry.KindCircuit {
			*to = append(*to, stateChange{e.From, e.To})
		}
	}
}

func TestEventsOfACall(t *testing.T) {
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

func TestChangesOfACircuitAreObservedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []retry.State
		tr := transport(scripted(status(503, "Retry-After: 2"), status(200)))
		tr.Breaker = &retry.Breaker{MinCalls: 1, ProbeAfter: time.Second}
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.KindCircuit {
				changes = append(changes, e.From, e.To)
			}
		}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, []retry.State{"closed", "open", "open", "half-open", "half-open", "closed"}, changes)
	})
}

func TestChangesOfACircuitAreObservedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var next http.RoundTripper = baseFunc(func(*http.Request) (*http.Response, error) { <-release; return answer(200, ""), nil })
		tr := open(t, nil, &next)
		var changes []stateChange
		tr.Observe = observeChanges(&changes)
		hung := make(chan error)
		go func() { hung <- do(t, tr, target) }()
		synctest.Wait()
		time.Sleep(400 * time.Millisecond)
		next = scripted(status(200))
		require.NoError(t, do(t, tr, target))
		close(release)
		require.NoError(t, <-hung)
		require.Equal(t, []stateChange{{"open", "half-open"}, {"half-open", "closed"}}, changes)
	})
}

func TestHoldIsObservedInTheNextCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []stateChange
		tr := transport(scripted(status(200)))
		tr.Breaker = new(retry.Breaker)
		tr.Observe = observeChanges(&changes)
		tr.Breaker.Hold(targetGroup)
		require.Empty(t, changes)
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
		require.Equal(t, []stateChange{{"closed", "open"}}, changes)
		tr.Breaker.Reset(targetGroup)
		require.NoError(t, do(t, tr, target))
		require.Equal(t, []stateChange{{"closed", "open"}, {"open", "closed"}}, changes)
	})
}

func TestObserverMayUseTheTransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Policy = once()
		asked := 0
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.KindCircuit {
				asked++
				require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen) // a callback of gobreaker's would deadlock here
			}
		}
		for range 20 {
			require.Error(t, do(t, tr, target))
		}
		require.Equal(t, 1, asked)
	})
}

func TestLast16ChangesOfACircuitAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []stateChange
		tr := transport(scripted(status(200)))
		tr.Breaker = new(retry.Breaker)
		tr.Observe = observeChanges(&changes)
		for range 20 {
			tr.Breaker.Hold(targetGroup)
			tr.Breaker.Reset(targetGroup)
		}

		require.NoError(t, do(t, tr, target))

		require.Len(t, changes, 16)
		require.Equal(t, stateChange{"open", "closed"}, changes[15])
	})
}

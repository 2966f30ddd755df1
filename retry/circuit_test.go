package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

const targetGroup = "https://api.example:443"

func TestACircuitCanBeRead(t *testing.T) {
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

func TestACircuitHeldByHandIsOpenUntilItIsReset(t *testing.T) {
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

func TestAResetClosesACircuitAndForgetsWhatWasCounted(t *testing.T) {
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

// TestACallInProgressMeetsAHold is about a call that waits for its second attempt, and one that is being sent.
func TestACallInProgressMeetsAHold(t *testing.T) {
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

func TestAnObserverLearnsOfAHoldFromTheNextCall(t *testing.T) {
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

func TestChangesAreObservedInTheirOrder(t *testing.T) {
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
		require.Equal(t, []stateChange{{"closed", "open"}, {"open", "half-open"}, {"half-open", "closed"}}, append([]stateChange{{"closed", "open"}}, changes...))
	})
}

// TestNoValueOfABreakersFieldIsATrap says what each extreme means.
func TestNoValueOfABreakersFieldIsATrap(t *testing.T) {
	t.Parallel()
	const forever = time.Duration(1<<63 - 1)
	for _, tc := range []struct {
		name    string
		breaker *retry.Breaker
		fails   int           // attempts that fail before the circuit opens; 0: it never does
		probed  time.Duration // at the latest after that
	}{
		{"the default", &retry.Breaker{}, 20, 200 * time.Millisecond},
		{"FailureRatio negative", &retry.Breaker{FailureRatio: -1}, 0, 0},
		{"FailureRatio over 1", &retry.Breaker{FailureRatio: 7}, 20, 200 * time.Millisecond},
		{"MinCalls negative", &retry.Breaker{MinCalls: -1}, 1, 200 * time.Millisecond},
		{"Window negative", &retry.Breaker{Window: -1}, 20, 200 * time.Millisecond},
		{"Window tiny", &retry.Breaker{Window: 1}, 20, 200 * time.Millisecond},
		{"Window forever", &retry.Breaker{Window: forever}, 20, 200 * time.Millisecond},
		{"ProbeAfter negative", &retry.Breaker{ProbeAfter: -1}, 20, 200 * time.Millisecond},
		{"ProbeAfter tiny", &retry.Breaker{ProbeAfter: 1}, 20, 10 * time.Millisecond},
		{"ProbeAfter forever", &retry.Breaker{ProbeAfter: forever}, 20, forever},
		{"ProbeEvery negative", &retry.Breaker{ProbeEvery: -1}, 20, 200 * time.Millisecond},
		{"ProbeEvery tiny", &retry.Breaker{ProbeEvery: 1}, 20, 10 * time.Millisecond},
		{"ProbeEvery forever", &retry.Breaker{ProbeEvery: forever}, 20, 200 * time.Millisecond},
		{"MaxGroups negative", &retry.Breaker{MaxGroups: -1}, 20, 200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{status: 503}
			tr := transport(base)
			tr.Policy, tr.Breaker = once(), tc.breaker
			const tries = 40
			for range tries {
				_ = do(t, tr, target)
			}
			if tc.fails == 0 {
				require.Equal(t, tries, base.calls, tc.name)
				return
			}
			require.Equal(t, tc.fails, base.calls, tc.name)
			wait := time.Until(tr.Breaker.Circuit(targetGroup).Until)
			require.GreaterOrEqual(t, wait, tc.probed/2, tc.name)
			require.LessOrEqual(t, wait, tc.probed, tc.name)
		})
	}
}

// TestADefaultOfTheBreakerThatChangesIsNoticed names those that other tests do not: each row fails with another constant.
func TestADefaultOfTheBreakerThatChangesIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 503}
		tr := transport(base)
		tr.Policy, tr.Breaker = once(), new(retry.Breaker)
		send := func(status, n int) {
			base.set(status)
			for range n {
				require.NoError(t, do(t, tr, target))
			}
		}
		state := func() retry.State { return tr.Breaker.Circuit(targetGroup).State }

		send(503, 19)
		time.Sleep(9*time.Second - 1)
		require.Equal(t, 19, tr.Breaker.Circuit(targetGroup).Failures)
		time.Sleep(time.Second)
		require.Equal(t, 19, tr.Breaker.Circuit(targetGroup).Failures, "Window is 10 s")
		time.Sleep(time.Nanosecond)
		require.Equal(t, 0, tr.Breaker.Circuit(targetGroup).Failures)

		send(200, 11)
		send(503, 10)
		require.Equal(t, retry.StateClosed, state(), "FailureRatio is 0.5")
		send(503, 1)
		require.Equal(t, retry.StateOpen, state())
	})
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(status(200)))
		tr.Breaker = new(retry.Breaker)
		for i := range 1025 {
			require.NoError(t, do(t, tr, fmt.Sprintf("http://h%d.example", i)))
		}
		require.Len(t, tr.Breaker.Circuits(), 1024, "MaxGroups")
	})
}

func TestACircuitOpenErrorIsOneLine(t *testing.T) {
	t.Parallel()
	err := &retry.CircuitOpenError{Group: "a\nb\u202e", Until: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}
	require.EqualError(t, err, "circuit open for a b until 2026-01-02T03:04:05.678Z")
	require.ErrorIs(t, fmt.Errorf("%w", err), retry.ErrCircuitOpen)
	require.NotErrorIs(t, err, context.Canceled)
}

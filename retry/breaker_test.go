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

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

func TestDefaultBreakerOpensProbesAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 200}
		tr := transport(base)
		tr.Policy = once()
		var changes []retry.State
		tr.Observe = func(_ context.Context, e retry.Event) {
			if e.Kind == retry.KindCircuit {
				changes = append(changes, e.From, e.To)
			}
		}
		for range 10 {
			require.NoError(t, do(t, tr, target))
		}
		base.set(503)
		for range 10 {
			require.NoError(t, do(t, tr, target))
		}
		require.Equal(t, 20, base.calls)
		opened := time.Now()

		err := do(t, tr, target)

		require.ErrorIs(t, err, retry.ErrCircuitOpen)
		open, ok := errors.AsType[*retry.CircuitOpenError](err)
		require.True(t, ok)
		require.Equal(t, "https://api.example:443", open.Group)
		require.Equal(t, "api.example:443", open.Host)
		require.Greater(t, open.Until, opened.Add(100*time.Millisecond))
		require.LessOrEqual(t, open.Until, opened.Add(200*time.Millisecond))
		require.Equal(t, 20, base.calls)
		require.NoError(t, do(t, tr, "https://api.example:8443/"), "another port is another circuit")
		require.ErrorIs(t, do(t, tr, "https://API.example:443/"), retry.ErrCircuitOpen, "the same host, spelled otherwise")

		time.Sleep(200 * time.Millisecond)
		require.NoError(t, do(t, tr, target), "the probe, answered 503")
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)

		time.Sleep(400 * time.Millisecond)
		base.set(200)
		for range 3 {
			require.NoError(t, do(t, tr, target))
		}
		require.Equal(t, []retry.State{
			"closed", "open", "open", "half-open", "half-open", "open", "open", "half-open", "half-open", "closed",
		}, changes)
	})
}

func TestOutageAfterManySuccessesOpensTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{status: 200}
		tr := transport(base)
		tr.Policy = once()
		for range 5000 {
			require.NoError(t, do(t, tr, target))
			time.Sleep(time.Millisecond)
		}
		base.set(503)
		fails := 0
		for ; do(t, tr, target) == nil; fails++ {
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, 101, fails, "a tenth of a second of them")
	})
}

func TestFailuresInARowThatOpenACircuit(t *testing.T) {
	t.Parallel()
	type calls struct{ status, n int }
	for _, tc := range []struct {
		name     string
		minCalls int
		before   []calls
		want     int
	}{
		{"only successes before", 0, []calls{{200, 1000}}, 10},
		{"30 percent of failures before", 0, []calls{{200, 699}, {503, 300}, {200, 1}}, 15},
		{"49 percent of failures before", 0, []calls{{200, 509}, {503, 490}, {200, 1}}, 20},
		{"MinCalls 100", 100, []calls{{200, 1000}}, 50},
		{"MinCalls 1", -1, []calls{{200, 1001}}, 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{}
			tr := transport(base)
			tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: tc.minCalls, FailureRatio: 0.9}
			for _, c := range tc.before {
				base.set(c.status)
				for range c.n {
					require.NoError(t, do(t, tr, target))
				}
			}

			base.set(503)
			row := 0
			for ; do(t, tr, target) == nil; row++ {
				time.Sleep(50 * time.Millisecond)
			}

			require.Equal(t, tc.want, row, tc.name)
		})
	}
}

func TestFailuresThatDoNotOpenACircuit(t *testing.T) {
	t.Parallel()
	type phase struct {
		status, calls int
		every         time.Duration
	}
	for _, tc := range []struct {
		name   string
		phases []phase
	}{
		{"many connections that break in one moment", []phase{{200, 1000, time.Millisecond}, {503, 900, 0}, {200, 1, 0}}},
		{
			"a row of failures that is too short",
			[]phase{{200, 300, time.Millisecond}, {503, 9, time.Second / 10}, {200, 1, 0}, {503, 9, time.Second / 10}},
		},
		{"a longer one after other failures", []phase{{200, 70, 0}, {503, 30, 0}, {200, 1, 0}, {503, 14, time.Second / 10}}},
		{"failures that Window has left behind", []phase{{200, 40, 0}, {503, 9, 0}, {503, 1, 12 * time.Second}, {503, 10, time.Second}}},
		{"fewer than the ratio", []phase{{200, 11, 0}, {503, 10, 0}}},
		{"fewer than MinCalls", []phase{{503, 19, time.Second / 3}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{}
			tr := transport(base)
			tr.Policy = once()
			for _, p := range tc.phases {
				base.set(p.status)
				for range p.calls {
					time.Sleep(p.every)
					require.NoError(t, do(t, tr, target), tc.name)
				}
			}
			require.NoError(t, do(t, tr, target), tc.name)
		})
	}
}

func TestResultsThatCountAgainstAHost(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer baseFunc
		opens  bool
	}{
		"500":             {status(500), true},
		"503":             {status(503), true},
		"transport error": {fails(errBroken), true},
		"429":             {status(429), false},
		"404":             {status(404), false},
		"401":             {status(401), false},
		"501":             {status(501), false},
		"200":             {status(200), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(scripted(tc.answer))
			tr.Policy = once()
			for range 40 {
				_ = do(t, tr, target)
			}
			require.Equal(t, tc.opens, errors.Is(do(t, tr, target), retry.ErrCircuitOpen), name)
		})
	}
}

func TestNeutralCallsDoNotCount(t *testing.T) {
	t.Parallel()
	for _, neutral := range []int{429, 404} {
		synctest.Test(t, func(t *testing.T) {
			base := &dead{status: neutral}
			tr := transport(base)
			tr.Policy = once()
			for range 40 {
				require.NoError(t, do(t, tr, target))
			}
			base.set(503)
			for range 20 {
				require.NoError(t, do(t, tr, target), "fewer than 20 calls have counted")
			}
			require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen, "of those that counted, all failed")
		})
	}
}

func TestCancellationIsNotTheHostsFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := baseFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		tr := transport(base)
		for range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, retry.ErrCircuitOpen)
		}
	})
}

func TestAttemptTimeoutsOpenTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}))
		tr.Policy = &retry.Policy{MaxAttempts: 1, AttemptTimeout: time.Millisecond}
		for range 20 {
			require.NotErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
		}
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
	})
}

func TestTimeoutsOfBaseOpenTheCircuit(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	server(t, hang, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		s.Transport().ResponseHeaderTimeout = 10 * time.Millisecond
		tr.Policy = &retry.Policy{MaxAttempts: 1}
		for range 20 {
			require.NotErrorIs(t, do(t, tr, s.URL), retry.ErrCircuitOpen)
		}
		require.ErrorIs(t, do(t, tr, s.URL), retry.ErrCircuitOpen)
	})
}

func TestNoBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Breaker = &retry.Breaker{FailureRatio: -1}
		for range 100 {
			require.NotErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
		}
	})
}

func TestExtremesOfBreakerFields(t *testing.T) {
	t.Parallel()
	const longest = time.Duration(1<<63 - 1)
	for _, tc := range []struct {
		name    string
		breaker *retry.Breaker
		fails   int           // attempts until the circuit opens; 0 means that it does not
		probed  time.Duration // the longest time until the first probe
	}{
		{"the default", &retry.Breaker{}, 20, 200 * time.Millisecond},
		{"FailureRatio negative", &retry.Breaker{FailureRatio: -1}, 0, 0},
		{"FailureRatio over 1", &retry.Breaker{FailureRatio: 7}, 20, 200 * time.Millisecond},
		{"MinCalls negative", &retry.Breaker{MinCalls: -1}, 1, 200 * time.Millisecond},
		{"Window negative", &retry.Breaker{Window: -1}, 20, 200 * time.Millisecond},
		{"Window tiny", &retry.Breaker{Window: 1}, 20, 200 * time.Millisecond},
		{"Window at its maximum", &retry.Breaker{Window: longest}, 20, 200 * time.Millisecond},
		{"ProbeAfter negative", &retry.Breaker{ProbeAfter: -1}, 20, 200 * time.Millisecond},
		{"ProbeAfter tiny", &retry.Breaker{ProbeAfter: 1}, 20, 10 * time.Millisecond},
		{"ProbeAfter at its maximum", &retry.Breaker{ProbeAfter: longest}, 20, longest},
		{"ProbeEvery negative", &retry.Breaker{ProbeEvery: -1}, 20, 200 * time.Millisecond},
		{"ProbeEvery tiny", &retry.Breaker{ProbeEvery: 1}, 20, 10 * time.Millisecond},
		{"ProbeEvery at its maximum", &retry.Breaker{ProbeEvery: longest}, 20, 200 * time.Millisecond},
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

func TestDefaultsOfBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &dead{}
		tr := transport(base)
		tr.Policy, tr.Breaker = once(), new(retry.Breaker)
		send := func(status, n int) {
			base.set(status)
			for range n {
				require.NoError(t, do(t, tr, target))
			}
		}
		circuit := func() retry.Circuit { return tr.Breaker.Circuit(targetGroup) }

		send(503, 19)
		time.Sleep(10*time.Second - 1)
		require.Equal(t, 19, circuit().Failures)
		time.Sleep(time.Nanosecond)
		require.Equal(t, 0, circuit().Failures, "Window")

		send(200, 11)
		send(503, 10)
		require.Equal(t, retry.StateClosed, circuit().State)
		send(503, 1)
		require.Equal(t, retry.StateOpen, circuit().State, "FailureRatio")
	})
}

func TestDefaultBreakerKeeps1024Groups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(status(200)))
		tr.Breaker = new(retry.Breaker)
		for i := range 1025 {
			require.NoError(t, do(t, tr, fmt.Sprintf("http://h%d.example", i)))
		}
		require.Len(t, tr.Breaker.Circuits(), 1024)
	})
}

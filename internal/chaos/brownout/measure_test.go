package brownout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ms is a time on the clock of an arm that starts at 0.
func ms(n int) int64 { return int64(n) * int64(time.Millisecond) }

// record returns an arm that is in trouble from second 2 to second 4 and ends in second 10. It
// makes 100 calls a second with one attempt each. Each takes 10 ms. Good reports whether a call
// succeeds that is made at a millisecond, and waiting is the queue that it finds.
func record(good func(at int) bool, waiting func(at int) int) *arm {
	a := &arm{plan: plan{Start: 0, From: ms(2000), To: ms(4000), End: ms(10_000)}, ended: ms(4000)}
	for at := 0; at < 10_000; at += 10 {
		a.report.Calls = append(a.report.Calls, call{Planned: ms(at), At: ms(at), End: ms(at + 10), Good: good(at)})
		a.report.Attempts = append(a.report.Attempts, ms(at))
		a.arrivals = append(a.arrivals, arrival{ms(at), waiting(at)})
	}
	return a
}

func noQueue(int) int { return 0 }

func TestRecoveryIsTimeToFirstGoodSecondWithoutQueue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		good      func(at int) bool
		waiting   func(at int) int
		recovered bool
		seconds   float64
	}{
		{"as soon as the trouble ends", func(at int) bool { return at < 2000 || at >= 4000 }, noQueue, true, 0},
		{"no trouble", func(int) bool { return true }, noQueue, true, 0},
		{
			"a second later, and 5% of a second before that",
			func(at int) bool { return at < 2000 || at >= 5000 }, noQueue, true, 1,
		},
		{"the queue is longer", func(at int) bool { return at < 2000 || at >= 4000 }, func(at int) int {
			if at >= 2000 && at < 6000 {
				return 600
			}
			return 2
		}, true, 2},
		{"never", func(at int) bool { return at < 2000 }, noQueue, false, 0},
		{"one of ten fails", func(at int) bool { return at < 2000 || at%100 > 0 }, noQueue, false, 0},
		{"one of ten has always failed", func(at int) bool { return at%100 > 0 }, noQueue, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := record(tc.good, tc.waiting).measure()
			require.Equal(t, tc.recovered, m.Recovered)
			require.InDelta(t, tc.seconds, m.Recovery, 0.051)
		})
	}
}

func TestCountsOfTroubleAreThoseBetweenItsBeginAndItsRealEnd(t *testing.T) {
	t.Parallel()
	a := record(func(at int) bool { return at < 2000 || at >= 4500 }, noQueue)
	a.ended = ms(4500) // it took half a second to start the upstream again
	for i := range a.report.Attempts {
		if at := a.report.Attempts[i]; at >= ms(2000) && at < ms(4500) {
			a.report.Attempts = append(a.report.Attempts, at+ms(3)) // each call is retried
		}
	}
	a.report.Calls[999].End = 0

	m := a.measure()

	require.Equal(t, 1000, m.Calls)
	require.Equal(t, 749, m.Good)
	require.Equal(t, 1, m.Unfinished)
	require.Equal(t, 250, m.TroubleCalls)
	require.Equal(t, 500, m.TroubleAttempts)
	require.Equal(t, 250, m.TroubleArrived)
	require.InDelta(t, 2, m.Load, 0)
	require.Len(t, m.Seconds, 10)
	require.Equal(t, Second{Calls: 100, Attempts: 200, Arrived: 100, Good: 1}, m.Seconds[2])
}

func TestCircuitsAreThoseOfTheProcesses(t *testing.T) {
	t.Parallel()
	a := record(func(int) bool { return true }, noQueue)
	a.circuits = [][]change{
		{{ms(2500), true}, {ms(3000), false}, {ms(3100), true}, {ms(4200), false}},
		{{ms(2700), true}, {ms(4900), false}},
		{{ms(2600), true}},
		{{ms(100), true}, {ms(200), false}},
		{{ms(4100), true}, {ms(4200), false}},
		nil,
	}

	m := a.measure()

	require.Equal(t, 3, m.Opened)
	require.Equal(t, 1, m.StillOpen)
	require.InDelta(t, 0.7, m.Recognized, 1e-9)
	require.InDelta(t, 0.9, m.Back, 1e-9)
}

// proven returns a Scenario that proves the promises.
func proven() Scenario {
	well := Arm{
		Calls: 1000, HealthyCalls: 400, HealthyGood: 400, Attempts: 1000, Arrived: 1000, Load: 1, Recovered: true,
	}
	plain, ours := well, well
	plain.Name, plain.Good, plain.Recovery = NoRetries, 700, 0
	ours.Name, ours.Good, ours.Recovery, ours.Opened = Seawall, 666, 1, processes
	return Scenario{Name: Slow, Arms: []Arm{plain, ours}}
}

func TestEveryBrokenPromiseIsFound(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		change   func(plain, ours *Arm)
		findings int
	}{
		{"nothing", func(_, _ *Arm) {}, 0},
		{"failures before the trouble", func(_, ours *Arm) { ours.HealthyGood = 390 }, 1},
		{"more load", func(_, ours *Arm) { ours.Load = 1.11 }, 1},
		{"no recovery", func(_, ours *Arm) { ours.Recovered = false }, 1},
		{"a slow recovery", func(_, ours *Arm) { ours.Recovery = 1.6 }, 1},
		{"a slow recovery of both", func(plain, ours *Arm) { plain.Recovery, ours.Recovery = 4, 5 }, 0},
		{"few good answers", func(_, ours *Arm) { ours.Good = 664 }, 1},
		{"a circuit that did not open", func(_, ours *Arm) { ours.Opened = processes - 1 }, 1},
		{"a circuit that did not close", func(_, ours *Arm) { ours.StillOpen = 1 }, 1},
		{"attempts that the clients did not count", func(_, ours *Arm) { ours.Arrived = 1100 }, 1},
		{"more load of others", func(plain, _ *Arm) { plain.Load = 5 }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := proven()
			tc.change(&s.Arms[0], &s.Arms[1])
			require.Empty(t, s.busy())
			require.Len(t, s.Findings(), tc.findings)
		})
	}
}

func TestBusyMachineProvesNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(plain, ours *Arm)
	}{
		{"late calls without retries", func(plain, _ *Arm) { plain.Late = 0.2 }},
		{"late calls of seawall", func(_, ours *Arm) { ours.Late = 0.2 }},
		{"failures before the trouble", func(plain, _ *Arm) { plain.HealthyGood = 390 }},
		{"no recovery without retries", func(plain, _ *Arm) { plain.Recovered = false }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := proven()
			s.Arms[1].Load = 2
			tc.change(&s.Arms[0], &s.Arms[1])
			s.Inconclusive = s.busy()
			require.NotEmpty(t, s.Inconclusive)
			require.Empty(t, s.Findings())
		})
	}
}

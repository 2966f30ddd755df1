//go:build !race

package peers_test

import "testing"

// The bars on allocations. Those on time are in report: a test of time would fail on a busy machine.
func TestAllocBudgets(t *testing.T) {
	transport, chi := calls(0, get), chain()
	for _, tt := range []struct {
		name   string
		ours   contender
		bare   *contender // whose allocations do not count
		budget float64
	}{
		{"decision, one key", serially(1)[0], nil, 0},
		{"decision, 10,000 keys", serially(10_000)[0], nil, 0},
		{"rate-limit middleware, admitted", admitted()[0], nil, 4},
		{"request id, tracker, recovery", chi[0], nil, 5},
		{"transport, GET", transport[0], &transport[1], 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := testing.AllocsPerRun(1000, tt.ours.setup(t))
			if tt.bare != nil {
				got -= testing.AllocsPerRun(1000, tt.bare.setup(t))
			}
			t.Logf("%v allocations, of at most %v", got, tt.budget)
			if got > tt.budget {
				t.Errorf("%s: %v allocations, more than %v", tt.name, got, tt.budget)
			}
		})
	}
}

//go:build !race

package peers_test

import "testing"

// TestAllocBudgets counts allocations, which do not depend on how busy the machine is.
// The limits for the committed measurements of time are in report/expectations_test.go.
func TestAllocBudgets(t *testing.T) {
	to := route{handler: list, perHour: 1e9, log: discardHandler{}}
	get, post, retry := calls(0, get)[0], calls(0, post)[0], calls(1, post)[0]
	for _, tt := range []struct {
		name   string
		op     func()
		budget float64
	}{
		{"decision, one key", inTurn(1)[0].setup(t), 0},
		{"decision, 10,000 keys", inTurn(10_000)[0].setup(t), 0},
		{"rate-limit middleware, admitted", admitted()[0].setup(t), 5},
		{"rate-limit middleware, denied", denied()[0].setup(t), 15},
		{"request id and recovery", chains()[0].setup(t), 5},
		{"whole stack", serve(seawallStack(to), request(t, "GET", "/v1/resources")), 18},
		{"client, GET", get.setup(t), 3},
		{"client, POST", post.setup(t), 11},
		{"client, POST after a 503", retry.setup(t), 48},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := testing.AllocsPerRun(1000, tt.op)
			t.Logf("%v allocations, of at most %v", got, tt.budget)
			if got > tt.budget {
				t.Errorf("%s: %v allocations, more than %v", tt.name, got, tt.budget)
			}
		})
	}
}

package check_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// large returns a history of an episode. Each key has two calls, and some of them conflict.
func large(calls int) *history.History {
	h := &history.History{Returns: make(map[string]history.Return, calls)}
	for n := range calls {
		k, at := n/2, int64(n)*ms
		key, amount := fmt.Sprintf("alice/%d", k), 10
		answer := history.Answer{Key: key, Amount: 10, Run: fmt.Sprintf("s1.1-%d", k)}
		ret := history.Return{ID: fmt.Sprint(n), At: at + 5*ms, Status: 201, Answer: answer, Attempts: 1}
		switch {
		case n%2 == 0:
			h.Effects = append(h.Effects, history.Effect{Key: key, Way: history.Plain, Amount: 10, Run: answer.Run, At: at})
		case k%10 == 0:
			amount, ret.Status, ret.Code, ret.Answer = 20, 409, "idempotency_conflict", history.Answer{}
		default:
			ret.Replayed = true
		}
		h.Calls = append(h.Calls, history.Call{ID: ret.ID, Key: key, Way: history.Plain, Amount: amount, At: at})
		h.Returns[ret.ID] = ret
		if n%500 == 0 {
			h.Hits = append(h.Hits, history.Hit{Key: key, Way: history.Plain, Window: history.OnTheWay, Action: history.Delay, At: at})
			h.Periods = append(h.Periods, history.Period{Kind: "slow", Target: "store", From: at + 100*ms, To: at + 150*ms})
		}
	}
	return h
}

func TestLargeHistoryHasNoFindings(t *testing.T) {
	t.Parallel()
	r := check.Check(large(20_000), check.Rules{})
	require.Empty(t, r.Findings)
	require.Equal(t, 10_000, r.Keys)
	require.Equal(t, 20_000, r.Calls)
	require.Equal(t, 10_000, r.Unavailable.Total())
}

func BenchmarkCheck(b *testing.B) {
	h := large(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if r := check.Check(h, check.Rules{}); len(r.Findings) > 0 {
			b.Fatal(r.Findings[0])
		}
	}
}

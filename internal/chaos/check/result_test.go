package check_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

func TestCells(t *testing.T) {
	t.Parallel()
	delay := hit(history.OnTheWay, history.Delay, "", 5)

	one := check.Check(historyOf(history.Plain, ran(delay)...), check.Rules{})
	disturbed := check.Check(historyOf(history.Plain, ran(delay, during("slow", "store", 5, 6))...), check.Rules{})
	twoHits := check.Check(historyOf(history.Plain, ran(delay, hit(history.BeforeReply, history.Pause, "s1.1", 15))...), check.Rules{})

	cell := check.Cell{Way: history.Plain, Window: history.OnTheWay, Action: history.Delay}
	answered := map[string]int{"201": 1}
	require.Equal(t, []check.Count{{Cell: cell, Hits: 1, Keys: 1, Effects: [3]int{0, 1, 0}, First: answered, Final: answered}}, one.Cells)
	require.Len(t, disturbed.Cells, 1)
	require.Equal(t, 1, disturbed.Cells[0].Hits)
	require.Zero(t, disturbed.Cells[0].Keys)
	require.Len(t, twoHits.Cells, 2)
	require.Zero(t, twoHits.Cells[1].Keys)
}

func TestServerThatIsBackDisturbsNoOtherKey(t *testing.T) {
	t.Parallel()
	other := func(h *history.History, way history.Way) {
		hit(history.AfterClaim, history.Stop, "s1.1", -2000)(h, way)
		h.Hits[len(h.Hits)-1].Key = "an/other"
	}
	keys := func(more ...step) int {
		h := historyOf(history.Plain, ran(append(more, other, hit(history.BeforeReply, history.Pause, "s1.1", 15), askedOf("s1"))...)...)
		return check.Check(h, check.Rules{}).Cells[1].Keys
	}

	require.Equal(t, 0, keys(), "nothing says when it is back")
	require.Equal(t, 0, keys(during("stop", "s1.1", -1990, 5)), "not yet back")
	require.Equal(t, 1, keys(during("stop", "s1.1", -1990, -5)))
}

func TestMergeAddsResults(t *testing.T) {
	t.Parallel()
	h := historyOf(history.Plain, twice(ends("s1.1-1", 20, "released", 500), hit(history.AfterEffect, history.Fail, "s1.1", 12))...)
	bad := historyOf(history.FinishTx, twice(hit(history.AfterCommit, history.Fail, "s1.1", 12))...)

	var total check.Result
	for _, h := range []*history.History{h, bad, h} {
		total.Merge(check.Check(h, check.Rules{}))
	}

	require.Equal(t, 3, total.Keys)
	require.Equal(t, 6, total.Calls)
	require.Equal(t, 6, total.Attempts)
	require.Len(t, total.Findings, 2)
	require.Equal(t, map[string]int{"plain: answered 5xx": 2}, total.Duplicates)
	require.Equal(t, 3, total.Unavailable.Total())
	require.Len(t, total.Cells, 2)
	require.Equal(t, history.FinishTx, total.Cells[0].Way)
	require.Equal(t, check.Count{
		Cell: check.Cell{Way: history.Plain, Window: history.AfterEffect, Action: history.Fail},
		Hits: 2, Keys: 2, Effects: [3]int{0, 0, 2},
		First: map[string]int{"503 service_unavailable": 2}, Final: map[string]int{"201": 2},
	}, total.Cells[1])
}

func TestManyFindingsStaySmall(t *testing.T) {
	t.Parallel()
	h := large(20_000)
	h.Effects = nil
	r := check.Check(h, check.Rules{})
	size := 0
	for _, f := range r.Findings {
		size += len(f.Detail)
	}
	require.GreaterOrEqual(t, len(r.Findings), 10_000)
	require.Contains(t, r.Findings[0].Detail, "client 0 sends 10")
	require.Less(t, size, 1<<20)
}

func TestTimeUntilTheFirstFinalAnswer(t *testing.T) {
	t.Parallel()
	r := check.Check(historyOf(history.Plain, twice(ends("s1.1-1", 20, "released", 500), call(9000, 9020, 10, "201 s2.1-1"))...), check.Rules{})
	require.Equal(t, 1, r.Unavailable.Total())
	require.InDelta(t, 2020*time.Millisecond, r.Unavailable.Quantile(0.5), float64(250*time.Millisecond))
}

func TestDistribution(t *testing.T) {
	t.Parallel()
	var d, o check.Distribution
	require.Zero(t, d.Quantile(0.5))
	for i := range int64(1000) {
		d.Add(i * ms)
	}
	o.Add(int64(time.Hour))

	d.Merge(o)

	require.Equal(t, 1001, d.Total())
	require.InEpsilon(t, 500*time.Millisecond, d.Quantile(0.5), 0.13)
	require.InEpsilon(t, 990*time.Millisecond, d.Quantile(0.99), 0.13)
	require.Greater(t, d.Quantile(1), 15*time.Minute)
	text, err := json.Marshal(d)
	require.NoError(t, err)
	var read check.Distribution
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, d, read)
}

package check_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// rowsOf returns the first cells of a table in docs/SEMANTICS.md, the one after a heading.
func rowsOf(t *testing.T, document, heading string) (rows []string) {
	t.Helper()
	_, rest, ok := strings.Cut(document, "\n## "+heading+"\n")
	require.True(t, ok, heading)
	for line := range strings.Lines(rest) {
		cells := strings.Split(line, " | ")
		switch isRow := strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| fault |") && !strings.HasPrefix(line, "| |"); {
		case isRow:
			rows = append(rows, strings.TrimPrefix(cells[0], "| "))
		case len(rows) > 0:
			return rows
		}
	}
	return rows
}

func TestTableHasTheRowsOfTheDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/SEMANTICS.md")
	require.NoError(t, err)
	rows := make(map[string][]string)
	var sections []string
	for _, r := range check.Table() {
		if len(rows[r.Section]) == 0 {
			sections = append(sections, r.Section)
		}
		rows[r.Section] = append(rows[r.Section], r.Fault)
	}
	require.Equal(t, []string{"Fault by fault", "With an Executor", "In the handler's database", "The stores"}, sections)
	for _, section := range sections[:3] {
		require.Equal(t, rowsOf(t, string(text), section), rows[section])
	}
	require.Subset(t, rowsOf(t, string(text), "The stores"), rows["The stores"])
}

func TestEachPromiseIsFound(t *testing.T) {
	t.Parallel()
	for _, r := range check.Table() {
		for _, p := range r.Promises {
			require.NotEmpty(t, p.First, r.Fault)
			require.NotEmpty(t, p.Retry, r.Fault)
			require.LessOrEqual(t, p.Min, p.Max, r.Fault)
			found := false
			for _, way := range p.Ways {
				for _, window := range p.Windows {
					for _, action := range p.Actions {
						row, _ := check.RowFor(p.Store, check.Cell{Way: way, Window: window, Action: action})
						found = found || row.Fault == r.Fault
					}
				}
			}
			require.True(t, found, "another row hides %q: %+v", r.Fault, p)
		}
	}
}

func TestPromises(t *testing.T) {
	t.Parallel()
	found := []string{check.NotAsDocumented}
	slow := attempts("0", 2)
	after := hit(history.AfterEffect, history.Kill, "s1.1", 12)
	died := []step{
		asks("0", 0, 10), gets("0", 20, "0"), effect("s1.1-1", 10, 10), after,
		call(2000, 2020, 10, "201 s2.1-1"), effect("s2.1-1", 2010, 10),
	}
	lost := []step{
		asks("0", 0, 10), gets("0", 20, "0"), attempts("0", 1), effect("s1.1-1", 10, 10), hit(history.AfterEffect, history.Lose, "s1.1", 12),
		ends("s1.1-1", 15, "released", 502), call(30, 40, 10, "201 s1.2-1"), effect("s1.2-1", 35, 10),
	}
	circuitOpen := but("0", func(r *history.Return) { r.Err = history.CircuitOpen })
	settled := []step{
		call(0, 20, 10, unknown), hit(history.AfterMark, history.Pause, "s1.1", 5), ends("s1.1-1", 15, "unknown", 502),
		call(30, 40, 10, "402"), askedOf("s1"), during("stop", "s2.1", 10, 20),
	}
	run(t, []test{
		{"no answer", history.Plain, check.Rules{}, lost, found, dups("plain: answered 5xx")},
		{"no answer, because the circuit opened before another attempt", history.Plain, check.Rules{}, append(lost, circuitOpen), nil, dups("plain: answered 5xx")},
		{"no effect", history.BeginEffect, check.Rules{Store: "redis"}, settled, found, nil},
		{"no effect, and a process that was stopped can have the lock", history.BeginEffect, check.Rules{Store: "sqlite"}, settled, nil, nil},
		{
			"stopped after its claim, and it has learned of its lost lease after its mark", history.BeginEffect, check.Rules{},
			[]step{
				call(0, 1500, 10, unknown), hit(history.AfterClaim, history.Stop, "s1.1", 5), effect("s1.1-1", 1400, 10),
				ends("s1.1-1", 1450, "unknown", 502), call(1600, 1620, 10, "201 s1.1-1"),
			}, nil, nil,
		},
		{"as documented", history.Plain, check.Rules{}, died, nil, dups("plain: process died")},
		{"as documented, with the end of the process", history.Plain, check.Rules{}, append(died, during("kill", "s1.1", 12, 900)), nil, dups("plain: process died")},
		{
			"too few effects", history.DerivedKey, check.Rules{},
			[]step{asks("0", 0, 10), gets("0", 20, "0"), after, call(2000, 2020, 10, "402 s2.1-1")}, found, nil,
		},
		{
			"no effect at all", history.FinishTx, check.Rules{},
			[]step{call(0, 20, 10, "201 s1.1-1"), hit(history.OnTheWay, history.Delay, "", 5)},
			[]string{check.LostEffect, check.NotAsDocumented}, nil,
		},
		{
			"too many effects", history.Plain, check.Rules{},
			[]step{call(0, 20, 10, "500"), effect("s1.1-1", 10, 10), ends("s1.1-1", 15, "released", 500), hit(history.OnTheWay, history.Delay, "", 5), call(30, 40, 10, "201 s1.1-2"), effect("s1.1-2", 35, 10)},
			found, dups("plain: answered 5xx"),
		},
		{
			"the same, and the store was in trouble", history.Plain, check.Rules{},
			[]step{call(0, 20, 10, "500"), effect("s1.1-1", 10, 10), ends("s1.1-1", 15, "released", 500), hit(history.OnTheWay, history.Delay, "", 5), call(30, 40, 10, "201 s1.1-2"), effect("s1.1-2", 35, 10), during("slow", "store", 15, 16)},
			nil, dups("plain: answered 5xx"),
		},
		{
			"the same, and there was another hit", history.Plain, check.Rules{},
			[]step{call(0, 20, 10, "500"), effect("s1.1-1", 10, 10), ends("s1.1-1", 15, "released", 500), hit(history.OnTheWay, history.Delay, "", 5), call(30, 40, 10, "201 s1.1-2"), effect("s1.1-2", 35, 10), hit(history.BeforeReply, history.Pause, "s1.1", 16)},
			nil, dups("plain: answered 5xx"),
		},
		{
			"a request that arrives late, after the end of a Memory", history.Plain, memory,
			ran(hit(history.OnTheWay, history.Delay, "", 1), ended, effect("s1.2-1", 1000, 10)), nil, dups("plain: record lost by the store"),
		},
		{
			"a request that arrives late in the same life", history.Plain, memory,
			ran(hit(history.OnTheWay, history.Delay, "", 1), effect("s1.1-2", 1000, 10)), []string{check.DuplicateEffect, check.NotAsDocumented}, nil,
		},
		{
			"first answer", history.Plain, check.Rules{},
			ran(hit(history.BeforeClaim, history.Down, "s1.1", 5)), found, nil,
		},
		{
			"first answer, which the client did not see", history.Plain, check.Rules{},
			ran(slow, hit(history.BeforeClaim, history.Down, "s1.1", 5)), nil, nil,
		},
		{
			"first answer of the last attempt", history.Plain, check.Rules{},
			[]step{
				call(0, 20, 10, "409 nothing_done"), attempts("0", 2), hit(history.BeforeEffect, history.Forget, "s1.1", 15), ends("s1.1-1", 18, "released", 409),
				call(30, 40, 10, "201 s1.1-2"), effect("s1.1-2", 35, 10),
			}, nil, nil,
		},
		{
			"an answer that no attempt may get", history.Plain, check.Rules{},
			[]step{
				call(0, 20, 10, "402"), attempts("0", 2), hit(history.BeforeEffect, history.Forget, "s1.1", 15), ends("s1.1-1", 18, "released", 409),
				call(30, 40, 10, "201 s1.1-2"), effect("s1.1-2", 35, 10),
			}, []string{check.TwoAnswers, check.NotAsDocumented}, nil,
		},
		{
			"first answer, and it is not clear which one that is", history.Plain, check.Rules{},
			ran(call(1, 20, 10, "201 s1.1-1"), hit(history.BeforeClaim, history.Down, "s1.1", 5)), nil, nil,
		},
		{
			"retry", history.BeginEffect, check.Rules{},
			[]step{call(0, 20, 10, "500"), hit(history.BeforeMark, history.Fail, "s1.1", 5), call(30, 40, 10, unknown), call(50, 60, 10, "201 s1.1-1"), effect("s1.1-1", 55, 10)},
			found, nil,
		},
		{
			"retry with another amount", history.BeginEffect, check.Rules{},
			[]step{call(0, 20, 10, "500"), hit(history.BeforeMark, history.Fail, "s1.1", 5), call(50, 60, 10, "201 s1.1-1"), effect("s1.1-1", 55, 10), call(70, 80, 11, conflict)},
			nil, nil,
		},
		{
			"retry while the first request runs", history.Plain, check.Rules{},
			ran(hit(history.OnTheWay, history.Delay, "", 1), call(5, 10, 10, "429 idempotency_in_progress")), nil, nil,
		},
		{
			"another store", history.BeginEffect, check.Rules{Store: "redis"},
			[]step{asks("0", 0, 10), gets("0", 20, "0"), after, effect("s1.1-1", 10, 10), call(2000, 2020, 10, "402")},
			[]string{check.LostEffect, check.NotAsDocumented}, nil,
		},
		{
			"memory", history.BeginEffect, memory,
			[]step{asks("0", 0, 10), gets("0", 20, "0"), after, during("kill", "s1.1", 13, 90), effect("s1.1-1", 10, 10), call(2000, 2020, 10, "201 s1.2-1"), effect("s1.2-1", 2010, 10)},
			nil, dups("BeginEffect: record lost by the store"),
		},
		{"unknown cell", history.Plain, check.Rules{}, ran(hit("nowhere", history.Kill, "s1.1", 12)), nil, nil},
	})
}

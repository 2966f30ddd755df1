package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/brownout"
	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/ledger"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

func TestVerifySaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	// without removes the cells for which is is true.
	without := func(l *ledger.Ledger, is func(check.Count) bool) {
		for i := range l.Stores {
			l.Stores[i].Cells = slices.DeleteFunc(l.Stores[i].Cells, is)
		}
	}
	for _, c := range []struct {
		name   string
		change func(l *ledger.Ledger)
		want   string // an empty one is no error
	}{
		{"nothing", func(*ledger.Ledger) {}, ""},
		{"finding", func(l *ledger.Ledger) {
			l.Add(ledger.Episode{Seed: 9, Store: stores.Redis, Result: check.Result{
				Findings: []check.Finding{{Check: check.TwoAnswers, Detail: "this and that"}},
			}})
		}, "two answers with redis in episode 9: this and that"},
		{"leak", func(l *ledger.Ledger) {
			l.Add(ledger.Episode{Seed: 9, Store: stores.Redis, Leaks: []string{"7 goroutines"}})
		}, "leak with redis in episode 9: 7 goroutines"},
		{"window that was not hit", func(l *ledger.Ledger) {
			without(l, func(c check.Count) bool { return c.Window == history.AfterFinish && c.Action == history.Lose })
		}, "lose after finish was hit 0 times, and not 10"},
		{"way that was not hit", func(l *ledger.Ledger) {
			without(l, func(c check.Count) bool {
				return c.Window == history.AfterFinish && c.Action == history.Lose && c.Way == history.FinishTx
			})
		}, "lose after finish was never hit in the way FinishTx"},
		{"store whose keys all met several faults", func(l *ledger.Ledger) {
			for i := range l.Stores[len(l.Stores)-1].Cells {
				l.Stores[len(l.Stores)-1].Cells[i].Keys = 0
			}
		}, "with sqlite, only 0 keys met exactly one fault, and not 100"},
		{"effect that never happened again", func(l *ledger.Ledger) {
			for _, s := range l.Stores {
				for i := range s.Cells {
					if s.Cells[i].Action == history.Kill && s.Name != stores.Memory {
						s.Cells[i].Effects[2] = 0
					}
				}
			}
		}, `no effect happened again after "the process dies while the handler runs"`},
		{"bug that was not found", func(l *ledger.Ledger) { l.Planted[0].After = 0 }, `the bug "` + service.Bugs()[0].Name + `" was not found`},
		{"bug that was not planted", func(l *ledger.Ledger) { l.Planted = l.Planted[1:] }, `the bug "` + service.Bugs()[0].Name + `" was not found`},
		{"finding about limits", func(l *ledger.Ledger) { l.Limits.Findings = []string{"too many"} }, "limits: too many"},
		{"bug of limits", func(l *ledger.Ledger) { l.Limits.Planted[0].Check = "" }, `limits: the bug "a refund is given twice" was not found`},
		{"finding about a brown-out", func(l *ledger.Ledger) {
			for i, a := range l.BrownOut.Scenarios[0].Arms {
				if a.Name == brownout.Seawall {
					l.BrownOut.Scenarios[0].Arms[i].Recovered = false
				}
			}
		}, "brown-out: slow: the upstream did not recover"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, err := ledger.Read("testdata/example/ledger.json")
			require.NoError(t, err)
			c.change(l)

			err = l.Verify(10, failpoints())

			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}

func TestVerifyWantsAsManyHitsAsItIsTold(t *testing.T) {
	t.Parallel()
	l := &ledger.Ledger{}
	for _, b := range service.Bugs() {
		l.Planted = append(l.Planted, ledger.Planted{Bug: b.Name, After: time.Second})
	}
	l.Add(ledger.Episode{Store: stores.Redis, Result: check.Result{Cells: []check.Count{
		count(history.Plain, history.AfterReply, history.Kill, 0, 6, 0),
		count(history.BeginEffect, history.AfterReply, history.Kill, 0, 3, 0),
		count(history.Plain, history.OnTheWay, history.Delay, 0, 91, 0),
	}}})
	points := []service.Arm{
		{Way: history.Plain, Window: history.AfterReply, Action: history.Kill},
		{Way: history.BeginEffect, Window: history.AfterReply, Action: history.Kill},
	}

	require.NoError(t, l.Verify(9, points))
	require.EqualError(t, l.Verify(10, points), "kill after reply was hit 9 times, and not 10")
}

// failpoints returns all failpoints of the service.
func failpoints() (all []service.Arm) {
	for _, w := range []history.Way{
		history.Plain, history.BeginEffect, history.DerivedKey, history.Executor, history.FinishTx, history.BeginEffectTx,
	} {
		all = append(all, service.Failpoints(w)...)
	}
	return all
}

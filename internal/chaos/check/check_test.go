package check_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

const (
	conflict    = "409 idempotency_conflict"
	unknown     = "409 idempotency_outcome_unknown"
	unavailable = "409 idempotency_response_unavailable"
)

// forgetful are the rules of a store that can lose every record.
var forgetful = check.Rules{Forgets: func(*history.History, string, int64, int64) bool { return true }}

type test struct {
	name  string
	way   history.Way
	rules check.Rules
	steps []step
	finds []string       // the checks that find something
	dups  map[string]int // Result.Duplicates
}

func run(t *testing.T, tests []test) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := check.Check(historyOf(tt.way, tt.steps...), tt.rules)
			var found []string
			for _, f := range r.Findings {
				found = append(found, f.Check)
				require.NotEmpty(t, f.Detail)
			}
			require.Equal(t, tt.finds, found, "%+v", r.Findings)
			if tt.dups == nil {
				tt.dups = map[string]int{}
			}
			require.Equal(t, tt.dups, r.Duplicates)
		})
	}
}

func dups(names ...string) map[string]int {
	m := map[string]int{}
	for _, n := range names {
		m[n]++
	}
	return m
}

// twice is a key whose request fails, runs again, and has two effects. What explains that is added.
func twice(steps ...step) []step {
	return append([]step{
		call(0, 20, 10, "503 service_unavailable"), effect("s1.1-1", 10, 10),
		call(2000, 2020, 10, "201 s2.1-1"), effect("s2.1-1", 2010, 10),
	}, steps...)
}

func TestDuplicateEffects(t *testing.T) {
	t.Parallel()
	found := []string{check.DuplicateEffect}
	run(t, []test{
		{"one effect", history.Plain, check.Rules{}, []step{call(0, 20, 10, "201 s1.1-1"), effect("s1.1-1", 10, 10)}, nil, nil},
		{"plain, and nothing explains it", history.Plain, check.Rules{}, twice(), found, nil},
		{"plain, the process died", history.Plain, check.Rules{}, twice(during("kill", "s1.1", 15, 500)), nil, dups("plain: process died")},
		{"plain, killed in a window", history.Plain, check.Rules{}, twice(hit(history.AfterEffect, history.Kill, "s1.1", 12)), nil, dups("plain: process died")},
		{"plain, another incarnation died", history.Plain, check.Rules{}, twice(during("kill", "s1.2", 15, 500)), found, nil},
		{"plain, the process died long after the run", history.Plain, check.Rules{}, twice(during("kill", "s1.1", 30_000, 31_000)), found, nil},
		{
			"plain, the process died long after the run, but was stopped", history.Plain, check.Rules{},
			twice(during("stop", "s1.1", 15, 30_000), during("kill", "s1.1", 30_000, 31_000)), nil, dups("plain: process died"),
		},
		{
			"plain, the process died after a client was told", history.Plain, check.Rules{},
			[]step{
				call(0, 20, 10, "201 s1.1-1"), effect("s1.1-1", 10, 10), during("kill", "s1.1", 30, 500),
				asks("b", 2000, 10), gets("b", 2020, "503"), effect("s2.1-1", 2010, 10),
			},
			found, nil,
		},
		{"plain, not recorded", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "unrecorded", 201)), nil, dups("plain: response not recorded")},
		{"plain, lease lost", history.Plain, check.Rules{}, twice(lost("s1.1-1", 20)), nil, dups("plain: lease lost")},
		{
			"plain, the run that lost its lease charges later", history.Plain, check.Rules{Lease: time.Second},
			[]step{
				call(0, 20, 10, "503"), effect("s1.1-1", 10, 10), call(2000, 2020, 10, "201 s1.1-1"),
				effect("s2.1-1", 2500, 10), lost("s2.1-1", 2600),
			},
			nil, dups("plain: lease lost"),
		},
		{
			"plain, long after a client was told of another run", history.Plain, check.Rules{},
			ran(effect("s2.1-1", 30_000, 10), lost("s2.1-1", 30_001), call(30_000, 30_020, 10, "201 s1.1-1")), found, nil,
		},
		{
			"plain, the same, but the process was stopped", history.Plain, check.Rules{},
			ran(effect("s2.1-1", 30_000, 10), lost("s2.1-1", 30_001), call(30_000, 30_020, 10, "201 s1.1-1"), during("stop", "s2.1", 5, 29_000)),
			nil, dups("plain: lease lost"),
		},
		{"plain, lost sooner than a lease can be", history.Plain, check.Rules{Lease: time.Second}, twice(lost("s1.1-1", 900)), found, nil},
		{
			"plain, lost sooner because of the clock", history.Plain, check.Rules{Lease: time.Second},
			twice(lost("s1.1-1", 900), during("clock forward", "store", 100, 200)), nil, dups("plain: lease lost"),
		},
		{"plain, 5xx", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 500)), nil, dups("plain: answered 5xx")},
		{"plain, panic", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 0)), nil, dups("plain: panic")},
		{"plain, MaxRun", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 504)), nil, dups("plain: MaxRun passed")},
		{"plain, Forget", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 409)), nil, dups("plain: Forget")},
		{"plain, released although its status is kept", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 201)), found, nil},
		{"plain, not kept", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "not_kept", 201)), found, nil},
		{"plain, the store forgets", history.Plain, forgetful, twice(), nil, dups("plain: record lost by the store")},
		{
			"plain, a run after one that was recorded", history.Plain, check.Rules{},
			[]step{
				call(0, 20, 10, "201 s1.1-1"), effect("s1.1-1", 10, 10),
				call(2000, 2020, 10, "500"), effect("s2.1-1", 2010, 10), ends("s2.1-1", 2020, "released", 500),
				call(3000, 3020, 10, "201 s1.1-1"),
			},
			found, nil,
		},
		{"BeginEffect", history.BeginEffect, check.Rules{}, twice(during("kill", "s1.1", 15, 500)), found, nil},
		{"BeginEffect, the store forgets", history.BeginEffect, forgetful, twice(), nil, dups("BeginEffect: record lost by the store")},
		{"DerivedKey", history.DerivedKey, forgetful, twice(), found, nil},
		{"Executor", history.Executor, forgetful, twice(), found, nil},
		{"FinishTx", history.FinishTx, check.Rules{}, twice(during("kill", "s1.1", 15, 500)), found, nil},
		{"BeginEffectTx", history.BeginEffectTx, check.Rules{}, twice(), found, nil},
	})
}

// ran is a key that was answered by its only run.
func ran(steps ...step) []step {
	return append([]step{call(0, 20, 10, "201 s1.1-1"), effect("s1.1-1", 10, 10)}, steps...)
}

func TestLostEffects(t *testing.T) {
	t.Parallel()
	found := []string{check.LostEffect}
	run(t, []test{
		{"none", history.Plain, check.Rules{}, []step{call(0, 20, 10, "201 s1.1-1")}, found, nil},
		{"of another run", history.Plain, check.Rules{}, []step{call(0, 20, 10, "201 s1.1-1"), effect("s1.1-2", 10, 10)}, found, nil},
		{"of another amount", history.Plain, check.Rules{}, []step{call(0, 20, 10, "201 s1.1-1"), call(5, 20, 11, conflict), effect("s1.1-1", 10, 11)}, found, nil},
		{"that no call asked for", history.Plain, check.Rules{}, []step{call(0, 20, 10, "402"), effect("s1.1-1", 10, 11)}, found, nil},
		{"of a key without a call", history.Plain, check.Rules{}, []step{effect("s1.1-1", 10, 11)}, found, nil},
		{"and 402", history.BeginEffect, check.Rules{}, []step{call(0, 20, 10, "402 s1.1-2"), effect("s1.1-1", 10, 10)}, found, nil},
		{"and 402, but the store forgets", history.BeginEffect, forgetful, []step{call(0, 20, 10, "402 s1.1-2"), effect("s1.1-1", 10, 10)}, nil, nil},
		{"and 402, in a way that runs again", history.DerivedKey, check.Rules{}, []step{call(0, 20, 10, "402 s1.1-2"), effect("s1.1-1", 10, 10)}, nil, nil},
		{
			"and 402, which was not recorded", history.BeginEffect, check.Rules{},
			[]step{call(0, 20, 10, "402 s1.1-1"), ends("s1.1-1", 20, "unrecorded", 402), call(2000, 2020, 10, "201 s1.1-2"), effect("s1.1-2", 2010, 10)},
			nil, dups("BeginEffect: two answers: response not recorded"),
		},
		{
			"and the handler declines after it", history.Executor, check.Rules{},
			[]step{call(0, 20, 10, "402 s1.1-1"), effect("s1.1-1", 0, 10), func(h *history.History, way history.Way) {
				h.Hits = append(h.Hits, history.Hit{Key: keyName, Way: way, Window: history.AfterEffect, Action: history.Decline, Server: "s1.1", Run: "s1.1-1", At: 15 * ms})
			}}, nil, nil,
		},
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	again := []step{call(100, 120, 10, "201 s2.1-1"), effect("s2.1-1", 110, 10)}
	unrecorded := ends("s1.1-1", 15, "unrecorded", 201)
	other := ran(call(30, 40, 11, conflict))
	run(t, []test{
		{"replays", history.Plain, check.Rules{}, ran(call(30, 40, 10, "201 s1.1-1"), replayed("30")), nil, nil},
		{"two answers", history.DerivedKey, check.Rules{}, ran(call(100, 120, 10, "402 s2.1-1")), []string{check.TwoAnswers}, nil},
		{
			"two answers, the first one not recorded", history.Plain, check.Rules{}, append(ran(again...), unrecorded),
			nil, dups("plain: response not recorded", "plain: two answers: response not recorded"),
		},
		{
			"two answers after BeginEffect", history.BeginEffect, check.Rules{}, append(ran(again...), unrecorded),
			[]string{check.DuplicateEffect, check.TwoAnswers}, nil,
		},
		{
			"two answers, the store forgets", history.Plain, forgetful, ran(again...),
			nil, dups("plain: record lost by the store", "plain: two answers: record lost by the store"),
		},
		{
			"another key's answer", history.Plain, check.Rules{},
			ran(but("0", func(r *history.Return) { r.Answer.Key = "bob/k" })), []string{check.AnothersAnswer}, nil,
		},
		{
			"another amount's answer", history.Plain, check.Rules{},
			ran(call(30, 40, 11, "201 s1.1-1"), but("30", func(r *history.Return) { r.Answer.Amount = 10 })),
			[]string{check.AnothersAnswer, check.MissedConflict}, nil,
		},
		{"conflict", history.Plain, check.Rules{}, other, nil, nil},
		{"false conflict", history.Plain, check.Rules{}, ran(call(30, 40, 10, conflict)), []string{check.FalseConflict}, nil},
		{
			"missed conflict", history.Plain, check.Rules{}, ran(call(30, 40, 11, "201 s2.1-1"), effect("s2.1-1", 35, 11), unrecorded),
			[]string{check.MissedConflict}, dups("plain: response not recorded", "plain: two answers: response not recorded"),
		},
		{"unknown", history.BeginEffect, check.Rules{}, []step{call(0, 20, 10, unknown), call(30, 40, 10, "402")}, nil, nil},
		{"unknown without a mark", history.Plain, check.Rules{}, []step{call(0, 20, 10, unknown), call(30, 40, 10, "402")}, []string{check.UnknownUnmarked}, nil},
		{"no final answer", history.Plain, check.Rules{}, []step{call(0, 20, 10, "503"), asks("b", 30, 10)}, []string{check.NoFinalAnswer}, nil},
		{"unavailable", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable)), []string{check.UnavailableWithoutCause}, nil},
		{"unavailable, not kept", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable), ends("s1.1-1", 15, "not_kept", 201)), nil, nil},
		{"unavailable, the store is full", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable), during("full", "store", 5, 15)), nil, nil},
		{"unavailable, the store was full before", history.Plain, check.Rules{}, ran(asks("b", -5, 10), call(30, 40, 10, unavailable), during("full", "store", -15, -10)), []string{check.UnavailableWithoutCause}, nil},
		{"unavailable, large", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable), hit(history.AfterClaim, history.Large, "s1.1", 5)), nil, nil},
		{"replay of a 503", history.Plain, check.Rules{}, ran(call(30, 40, 10, "503"), replayed("30")), []string{check.FailureReplayed}, nil},
		{"replay of the 409 after a Forget", history.Plain, check.Rules{}, ran(call(30, 40, 10, "409 nothing_done"), replayed("30")), []string{check.FailureReplayed}, nil},
		{"409 after a Forget", history.Plain, check.Rules{}, ran(call(30, 40, 10, "409 nothing_done")), nil, nil},
	})
}

func TestLinearizability(t *testing.T) {
	t.Parallel()
	found := []string{check.NotLinearizable}
	run(t, []test{
		{"a conflict before the other request", history.Plain, check.Rules{}, []step{
			call(0, 5, 11, conflict), call(10, 20, 10, "201 s1.1-1"), effect("s1.1-1", 15, 10),
		}, found, nil},
		{"a conflict with a request that has failed since", history.Plain, check.Rules{}, []step{
			call(0, 20, 10, "500"), call(5, 10, 11, conflict), call(30, 40, 11, "201 s1.1-1"), effect("s1.1-1", 35, 11),
		}, nil, nil},
		{"a conflict with a request that takes effect late", history.Plain, check.Rules{}, []step{
			asks("late", 0, 10), call(5, 10, 11, "503"), call(30, 40, 11, conflict), effect("s1.1-1", 35, 10),
		}, nil, nil},
		{"a conflict of the request that ran", history.Plain, check.Rules{}, ran(call(30, 40, 11, conflict), call(50, 60, 10, conflict)), found, nil},
		{"unavailable, and then available", history.Plain, check.Rules{}, []step{
			call(0, 5, 10, unavailable), call(10, 20, 10, "201 s1.1-1"), effect("s1.1-1", 15, 10), ends("s1.1-1", 16, "not_kept", 201),
		}, found, nil},
		{"available, and then unavailable", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable), ends("s1.1-1", 16, "not_kept", 201)), nil, nil},
		{"unknown after the answer", history.BeginEffect, check.Rules{}, ran(call(30, 40, 10, unknown)), found, nil},
		{"unknown after the answer, which was not recorded", history.BeginEffect, check.Rules{}, ran(call(30, 40, 10, unknown), ends("s1.1-1", 16, "unrecorded", 201)), nil, nil},
		{"unknown after the answer, but the store forgets", history.BeginEffect, forgetful, ran(call(30, 40, 10, unknown)), nil, nil},
	})
}

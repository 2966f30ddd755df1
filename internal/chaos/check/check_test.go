package check_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

const (
	conflict    = "409 idempotency_conflict"
	unknown     = "409 idempotency_outcome_unknown"
	unavailable = "409 idempotency_response_unavailable"
)

// The rules of stores that can forget, and what makes them forget between the two calls of twice.
var (
	failover = check.Rules{Store: stores.RedisFailover}
	memory   = check.Rules{Store: stores.Memory}
	replaced = during("kill", "store 1", 500, 900)
	ended    = during("kill", "s1.1", 500, 900)
)

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

// lives is twice with a Memory: the same server has two lives.
func lives(steps ...step) []step {
	return append([]step{
		call(0, 20, 10, "201 s1.1-1"), effect("s1.1-1", 10, 10),
		call(2000, 2020, 10, "503"), effect("s1.2-1", 2010, 10),
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
		{"plain, panic", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 0), hitRun(history.AfterEffect, history.Panic, "s1.1-1", 15)), nil, dups("plain: panic")},
		{"plain, a panic that nothing caused", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 0), hitRun(history.AfterEffect, history.Panic, "s2.1-1", 15)), found, nil},
		{"plain, MaxRun", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 504)), nil, dups("plain: MaxRun passed")},
		{"plain, Forget", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 409), hitRun("a window", history.Forget, "s1.1-1", 15)), nil, dups("plain: Forget")},
		{"plain, a Forget that nothing caused", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 409)), found, nil},
		{"plain, released although its status is kept", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "released", 201)), found, nil},
		{"plain, not kept", history.Plain, check.Rules{}, twice(ends("s1.1-1", 20, "not_kept", 201)), found, nil},
		{
			"plain, the process died, but after the next run began", history.Plain, check.Rules{Lease: 3 * time.Second},
			twice(during("kill", "s1.1", 9000, 9500)), found, nil,
		},
		{
			"plain, the same, but the lease can have been lost", history.Plain, check.Rules{Lease: time.Second},
			twice(during("kill", "s1.1", 9000, 9500)), nil, dups("plain: process died"),
		},
		{
			"plain, the same, but the run that failed was paused before its end", history.Plain, check.Rules{Lease: 3 * time.Second},
			twice(during("kill", "s1.1", 9000, 9500), hitRun("a window", history.Pause, "s1.1-1", 15)), nil, dups("plain: process died"),
		},
		{"plain, a master is replaced", history.Plain, failover, twice(replaced), nil, dups("plain: record lost by the store")},
		{"plain, a master that works again is replaced", history.Plain, failover, twice(during("stop", "store 1", -2000, -500)), nil, dups("plain: record lost by the store")},
		{"plain, a master has worked for longer than a failover", history.Plain, failover, twice(during("stop", "store 1", -5000, -3500)), found, nil},
		{"plain, a master is replaced later", history.Plain, failover, twice(during("kill", "store 1", 3000, 4000)), found, nil},
		{"plain, a master is slow", history.Plain, failover, twice(during("slow", "store", 500, 900)), found, nil},
		{"plain, a master is full", history.Plain, failover, twice(during("full", "store 1", 500, 900)), found, nil},
		{"plain, a server stops, with failover", history.Plain, failover, twice(during("stop", "s1.1", 500, 900)), found, nil},
		{"plain, a master is replaced in a cluster without failover", history.Plain, check.Rules{Store: stores.RedisCluster}, twice(replaced), found, nil},
		{"plain, the Memory ends", history.Plain, memory, lives(ended), nil, dups("plain: record lost by the store")},
		{"plain, the Memory ends twice", history.Plain, memory, lives(ended, call(2400, 2410, 10, "201 s1.2-1"), during("kill", "s1.2", 2500, 2900), effect("s1.3-1", 3000, 10), call(2990, 3010, 10, "503")), nil, dups("plain: record lost by the store", "plain: two answers: record lost by the store")},
		{"plain, the Memory ends once, and there are three effects", history.Plain, memory, lives(ended, effect("s1.2-2", 3000, 10), call(2990, 3010, 10, "503")), found, nil},
		{"plain, the process of a Memory stops", history.Plain, memory, lives(during("stop", "s1.1", 500, 900)), found, nil},
		{"plain, another Memory ends", history.Plain, memory, lives(during("kill", "s2.1", 500, 900), askedOf("s1")), found, nil},
		{"plain, twice in one life of a Memory", history.Plain, memory, []step{call(0, 5, 10, "none"), call(1000, 1020, 10, "503"), effect("s1.2-1", 1010, 10), effect("s1.2-2", 2010, 10), call(2000, 2020, 10, "201 s1.2-2"), ended}, found, nil},
		{
			"plain, again in the life of a Memory that has told its answer", history.Plain, memory,
			ran(during("kill", "s1.0", -5, 1), asks("first", -10, 10), call(100, 120, 10, "500"), effect("s1.1-2", 110, 10), ends("s1.1-2", 115, "released", 500)), found, nil,
		},
		{"plain, a Memory has no lease that can be lost", history.Plain, memory, twice(lost("s1.1-1", 1900)), found, nil},
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
		{"BeginEffect, a master is replaced", history.BeginEffect, failover, twice(replaced), nil, dups("BeginEffect: record lost by the store")},
		{"BeginEffect, a master is slow", history.BeginEffect, failover, twice(during("slow", "store", 500, 900)), found, nil},
		{"BeginEffect, the Memory ends", history.BeginEffect, memory, lives(ended), nil, dups("BeginEffect: record lost by the store")},
		{"BeginEffect, the Memory ends once, and there are three effects", history.BeginEffect, memory, lives(ended, effect("s1.2-2", 3000, 10), call(2990, 3010, 10, "503")), found, nil},
		{"DerivedKey, a master is replaced", history.DerivedKey, failover, twice(replaced), found, nil},
		{"Executor, a master is replaced", history.Executor, failover, twice(replaced), found, nil},
		{"Executor, the process died", history.Executor, check.Rules{}, twice(during("kill", "s1.1", 15, 500)), found, nil},
		{"Executor, not recorded", history.Executor, check.Rules{}, twice(ends("s1.1-1", 20, "unrecorded", 201)), found, nil},
		{"FinishTx, lease lost", history.FinishTx, check.Rules{}, twice(lost("s1.1-1", 20)), found, nil},
		{"BeginEffectTx, 5xx", history.BeginEffectTx, check.Rules{}, twice(ends("s1.1-1", 20, "released", 500)), found, nil},
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
		{"that no call had asked for yet", history.Plain, check.Rules{}, []step{call(30, 40, 10, "201 s1.1-1"), effect("s1.1-1", 10, 10)}, found, nil},
		{"in another way", history.Executor, check.Rules{}, ran(func(h *history.History, _ history.Way) { h.Effects[0].Way = history.Plain }), found, nil},
		{"of a key without a call", history.Plain, check.Rules{}, []step{effect("s1.1-1", 10, 11)}, found, nil},
		{"and the response is not available", history.Plain, check.Rules{}, []step{call(0, 20, 10, unavailable), during("full", "store", 5, 9)}, found, nil},
		{
			"and the response is not available, but it may be a 402", history.Plain, check.Rules{},
			[]step{call(0, 20, 10, unavailable), during("full", "store", 5, 9), hit(history.BeforeEffect, history.Decline, "s1.1", 6)}, nil, nil,
		},
		{"and 402", history.BeginEffect, check.Rules{}, []step{call(0, 20, 10, "402 s1.1-2"), effect("s1.1-1", 10, 10)}, found, nil},
		{"and 402, but a master is replaced", history.BeginEffect, failover, []step{call(0, 1000, 10, "402 s1.1-2"), effect("s1.1-1", 10, 10), replaced}, nil, nil},
		{"and 402, and a master is slow", history.BeginEffect, failover, []step{call(0, 1000, 10, "402 s1.1-2"), effect("s1.1-1", 10, 10), during("slow", "store", 500, 900)}, found, nil},
		{"and 402, but the Memory ends", history.BeginEffect, memory, []step{call(0, 1000, 10, "402 s1.2-1"), effect("s1.1-1", 10, 10), ended}, nil, nil},
		{"and 402 in the same life of a Memory", history.BeginEffect, memory, []step{call(0, 1000, 10, "402 s1.2-2"), effect("s1.2-1", 910, 10), ended}, found, nil},
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
			"two answers, a master is replaced", history.Plain, failover, append(ran(again...), during("kill", "store 1", 50, 90)),
			nil, dups("plain: record lost by the store", "plain: two answers: record lost by the store"),
		},
		{
			"two answers, a master is replaced before the first one", history.DerivedKey, failover,
			[]step{call(0, 5, 10, "503"), during("kill", "store 1", 10, 90), call(4100, 4120, 10, "201 s1.1-1"), effect("s1.1-1", 4110, 10), call(4200, 4220, 10, "402 s2.1-1")},
			[]string{check.TwoAnswers}, nil,
		},
		{
			"two answers of one life of a Memory, which ended before", history.DerivedKey, memory,
			[]step{call(0, 5, 10, "503"), during("kill", "s1.1", 10, 90), call(100, 120, 10, "201 s1.2-1"), effect("s1.2-1", 110, 10), call(200, 220, 10, "402 s1.2-2")},
			[]string{check.TwoAnswers}, nil,
		},
		{
			"an answer, another one because a master is replaced, and the first one again", history.DerivedKey, failover,
			ran(during("kill", "store 1", 50, 90), call(4100, 4120, 10, "402 s2.1-1"), call(4200, 4220, 10, "201 s1.1-1")),
			[]string{check.TwoAnswers}, nil,
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
		{"another amount's 402", history.Plain, check.Rules{}, []step{call(0, 20, 10, "402 s1.1-1"), call(30, 40, 11, "402 s1.1-1"), but("30", func(r *history.Return) { r.Answer.Amount = 10 })}, []string{check.AnothersAnswer}, nil},
		{"the 402 of an operator", history.BeginEffect, check.Rules{}, []step{call(0, 20, 10, unknown), call(30, 40, 10, "402 settled"), but("30", func(r *history.Return) { r.Answer.Amount = 0 })}, nil, nil},
		{"conflict", history.Plain, check.Rules{}, other, nil, nil},
		{"false conflict at the provider", history.DerivedKey, check.Rules{}, ran(call(30, 40, 10, "409 provider_conflict")), []string{check.FalseConflict}, nil},
		{"conflict at the provider with the first of two amounts", history.DerivedKey, check.Rules{}, []step{
			call(0, 40, 10, "409 idempotency_conflict"), effect("s1.1-1", 10, 10), hit(history.AfterEffect, history.Fail, "s1.1", 12),
			ends("s1.1-1", 14, "released", 500), call(13, 42, 11, "409 provider_conflict"),
		}, nil, nil},
		{"replay of a conflict at the provider", history.DerivedKey, check.Rules{}, ran(call(30, 40, 11, "409 provider_conflict"), replayed("30")), nil, nil},
		{
			"missed conflict, and a master is replaced later", history.Plain, failover,
			ran(call(30, 40, 11, "201 s2.1-1"), effect("s2.1-1", 35, 11), call(300, 320, 10, "201 s1.1-1"), during("kill", "store 1", 50, 90)),
			[]string{check.DuplicateEffect, check.TwoAnswers, check.MissedConflict}, nil,
		},
		{"false conflict", history.Plain, check.Rules{}, ran(call(30, 40, 10, conflict)), []string{check.FalseConflict}, nil},
		{
			"missed conflict", history.Plain, check.Rules{}, ran(call(30, 40, 11, "201 s2.1-1"), effect("s2.1-1", 35, 11), unrecorded),
			[]string{check.MissedConflict}, dups("plain: response not recorded", "plain: two answers: response not recorded"),
		},
		{"unknown", history.BeginEffect, check.Rules{}, []step{call(0, 20, 10, unknown), call(30, 40, 10, "402")}, nil, nil},
		{"unknown without a mark", history.Plain, check.Rules{}, []step{call(0, 20, 10, unknown), call(30, 40, 10, "402")}, []string{check.UnknownUnmarked}, nil},
		{"no final answer", history.Plain, check.Rules{}, []step{call(0, 20, 10, "503"), asks("b", 30, 10)}, []string{check.NoFinalAnswer}, nil},
		{"no final answer for another amount", history.Plain, check.Rules{}, ran(call(30, 40, 11, "429 idempotency_in_progress")), []string{check.NoFinalAnswer}, nil},
		{"unavailable", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable)), []string{check.UnavailableWithoutCause}, nil},
		{"unavailable, because a server says so", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable), ends("s1.1-1", 15, "not_kept", 201)), []string{check.UnavailableWithoutCause}, nil},
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
	large, down := hit(history.AfterClaim, history.Large, "s1.1", 12), hit(history.AfterClaim, history.Down, "s1.1", 13)
	run(t, []test{
		{"a conflict before the other request", history.Plain, check.Rules{}, []step{
			call(0, 5, 11, conflict), call(10, 20, 10, "201 s1.1-1"), effect("s1.1-1", 15, 10),
		}, found, nil},
		{"a conflict with a request that has failed since", history.Plain, check.Rules{}, []step{
			call(0, 20, 10, "500"), call(5, 10, 11, conflict), call(30, 40, 11, "201 s1.1-1"), effect("s1.1-1", 35, 11), call(50, 60, 10, conflict),
		}, nil, nil},
		{"a conflict with a request that takes effect late", history.Plain, check.Rules{}, []step{
			asks("late", 0, 10), call(5, 10, 11, "503"), call(30, 40, 11, conflict), effect("s1.1-1", 35, 10), call(50, 60, 10, "201 s1.1-1"),
		}, nil, nil},
		{"a conflict of the request that ran", history.Plain, check.Rules{}, ran(call(30, 40, 11, conflict), call(50, 60, 10, conflict)), found, nil},
		{"unavailable, and then available", history.Plain, check.Rules{}, []step{
			call(0, 5, 10, unavailable), call(10, 20, 10, "201 s1.1-1"), effect("s1.1-1", 15, 10), large,
		}, found, nil},
		{"available, and then unavailable", history.Plain, check.Rules{}, ran(call(30, 40, 10, unavailable), large), nil, nil},
		{"unavailable, and then available, since that was not recorded", history.DerivedKey, check.Rules{}, []step{
			call(0, 30, 10, unavailable), effect("s1.1-1", 15, 10), ends("s1.1-1", 20, "unrecorded", 201), large, down, call(50, 60, 10, "201 s1.1-1"),
		}, nil, nil},
		{"unavailable after what was not recorded, and then available", history.DerivedKey, check.Rules{}, []step{
			asks("first", 0, 10), effect("s1.1-1", 15, 10), ends("s1.1-1", 20, "unrecorded", 201), large, down,
			call(25, 30, 10, unavailable), call(50, 60, 10, "201 s1.1-1"),
		}, found, nil},
		{"unknown after the answer", history.BeginEffect, check.Rules{}, ran(call(30, 40, 10, unknown)), found, nil},
		{"unknown after the answer, which was not recorded", history.BeginEffect, check.Rules{}, ran(call(30, 40, 10, unknown), ends("s1.1-1", 16, "unrecorded", 201)), nil, nil},
		{"unknown after the answer, but a master is replaced", history.BeginEffect, failover, ran(call(30, 40, 10, unknown), during("kill", "store 1", 25, 28)), nil, nil},
	})
}

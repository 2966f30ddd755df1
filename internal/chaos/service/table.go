package service

import (
	"slices"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

var ways = history.Ways()

// process is what can happen to a process everywhere.
var process = []history.Action{history.Kill, history.Stop, history.Pause}

// handler is what a handler can do everywhere before its last step.
var handler = with(process, history.Panic, history.Fail, history.Overrun)

// nothingDone is what only a handler does that has done nothing, or can undo it.
var nothingDone = []history.Action{history.Decline, history.Forget}

func with(list []history.Action, more ...history.Action) []history.Action {
	return slices.Concat(list, more)
}

// A row is a window, and what can happen there.
type row struct {
	window  history.Window
	actions []history.Action
}

// around are the rows of every way.
var around = []row{
	{history.BeforeReply, process},
	{history.AfterReply, process},
}

// leased are those of the ways with a lease. A Pause within Finish would only be a slow store: the
// Guard gives up after three times StoreTimeout.
var leased = []row{
	{history.BeforeClaim, with(process, history.Refuse, history.Down)},
	{history.AfterClaim, slices.Concat(handler, nothingDone, []history.Action{history.Large, history.Lose, history.Down})},
	{history.BeforeFinish, []history.Action{history.Kill, history.Stop, history.Refuse, history.Down}},
	{history.AfterFinish, []history.Action{history.Kill, history.Stop, history.Lose}},
}

// full is the window of a store without room. With FinishTx, Finish finds the response recorded.
var full = row{history.BeforeFinish, []history.Action{history.Full}}

// charges are those of the ways that charge at the provider.
var charges = []row{
	{history.BeforeEffect, with(handler, nothingDone...)},
	{history.AfterEffect, with(handler, history.Lose)},
}

// rows are those of the handler's or the Executor's transaction. A handler that fails before the
// commit has done nothing, because everything is rolled back.
var rows = []row{
	{history.BeforeEffect, with(handler, nothingDone...)},
	{history.AfterEffect, with(handler, nothingDone...)},
}

// commits are those of the handler's own COMMIT.
var commits = []row{
	{history.BeforeCommit, with(handler, history.Refuse)},
	{history.AfterCommit, with(handler, history.Lose)},
}

// table has the rows of each way.
var table = map[history.Way][]row{
	history.Plain:      slices.Concat(around, leased, charges, []row{full}),
	history.DerivedKey: slices.Concat(around, leased, charges, []row{full}),
	history.BeginEffect: slices.Concat(around, leased, charges, []row{
		full,
		{history.BeforeMark, slices.Concat(handler, nothingDone, []history.Action{history.Refuse, history.Down})},
		{history.AfterMark, slices.Concat(handler, nothingDone, []history.Action{history.Lose})},
	}),
	history.FinishTx: slices.Concat(around, leased, rows, commits),
	history.BeginEffectTx: slices.Concat(around, leased, rows, commits, []row{
		full,
		{history.BeforeMark, handler},
		{history.AfterMark, handler},
	}),
	history.Executor: slices.Concat(around, rows, []row{
		{history.BeforeClaim, with(process, history.Refuse, history.Down)},
		{history.AfterClaim, slices.Concat(handler, nothingDone, []history.Action{history.Large})},
		{history.BeforeCommit, with(process, history.Refuse, history.Full)},
		{history.AfterCommit, with(process, history.Lose)},
	}),
}

// Failpoints returns what can be armed for a way.
func Failpoints(w history.Way) []Arm {
	var list []Arm
	for _, r := range table[w] {
		for _, a := range r.actions {
			list = append(list, Arm{Window: r.window, Action: a, Way: w})
		}
	}
	return list
}

// Suits reports whether the failpoint makes sense with a store. A call of a Memory cannot be
// refused or lost, and the Memory is never down. In SQLite, a transaction that waits would hold up
// all other writes; a process that is stopped does that too, and is enough.
func (a Arm) Suits(store string) bool {
	switch store {
	case stores.Memory:
		isCall := a.Action == history.Refuse || a.Action == history.Down ||
			a.Action == history.Lose && a.Window != history.AfterEffect
		return !isCall
	case stores.SQLite:
		return !a.Way.Transactional() || a.Action != history.Pause && a.Action != history.Overrun
	}
	return true
}

// isPossible reports whether the arm, whatever its Way, makes sense for a way.
func isPossible(a Arm, w history.Way) bool {
	a.Way = w
	return possible[a]
}

var possible = func() map[Arm]bool {
	m := make(map[Arm]bool)
	for _, w := range ways {
		for _, a := range Failpoints(w) {
			m[a] = true
		}
	}
	return m
}()

package check

import (
	"slices"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// A Row is a row of a table in docs/SEMANTICS.md, and what it promises for the faults that a chaos
// run can cause.
type Row struct {
	Section  string // the heading of the table
	Fault    string // the row's words
	Promises []Promise
}

// A Promise is what a Row says about some cells. The answers are a status, a status with a code,
// 5xx for any of those, or "none". A retry may also be answered none, 429, 502, 503 or 504 while
// the first request blocks the key, and a different request with the key 409 idempotency_conflict.
type Promise struct {
	Store    string // one of the names of package stores; any if empty
	Ways     []history.Way
	Windows  []history.Window
	Actions  []history.Action
	First    []string // what the request that was hit may be answered
	Retry    []string // what later requests may be answered
	Min, Max int      // effects
}

// Covers reports whether a promise is about a cell of a store.
func (p *Promise) Covers(store string, c Cell) bool {
	return (p.Store == "" || p.Store == store) && slices.Contains(p.Ways, c.Way) &&
		slices.Contains(p.Windows, c.Window) && slices.Contains(p.Actions, c.Action)
}

// RowFor returns the row that has the promise for a cell, and the promise. Both are nil if nothing
// is promised. One for the store comes before one for all stores.
func RowFor(store string, c Cell) (*Row, *Promise) {
	for _, general := range []bool{false, true} {
		for i := range table {
			for j := range table[i].Promises {
				if p := &table[i].Promises[j]; (p.Store == "") == general && p.Covers(store, c) {
					return &table[i], p
				}
			}
		}
	}
	return nil, nil
}

// PromiseFor returns the promise for a cell. It is nil if nothing is promised.
func PromiseFor(store string, c Cell) *Promise {
	_, p := RowFor(store, c)
	return p
}

// Table returns the rows, in the order of docs/SEMANTICS.md. Rows without promises are there too.
func Table() []Row { return slices.Clone(table) }

// The headings of the tables.
const (
	sectionFaults   = "Fault by fault"
	sectionExecutor = "With an Executor"
	sectionDatabase = "In the handler's database"
	sectionStores   = "The stores"
)

// The ways that behave alike.
var (
	allWays   = []history.Way{history.Plain, history.BeginEffect, history.DerivedKey, history.Executor, history.FinishTx, history.BeginEffectTx}
	provider  = []history.Way{history.Plain, history.BeginEffect, history.DerivedKey}
	plain     = []history.Way{history.Plain}
	marked    = []history.Way{history.BeginEffect}
	derived   = []history.Way{history.DerivedKey}
	executor  = []history.Way{history.Executor}
	finishTx  = []history.Way{history.FinishTx}
	markedTx  = []history.Way{history.BeginEffectTx}
	handlerTx = []history.Way{history.FinishTx, history.BeginEffectTx}
)

// The windows, as the faults see them.
var (
	anyWindow = []history.Window{
		history.BeforeClaim, history.AfterClaim, history.BeforeMark, history.AfterMark, history.BeforeEffect, history.AfterEffect,
		history.BeforeCommit, history.AfterCommit, history.BeforeFinish, history.AfterFinish, history.BeforeReply, history.AfterReply,
	}
	arrival    = []history.Window{history.BeforeClaim}
	onTheWay   = []history.Window{history.OnTheWay}
	beginning  = []history.Window{history.BeforeClaim, history.AfterClaim}
	unmarked   = []history.Window{history.BeforeClaim, history.AfterClaim, history.BeforeMark}
	marking    = []history.Window{history.BeforeMark}
	noEffect   = []history.Window{history.BeforeClaim, history.AfterClaim, history.BeforeMark, history.AfterMark, history.BeforeEffect}
	handling   = []history.Window{history.BeforeMark, history.AfterMark, history.BeforeEffect}
	running    = []history.Window{history.AfterClaim, history.BeforeMark, history.AfterMark, history.BeforeEffect, history.AfterEffect, history.BeforeFinish}
	notCharged = []history.Window{history.AfterMark, history.BeforeEffect}
	charged    = []history.Window{history.AfterEffect, history.BeforeFinish}
	replied    = []history.Window{history.AfterEffect}
	finished   = []history.Window{history.AfterFinish, history.BeforeReply, history.AfterReply}
	noCommit   = []history.Window{
		history.BeforeClaim, history.AfterClaim, history.BeforeMark, history.AfterMark, history.BeforeEffect, history.AfterEffect,
		history.BeforeCommit,
	}
	inTx      = []history.Window{history.AfterClaim, history.BeforeMark, history.AfterMark, history.BeforeEffect, history.AfterEffect, history.BeforeCommit}
	outOfTx   = []history.Window{history.AfterClaim, history.BeforeFinish, history.AfterFinish} // the calls of the store around it
	commit    = []history.Window{history.BeforeCommit, history.AfterCommit}
	committed = []history.Window{history.AfterCommit, history.BeforeFinish, history.AfterFinish, history.BeforeReply, history.AfterReply}
)

// The answers.
var (
	created      = []string{"201"}
	declined     = []string{"402"}
	none         = []string{"none"}
	failed       = []string{"5xx"}
	refused      = []string{"503"}
	perhaps      = []string{"201", "503"}
	notFinished  = []string{"201", "5xx", "none"}
	resolved     = []string{"201", "402", "409 " + codeUnknown} // unknown, until an operator settles it
	resolvedOnce = []string{"201", "409 " + codeUnknown}        // the same, and the effect has happened
	notAvailable = []string{"409 " + codeUnavailable}
	keptOrNot    = []string{"201", "409 " + codeUnavailable, "409 " + codeUnknown}
)

func action(a ...history.Action) []history.Action { return a }

// failures returns the promises for a run that fails and whose process lives: it runs again, or is
// unknown after BeginEffect.
func failures(first []string, actions ...history.Action) []Promise {
	return []Promise{
		{Ways: plain, Windows: noEffect, Actions: actions, First: first, Retry: created, Min: 1, Max: 1},
		{Ways: plain, Windows: charged, Actions: actions, First: first, Retry: created, Min: 1, Max: 2},
		{Ways: derived, Windows: running, Actions: actions, First: first, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: unmarked, Actions: actions, First: first, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: notCharged, Actions: actions, First: first, Retry: resolved, Min: 0, Max: 1},
		{Ways: marked, Windows: charged, Actions: actions, First: first, Retry: resolvedOnce, Min: 1, Max: 1},
	}
}

// providerFails are the promises if the provider's reply is lost, so that the handler answers 502.
var providerFails = []Promise{
	{Ways: plain, Windows: replied, Actions: action(history.Lose), First: failed, Retry: created, Min: 1, Max: 2},
	{Ways: derived, Windows: replied, Actions: action(history.Lose), First: failed, Retry: created, Min: 1, Max: 1},
	{Ways: marked, Windows: replied, Actions: action(history.Lose), First: failed, Retry: resolvedOnce, Min: 1, Max: 1},
}

var table = []Row{
	{sectionFaults, "none", []Promise{ // what does not disturb a request
		{Ways: allWays, Windows: onTheWay, Actions: action(history.Delay, history.Duplicate), First: []string{"201", "none"}, Retry: created, Min: 1, Max: 1},
		{Ways: allWays, Windows: onTheWay, Actions: action(history.Unsent), First: none, Retry: created, Min: 1, Max: 1},
		{Ways: provider, Windows: anyWindow, Actions: action(history.Pause), First: []string{"201", "none"}, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "the response is lost on the way", []Promise{
		{Ways: slices.Concat(provider, handlerTx), Windows: onTheWay, Actions: action(history.DropReply), First: none, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "the client leaves while the handler runs", []Promise{
		{Ways: slices.Concat(provider, handlerTx), Windows: onTheWay, Actions: action(history.Cut), First: none, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "the handler answers 4xx (except 401, 403, 408, 425, 429)", []Promise{
		{Ways: allWays, Windows: anyWindow, Actions: action(history.Decline), First: declined, Retry: declined, Min: 0, Max: 1},
	}},
	{sectionFaults, "the handler answers 5xx, 401, 403, 408, 425 or 429", slices.Concat(failures(failed, history.Fail), providerFails)},
	{sectionFaults, "the handler calls `Forget`", []Promise{
		{Ways: provider, Windows: noEffect, Actions: action(history.Forget), First: []string{"409"}, Retry: created, Min: 1, Max: 1},
		{Ways: plain, Windows: charged, Actions: action(history.Forget), First: []string{"409"}, Retry: created, Min: 1, Max: 2},
		{Ways: derived, Windows: charged, Actions: action(history.Forget), First: []string{"409"}, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "the handler returns an error in the middle of its response", nil},
	{sectionFaults, "the handler panics, aborts or calls `runtime.Goexit`", failures([]string{"500", "none"}, history.Panic)},
	{sectionFaults, "the chain's deadline or `MaxRun` passes before the handler has a response", failures([]string{"504", "none"}, history.Overrun)},
	{sectionFaults, "the server's base context ends with a cause before the handler has a response", nil},
	{sectionFaults, "the process dies before the handler begins", []Promise{
		{Ways: provider, Windows: beginning, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "the process dies while the handler runs", append(failures(none, history.Kill),
		Promise{Store: stores.Memory, Ways: provider, Windows: handling, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 1},
		Promise{Store: stores.Memory, Ways: slices.Concat(plain, marked), Windows: charged, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 2},
	)},
	{sectionFaults, "the process dies after the record, before the response", []Promise{
		{Ways: provider, Windows: finished, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 1},
		{Store: stores.Memory, Ways: slices.Concat(plain, marked), Windows: finished, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 2},
	}},
	{sectionFaults, "the process is paused for longer than the lease", []Promise{
		{Store: stores.Memory, Ways: provider, Windows: anyWindow, Actions: action(history.Stop), First: []string{"201", "none"}, Retry: created, Min: 1, Max: 1},
		{Ways: provider, Windows: slices.Concat(arrival, finished), Actions: action(history.Stop), First: []string{"201", "none"}, Retry: created, Min: 1, Max: 1},
		{Ways: plain, Windows: running, Actions: action(history.Stop), First: notFinished, Retry: created, Min: 1, Max: 2},
		{Ways: derived, Windows: running, Actions: action(history.Stop), First: notFinished, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: noEffect, Actions: action(history.Stop), First: notFinished, Retry: resolved, Min: 0, Max: 1}, // it may learn of its lost lease after its mark
		{Ways: marked, Windows: charged, Actions: action(history.Stop), First: notFinished, Retry: resolvedOnce, Min: 1, Max: 1},
	}},
	{sectionFaults, "as above, after a part of a large or streamed response was sent", nil},
	{sectionFaults, "the store is down when the request arrives", []Promise{
		{Ways: allWays, Windows: arrival, Actions: action(history.Down), First: refused, Retry: created, Min: 1, Max: 1},
		{Ways: allWays, Windows: arrival, Actions: action(history.Refuse), First: perhaps, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "the store is down at `BeginEffect`", []Promise{
		{Ways: marked, Windows: marking, Actions: action(history.Down), First: refused, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: marking, Actions: action(history.Refuse), First: perhaps, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "the store is down when the handler returns", []Promise{
		{Ways: plain, Windows: running, Actions: action(history.Down, history.Refuse), First: notFinished, Retry: created, Min: 1, Max: 2},
		{Ways: derived, Windows: running, Actions: action(history.Down, history.Refuse), First: notFinished, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: unmarked, Actions: action(history.Down, history.Refuse), First: notFinished, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: notCharged, Actions: action(history.Down, history.Refuse), First: notFinished, Retry: resolved, Min: 0, Max: 1},
		{Ways: marked, Windows: charged, Actions: action(history.Down, history.Refuse), First: notFinished, Retry: resolvedOnce, Min: 1, Max: 1},
		{Ways: provider, Windows: finished, Actions: action(history.Down, history.Refuse), First: created, Retry: created, Min: 1, Max: 1},
		{Ways: finishTx, Windows: outOfTx, Actions: action(history.Down, history.Refuse), First: perhaps, Retry: created, Min: 1, Max: 1},
		{Ways: markedTx, Windows: outOfTx, Actions: action(history.Down, history.Refuse), First: perhaps, Retry: resolvedOnce, Min: 1, Max: 1},
	}},
	{sectionFaults, "the store has no room for the response", []Promise{
		{Ways: provider, Windows: running, Actions: action(history.Full), First: created, Retry: notAvailable, Min: 1, Max: 1},
	}},
	{sectionFaults, "the response is over `MaxResponse`, or streamed", []Promise{
		{Ways: provider, Windows: anyWindow, Actions: action(history.Large), First: created, Retry: notAvailable, Min: 1, Max: 1},
	}},
	{sectionFaults, "as above, and it ends in the middle", nil},
	{sectionFaults, "the request body ends early or is too large", []Promise{
		{Ways: allWays, Windows: onTheWay, Actions: action(history.Half), First: []string{"400", "408", "none"}, Retry: created, Min: 1, Max: 1},
	}},
	{sectionFaults, "an upload does not match its Content-Digest", nil},
	{sectionFaults, "the `*http.ServeMux` that the middleware wraps answers by itself: a redirect, 404, 405", nil},

	{sectionExecutor, "the response is lost, or the client leaves", []Promise{
		{Ways: executor, Windows: onTheWay, Actions: action(history.DropReply, history.Cut), First: none, Retry: created, Min: 1, Max: 1},
	}},
	{sectionExecutor, "5xx, 401, 403, 408, 425, 429, a panic, a deadline, `Forget`", []Promise{
		{Ways: executor, Windows: noCommit, Actions: action(history.Fail), First: failed, Retry: created, Min: 1, Max: 1},
		{Ways: executor, Windows: noCommit, Actions: action(history.Panic), First: []string{"500", "none"}, Retry: created, Min: 1, Max: 1},
		{Ways: executor, Windows: noCommit, Actions: action(history.Overrun), First: []string{"5xx", "none"}, Retry: created, Min: 1, Max: 1},
		{Ways: executor, Windows: noCommit, Actions: action(history.Forget), First: []string{"409"}, Retry: created, Min: 1, Max: 1},
	}},
	{sectionExecutor, "a serialization failure or a deadlock", nil},
	{sectionExecutor, "a 4xx after a statement that failed", nil},
	{sectionExecutor, "a 2xx or 3xx after a statement that failed", nil},
	{sectionExecutor, "a response over `MaxResponse`", []Promise{
		{Ways: executor, Windows: anyWindow, Actions: action(history.Large), First: []string{"500"}, Retry: created, Min: 1, Max: 1},
	}},
	{sectionExecutor, "the process dies before the commit", []Promise{
		{Ways: executor, Windows: noCommit, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 1},
	}},
	{sectionExecutor, "the commit fails", []Promise{
		{Ways: executor, Windows: inTx, Actions: action(history.Refuse, history.Down), First: []string{"5xx", "201"}, Retry: created, Min: 1, Max: 1},
	}},
	{sectionExecutor, "the reply to the commit is lost", []Promise{
		{Ways: executor, Windows: anyWindow, Actions: action(history.Lose), First: perhaps, Retry: created, Min: 1, Max: 1},
	}},
	{sectionExecutor, "the reply to the commit is lost, and the database cannot be reached", []Promise{
		{Ways: executor, Windows: committed, Actions: action(history.Down), First: perhaps, Retry: created, Min: 1, Max: 1},
	}},

	{sectionDatabase, "the process is killed before the COMMIT", []Promise{
		{Ways: handlerTx, Windows: noCommit, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 1},
	}},
	{sectionDatabase, "it is killed after the COMMIT, before its response", []Promise{
		{Ways: slices.Concat(executor, finishTx), Windows: committed, Actions: action(history.Kill), First: none, Retry: created, Min: 1, Max: 1},
		{Ways: markedTx, Windows: committed, Actions: action(history.Kill), First: none, Retry: resolvedOnce, Min: 1, Max: 1},
	}},
	{sectionDatabase, "it is paused for longer than every timeout", []Promise{
		{Ways: slices.Concat(executor, finishTx), Windows: anyWindow, Actions: action(history.Stop, history.Pause), First: notFinished, Retry: created, Min: 1, Max: 1},
		{Ways: markedTx, Windows: anyWindow, Actions: action(history.Stop, history.Pause), First: notFinished, Retry: resolvedOnce, Min: 1, Max: 1},
	}},
	{sectionDatabase, "the reply to the COMMIT is lost", []Promise{
		{Ways: finishTx, Windows: commit, Actions: action(history.Lose), First: failed, Retry: created, Min: 1, Max: 1},
		{Ways: markedTx, Windows: commit, Actions: action(history.Lose), First: failed, Retry: resolvedOnce, Min: 1, Max: 1},
	}},
	{sectionDatabase, "the same, and the database cannot be reached", nil},
	{sectionDatabase, "the COMMIT is lost", []Promise{
		{Ways: handlerTx, Windows: commit, Actions: action(history.Refuse), First: failed, Retry: created, Min: 1, Max: 1},
	}},
	{sectionDatabase, "the COMMIT takes effect late", nil},
	{sectionDatabase, "`pg_terminate_backend`", nil},
	{sectionDatabase, "the server is killed, or stopped with `-m immediate`", nil},
	{sectionDatabase, "a serialization failure or a deadlock", nil},
	{sectionDatabase, "a statement of the handler fails, and it answers 4xx", nil},
	{sectionDatabase, "the response is over `MaxResponse`", []Promise{
		{Ways: finishTx, Windows: anyWindow, Actions: action(history.Large), First: created, Retry: created, Min: 1, Max: 1},
		{Ways: markedTx, Windows: anyWindow, Actions: action(history.Large), First: created, Retry: notAvailable, Min: 1, Max: 1},
	}},
	{sectionDatabase, "5xx or a panic before the COMMIT", []Promise{
		{Ways: handlerTx, Windows: noCommit, Actions: action(history.Fail), First: failed, Retry: created, Min: 1, Max: 1},
		{Ways: handlerTx, Windows: noCommit, Actions: action(history.Panic, history.Overrun), First: []string{"5xx", "none"}, Retry: created, Min: 1, Max: 1},
		{Ways: handlerTx, Windows: noCommit, Actions: action(history.Forget), First: []string{"409"}, Retry: created, Min: 1, Max: 1},
	}},
	{sectionDatabase, "5xx or a panic after the handler's COMMIT", []Promise{
		{Ways: finishTx, Windows: committed, Actions: action(history.Fail, history.Panic, history.Overrun), First: []string{"5xx", "none"}, Retry: created, Min: 1, Max: 1},
		{Ways: markedTx, Windows: committed, Actions: action(history.Fail, history.Panic, history.Overrun), First: []string{"5xx", "none"}, Retry: resolvedOnce, Min: 1, Max: 1},
	}},
	{sectionDatabase, "the lease is over while the handler's transaction is open", nil},
	{sectionDatabase, "renewals of the lease", nil},
	{sectionDatabase, "the disk is full", []Promise{
		{Ways: executor, Windows: anyWindow, Actions: action(history.Full), First: failed, Retry: created, Min: 1, Max: 1},
		{Ways: handlerTx, Windows: anyWindow, Actions: action(history.Full), First: []string{"201", "5xx"}, Retry: keptOrNot, Min: 1, Max: 1},
	}},
	{sectionDatabase, "the handler ends the Executor's transaction itself", nil},
	{sectionDatabase, "Sweep runs all the time", nil},

	{sectionStores, "the reply to a call of the store is lost", []Promise{
		{Ways: slices.Concat(plain, derived), Windows: anyWindow, Actions: action(history.Lose), First: perhaps, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: unmarked, Actions: action(history.Lose), First: perhaps, Retry: created, Min: 1, Max: 1},
		{Ways: marked, Windows: notCharged, Actions: action(history.Lose), First: perhaps, Retry: resolved, Min: 0, Max: 1},
		{Ways: marked, Windows: slices.Concat(charged, finished), Actions: action(history.Lose), First: perhaps, Retry: resolvedOnce, Min: 1, Max: 1},
		{Ways: finishTx, Windows: outOfTx, Actions: action(history.Lose), First: perhaps, Retry: created, Min: 1, Max: 1},
		{Ways: markedTx, Windows: outOfTx, Actions: action(history.Lose), First: perhaps, Retry: resolvedOnce, Min: 1, Max: 1},
	}},
}

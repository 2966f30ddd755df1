package check

import (
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// notLinearizable finds keys whose answers fit no order of their requests.
//
// Only answers that say something about the record are operations of the model: 201, 402, and the
// 409s of package idempotent. All others, and calls without a Return, are not operations. They can
// still take effect at any time after their beginning: an attempt of a client's call can be
// delivered late, or twice, or can be followed by another one. So each operation lists the amounts
// of all calls that began before its answer, and the model lets them run unseen before it. This
// costs little precision, and it bounds the search: a key that was retried a hundred times during a
// failure has no open operations whose order matters.
//
// Duplicates that are allowed need no exception. An effect is not an operation. The answer of a run
// that was not recorded may be followed by that of another run, and the model has this as a second
// outcome of the operation. A key whose record the store can have lost is left out.
//
// Most keys have the same answer for all calls. Any order explains that, so they are not searched.
func (e *episode) notLinearizable(k *key) {
	if len(k.calls) < 2 {
		return
	}
	var ops []porcupine.Operation
	same := true
	for i := range k.calls {
		c := &k.calls[i]
		op := operation{amount: c.Amount, status: c.ret.Status, answer: c.ret.Answer, unrecorded: k.unrecorded(c.ret.Answer.Run)}
		switch {
		case c.told():
		case c.refused(codeConflict), c.refused(codeUnknown):
			op.code = c.ret.Code
		case c.refused(codeUnavailable):
			op.code, op.unrecorded = c.ret.Code, k.unrecordedDuring(c)
		default:
			continue
		}
		same = same && op.code == "" && (len(ops) == 0 || ops[0].Input == op)
		ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: op, Call: c.At, Return: c.ret.At})
	}
	if same || e.forgets(k, k.from, k.to) {
		return
	}
	for i := range ops {
		ops[i].Input = input{ops[i].Input.(operation), k.amountsBefore(ops[i].Return)}
	}
	if !porcupine.CheckOperations(clients, ops) {
		e.find(k, NotLinearizable, "no order of the requests explains the answers")
	}
}

// amountsBefore returns the amounts of the calls that began before a time.
func (k *key) amountsBefore(at int64) []int {
	var amounts []int
	for i := range k.calls {
		if c := &k.calls[i]; c.At < at && !slices.Contains(amounts, c.Amount) {
			amounts = append(amounts, c.Amount)
		}
	}
	return amounts
}

// An operation is a request and its answer.
type operation struct {
	amount     int
	status     int
	answer     history.Answer
	code       string // of a 409
	unrecorded bool   // the answer may be that of a run that could not be recorded
}

// An input is an operation, and the amounts of the requests that can have run unseen before it.
type input struct {
	operation
	unseen []int
}

// A record is what the service knows about a key. The zero value means that it knows nothing.
type record struct {
	state  recordState
	amount int
	status int // of the answer; 0 if no client has been told it
	answer history.Answer
}

type recordState int

const (
	absent  recordState = iota
	claimed             // a run is under way, has died, or has an unknown outcome
	done
	notKept
)

// clients is the model of the answers that clients may get. A claim may end without a record at any
// time, because its run can fail.
var clients = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{record{}} },
	Step: func(state, in, _ any) (next []any) {
		op := in.(input)
		for _, r := range reachable(state.(record), op.unseen) {
			next = append(next, r.after(op.operation)...)
		}
		return next
	},
}).ToModel()

// reachable returns the records that there can be after requests with the amounts have run unseen.
func reachable(r record, amounts []int) []record {
	all := []record{r}
	if r.state != absent && r.state != claimed {
		return all
	}
	for _, amount := range amounts {
		all = append(all, record{state: claimed, amount: amount}, record{state: done, amount: amount})
	}
	return all
}

// after returns the records that there can be after an operation. There are none if the record
// contradicts its answer.
func (r record) after(op operation) []any {
	own := r.amount == op.amount
	switch op.code {
	case codeConflict:
		if r.state != absent && !own {
			return []any{r}
		}
	case codeUnavailable:
		if own && (r.state == done || r.state == notKept) {
			return op.orClaimed(record{state: notKept, amount: op.amount})
		}
	case codeUnknown:
		if own && r.state == claimed {
			return []any{r}
		}
	default:
		if own && r.state == done && (r.status == 0 || r.status == op.status && r.answer == op.answer) {
			return op.orClaimed(record{done, op.amount, op.status, op.answer})
		}
	}
	return nil
}

// orClaimed returns the record, and if it may not exist, the claim that remains then, after which
// the same request may run again.
func (op operation) orClaimed(r record) []any {
	if op.unrecorded {
		return []any{r, record{state: claimed, amount: op.amount}}
	}
	return []any{r}
}

package check_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// The histories of the tests have one key. Times are in milliseconds.
const (
	keyName = "alice/k"
	ms      = int64(1e6)
)

// A step adds events to a history.
type step func(*history.History, history.Way)

func historyOf(way history.Way, steps ...step) *history.History {
	h := &history.History{Returns: make(map[string]history.Return)}
	for _, s := range steps {
		s(h, way)
	}
	return h
}

// asks adds a request.
func asks(id string, at int64, amount int) step {
	return func(h *history.History, way history.Way) {
		h.Calls = append(h.Calls, history.Call{ID: id, Key: keyName, Way: way, Amount: amount, At: at * ms})
	}
}

// gets adds the answer of a request: a status, and then a code or a run.
func gets(id string, at int64, answer string) step {
	return func(h *history.History, _ history.Way) {
		text, rest, _ := strings.Cut(answer, " ")
		status, _ := strconv.Atoi(text)
		r := history.Return{ID: id, At: at * ms, Status: status, Attempts: 1}
		if status == http.StatusCreated || status == http.StatusPaymentRequired {
			r.Answer = history.Answer{Key: keyName, Amount: amountOf(h, id), Run: rest}
		} else {
			r.Code = rest
		}
		h.Returns[id] = r
	}
}

func amountOf(h *history.History, id string) int {
	for _, c := range h.Calls {
		if c.ID == id {
			return c.Amount
		}
	}
	panic("no call " + id)
}

// but changes an answer.
func but(id string, change func(*history.Return)) step {
	return func(h *history.History, _ history.Way) {
		r := h.Returns[id]
		change(&r)
		h.Returns[id] = r
	}
}

func replayed(id string) step { return but(id, func(r *history.Return) { r.Replayed = true }) }

func attempts(id string, n int) step { return but(id, func(r *history.Return) { r.Attempts = n }) }

// effect adds an effect of a run.
func effect(run string, at int64, amount int) step {
	return func(h *history.History, way history.Way) {
		h.Effects = append(h.Effects, history.Effect{Key: keyName, Way: way, Amount: amount, Run: run, At: at * ms})
	}
}

// ends adds the end of a run.
func ends(run string, at int64, outcome string, status int) step {
	return func(h *history.History, _ history.Way) {
		h.Ends = append(h.Ends, history.End{Key: keyName, Run: run, Outcome: outcome, Status: status, At: at * ms})
	}
}

// lost adds the end of a run that lost its lease.
func lost(run string, at int64) step {
	return func(h *history.History, _ history.Way) {
		h.Ends = append(h.Ends, history.End{Key: keyName, Run: run, Outcome: "replayed", Lost: true, At: at * ms})
	}
}

// hit adds a fault of one request.
func hit(w history.Window, a history.Action, server string, at int64) step {
	return func(h *history.History, way history.Way) {
		h.Hits = append(h.Hits, history.Hit{Key: keyName, Way: way, Window: w, Action: a, Server: server, At: at * ms})
	}
}

// hitRun adds a fault of one run.
func hitRun(w history.Window, a history.Action, run string, at int64) step {
	return func(h *history.History, way history.Way) {
		h.Hits = append(h.Hits, history.Hit{Key: keyName, Way: way, Window: w, Action: a, Server: "s1.1", Run: run, At: at * ms})
	}
}

// askedOf gives all requests to a server.
func askedOf(server string) step {
	return func(h *history.History, _ history.Way) {
		for i := range h.Calls {
			h.Calls[i].Server = server
		}
	}
}

// during adds a trouble of a target.
func during(kind, target string, from, to int64) step {
	return func(h *history.History, _ history.Way) {
		h.Periods = append(h.Periods, history.Period{Kind: kind, Target: target, From: from * ms, To: to * ms})
	}
}

// together joins steps.
func together(steps ...step) step {
	return func(h *history.History, way history.Way) {
		for _, s := range steps {
			s(h, way)
		}
	}
}

// call adds a request and its answer. Its ID is its time.
func call(from, to int64, amount int, answer string) step {
	id := fmt.Sprint(from)
	return together(asks(id, from, amount), gets(id, to, answer))
}

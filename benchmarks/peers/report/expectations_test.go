package main

import (
	"slices"
	"testing"
)

type expectation struct {
	bench  string
	unit   string
	atMost float64
	reason string
}

// expectations limit the ratios of the committed measurements: Seawall's value divided by
// that of the best composition of the row, in the same round. A limit is a little higher
// than the ratio that was measured when the limit was set, so that a real loss exceeds it
// but noise does not. The reason says why the ratio is not lower.
//
// CI only reads the committed results and measures no times. TestAllocBudgets in package
// peers counts the allocations again in each run.
var expectations = []expectation{
	{"Stack", processor, 0.75, "the mux routes twice: the layers outside of it need the pattern"},
	{"Stack", allocations, 0.4, "the layers share one copy of the request"},
	{"Server", serverTime, 1.0, "net/http takes most of it, on both sides"},
	{"Denied", processor, 1.5, "the error is a value for logs and metrics, beside the text"},
	{"Denied", allocations, 0.7, "the body is appended, without reflection"},
	{"Admitted", processor, 1.1, "with 10,000 keys, every side waits for memory"},
	{"Admitted", allocations, 0.6, "the two fields and the charges take a few"},
	{"Flood", processor, 1.25, "each new key evicts another; httprate drops a whole window in one step"},
	{"Memory", perKey, 1.0, "a key is kept whole"},
	{"Error", processor, 1.0, "the error is a value for logs and metrics, beside the text"},
	{"Chain", processor, 2.0, "the id is random, and the response is followed"},
	{"Post", processor, 0.95, "the request and its header are copied for the key"},
	{"Post", allocations, 0.75, "the body is not copied"},
	{"Retry", processor, 4.8, "reading a 503 is bounded in time, by a goroutine, and its code is parsed for the log"},
	{"Get", processor, 3.2, "a breaker and a budget per host, and a record of every attempt"},
	{"FirstRun", processor, 2.2, "a lease, bounded memory, a context that the client cannot end"},
	{"Replay", processor, 1.25, "every side reads and hashes the body"},
}

func TestCommittedResultsMeetTheExpectations(t *testing.T) {
	t.Parallel()
	res := committed(t)
	rows := make(map[string]row)
	for _, s := range page {
		for _, r := range s.rows {
			rows[r.bench] = r
		}
	}
	for _, e := range expectations {
		ratio, err := rows[e.bench].ratio(res, e.unit)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%-9s %-13s %.2f, at most %.2f", e.bench, e.unit, ratio.Center, e.atMost)
		if ratio.Center > e.atMost {
			t.Errorf("Benchmark%s: %.2f of the %s of the best composition, more than %.2f (%s)",
				e.bench, ratio.Center, e.unit, e.atMost, e.reason)
		}
	}
	for bench, r := range rows {
		about := func(e expectation) bool { return e.bench == bench }
		if r.best(res) != nil && !slices.ContainsFunc(expectations, about) {
			t.Errorf("nothing is expected of Benchmark%s", bench)
		}
	}
}

package main

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/perf/benchmath"
)

type expectation struct {
	bench  string // the row, with "/" and a side if the limit is about that side and not the best
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
	{"RedisTake", elapsed, 0.8, "both sides send batches, but the others run a script per decision"},
	{"RedisTake/redis_rate", elapsed, 0.47, "a decision is handed from its caller to a batch and back"},
	{"RedisTake/redis_rate", serverTime, 0.4, "each decision reads and writes its key"},
	{"RedisTakeHot", elapsed, 0.6, "both sides send batches, but the others run a script per decision"},
	{"RedisTakeHot/redis_rate", elapsed, 0.33, "a decision is handed from its caller to a batch and back"},
	{"RedisTakeHot/redis_rate", serverTime, 0.2, "a batch reads and writes the key once"},
	{"RedisDenied", elapsed, 0.03, "a denial that is known costs no call"},
	{"RedisDenied/redis_rate", elapsed, 0.02, "a denial that is known costs no call"},
	{"RedisAlone", latency, 1.5, "ulule/limiter only counts, in a shorter script"},
	{"RedisAlone/redis_rate", latency, 1.4, "the call runs in a goroutine, so that its caller leaves in time"},
	{"RedisFirstRun", elapsed, 0.9, "one client waits for each round trip"},
	{"RedisFirstRun", roundTrips, 0.4, "one for the lease and one for the response"},
	{"RedisReplay", elapsed, 2.2, "a script checks the record, where the others only read a key"},
	{"RedisReplay", roundTrips, 1.0, "one for the response"},
	{"PostgresFirstRun", elapsed, 1.3, "a savepoint, a timeout, and a read before the transaction"},
	{"PostgresFirstRun/bare", elapsed, 1.95, "one round trip and one INSERT, and no commit; the disk is fast"},
	{"PostgresFirstRuns", elapsed, 1.3, "the same; the processors are busy"},
	{"PostgresFirstRuns/bare", serverTime, 2.0, "a read, a lock, and an INSERT that changes three indexes"},
	{"PostgresReplay", elapsed, 0.9, "one round trip, without a transaction"},
	{"PostgresReplay/bare", serverTime, 2.0, "the lease is read too, and the fingerprint is compared"},
}

func (e expectation) ratio(rows map[string]row, res *results) (benchmath.Summary, error) {
	bench, side, named := strings.Cut(e.bench, "/")
	if named {
		return rows[bench].ratioTo(res, side, e.unit)
	}
	return rows[bench].ratio(res, e.unit)
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
		ratio, err := e.ratio(rows, res)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%-23s %-13s %.3f, at most %.3f", e.bench, e.unit, ratio.Center, e.atMost)
		if ratio.Center > e.atMost {
			t.Errorf("Benchmark%s: %.3f of the %s, more than %.3f (%s)",
				e.bench, ratio.Center, e.unit, e.atMost, e.reason)
		}
	}
	for bench, r := range rows {
		about := func(e expectation) bool { return strings.HasPrefix(e.bench+"/", bench+"/") }
		if r.best(res) != nil && !slices.ContainsFunc(expectations, about) {
			t.Errorf("nothing is expected of Benchmark%s", bench)
		}
	}
}

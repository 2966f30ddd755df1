package main

// compared are the modules whose versions matter.
var compared = []string{
	"connectrpc.com/connect",
	"github.com/PuerkitoBio/rehttp",
	"github.com/didip/tollbooth/v7",
	"github.com/failsafe-go/failsafe-go",
	"github.com/go-chi/chi/v5",
	"github.com/go-chi/httprate",
	"github.com/gofiber/fiber/v3",
	"github.com/gojek/heimdall/v7",
	"github.com/hashicorp/go-retryablehttp",
	"github.com/moogar0880/problems",
	"github.com/sethvargo/go-limiter",
	"github.com/sony/gobreaker/v2",
	"github.com/throttled/throttled/v2",
	"github.com/ulule/limiter/v3",
	"golang.org/x/time",
}

// path is one job that is compared: a benchmark, and what must hold of it.
type path struct {
	name  string // Benchmark<name>
	title string
	unit  string // of the comparison
	bars  []bar
}

// bar is a number that must not be exceeded.
type bar struct {
	says  string
	limit float64
	of    value
	why   string // it is missed, where it is
}

// value computes the number, one for every round, from the benchmarks that it names.
type value struct {
	needs func(res *results) (names []string, unit string)
	f     func(v ...float64) float64
}

const (
	timed     = "cpu-sec/op" // processor time, of all threads
	elapsed   = "sec/op"
	allocated = "allocs/op"
)

// is the measurement itself.
func is(name, unit string) value {
	return value{
		func(*results) ([]string, string) { return []string{name}, unit },
		func(v ...float64) float64 { return v[0] },
	}
}

// against is ours divided by the best of the peers, the one with the smallest median.
func against(path, unit string, peers ...string) value {
	return value{
		func(res *results) ([]string, string) {
			best := peers[0]
			for _, p := range peers[1:] {
				if res.median(path+"/"+p, unit) < res.median(path+"/"+best, unit) {
					best = p
				}
			}
			return []string{path + "/seawall", path + "/" + best}, unit
		},
		quotient,
	}
}

// added is what we add to the bare operation.
func added(path, unit string) value {
	return value{
		func(*results) ([]string, string) { return []string{path + "/seawall", path + "/bare"}, unit },
		func(v ...float64) float64 { return v[0] - v[1] },
	}
}

// addedAgainst is what we add to the bare operation, divided by what a peer adds.
func addedAgainst(path, peer string) value {
	return value{
		func(*results) ([]string, string) {
			return []string{path + "/seawall", path + "/bare", path + "/" + peer}, timed
		},
		func(v ...float64) float64 { return (v[0] - v[1]) / (v[2] - v[1]) },
	}
}

// speedUp is the speed-up by parallel use that bare limiters reach, divided by the one that we reach.
func speedUp() value {
	return value{
		func(*results) ([]string, string) {
			return []string{"Take/seawall", "TakeParallel/seawall", "Take/allow", "TakeParallel/allow"}, elapsed
		},
		func(v ...float64) float64 { return (v[2] / v[3]) / (v[0] / v[1]) },
	}
}

// paths are in the order of the page.
var paths = []path{
	{"TakeHot", "One decision, one key", timed, []bar{
		{"at most 2.0x a bare rate.Limiter.Allow", 2.0, against("TakeHot", timed, "allow"), ""},
		{"no allocation", 0, is("TakeHot/seawall", allocated), ""},
	}},
	{"Take", "One decision, 10,000 keys", timed, []bar{
		{"no allocation", 0, is("Take/seawall", allocated), ""},
	}},
	{"TakeParallel", "One decision, 10,000 keys, on all processors: elapsed time", elapsed, []bar{
		{"at least 0.9 of the speed-up of bare limiters (its inverse: at most 1.11)", 1 / 0.9, speedUp(), ""},
	}},
	{"Admitted", "Rate-limit middleware, admitted, with its headers", timed, []bar{
		{"at most 0.45x the best peer that sends headers", 0.45, against("Admitted", timed, "httprate", "ulule", "tollbooth", "throttled", "sethvargo"), ""},
		{"at most 2 allocations", 2, is("Admitted/seawall", allocated), ""},
	}},
	{"Denied", "The same, denied: JSON error and request id, where the peers send a line of text", timed, []bar{
		{"at most 0.6x the best peer", 0.6, against("Denied", timed, "httprate", "ulule", "tollbooth", "throttled", "sethvargo", "failsafe"), ""},
	}},
	{"Flood", "The same, five million keys of one request each, default settings (ulule, tollbooth and sethvargo, which keep every key: one million)", timed, []bar{
		{"at most 0.6x the best peer that has a bound on keys", 0.6, against("Flood", timed, "throttled"), ""},
		{"peak resident memory at most 48 MB", 48e6, is("Flood/seawall", "peak-RSS-bytes"), ""},
	}},
	{"Memory", "Memory for each of a million keys (throttled keeps 65,536 of them, httprate a hash for a second or two)", "B/key", []bar{
		{"at most 136 bytes", 136, is("Memory/seawall", "B/key"), ""},
	}},
	{"Chain", "Request id, tracker, error slot, recovery; a success", timed, []bar{
		{"at most 0.9x chi's RequestID and Recoverer", 0.9, against("Chain", timed, "chi"), ""},
		{"at most 5 allocations", 5, is("Chain/seawall", allocated), ""},
	}},
	{"Error", "An error, rendered", timed, []bar{
		{"at most 0.5x json.NewEncoder of the same object", 0.5, against("Error", timed, "json.Encoder"), ""},
		{"at most 1.1x http.Error's line of text", 1.1, against("Error", timed, "http.Error"), ""},
	}},
	{"Get", "Transport, GET, success at once", timed, []bar{
		{"adds at most 1.5x what gobreaker alone adds", 1.5, addedAgainst("Get", "gobreaker"), ""},
		{"adds at most 2 allocations", 2, added("Get", allocated), ""},
	}},
	{"Post", "Transport, POST of 1 KiB; only ours makes a key", timed, []bar{
		{"no slower than rehttp with gobreaker", 1.0, against("Post", timed, "rehttp+gobreaker"), ""},
		{"at most 0.7x go-retryablehttp", 0.7, against("Post", timed, "go-retryablehttp"), ""},
	}},
	{"Retry", "Transport, one 503, then success, no delay", timed, []bar{
		{"at most 0.8x rehttp with gobreaker", 0.8, against("Retry", timed, "rehttp+gobreaker"), ""},
	}},
	{"Replay", "Idempotency, a replay of 1 KiB", timed, []bar{
		{"at most 1.6x the floor", 1.6, against("Replay", timed, "floor"), ""},
		{"ahead of fiber's", 1.0, against("Replay", timed, "fiber"), ""},
	}},
	{"FirstRun", "Idempotency, the first run of 1 KiB", timed, []bar{
		{"at most 1.8x the floor", 1.8, against("FirstRun", timed, "floor"), ""},
	}},
	{"Server", "A whole server on loopback, 64 connections: processor time of a GET", "server-sec/op", []bar{
		{"the full Stack at most 1.15x the bare handler", 1.15, against("Server", "server-sec/op", "bare"), ""},
		{"less than chi with RequestID, Recoverer and httprate", 1.0, against("Server", "server-sec/op", "chi"), ""},
	}},
}

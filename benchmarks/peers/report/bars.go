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

// speedUp is the speed-up by parallel use that bare limiters reach, divided by the one that we
// reach.
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
		{"at most 2.0x a bare rate.Limiter.Allow", 2.0, against("TakeHot", timed, "allow"), "finding the key (two hashes, a lock, the chain) and describing the decision take as long as Allow itself, whose reading of the clock is half of it."},
		{"no allocation", 0, is("TakeHot/seawall", allocated), ""},
	}},
	{"Take", "One decision, 10,000 keys", timed, []bar{
		{"no allocation", 0, is("Take/seawall", allocated), ""},
	}},
	{"TakeParallel", "One decision, 10,000 keys, in parallel", elapsed, []bar{
		{"at least 0.9 of the speed-up of bare limiters (its inverse: at most 1.11)", 1 / 0.9, speedUp(), "two processors that others use too make no steady measurement; the interval says how little it tells."},
	}},
	{"Admitted", "Rate-limit middleware, admitted, with its headers", timed, []bar{
		{"at most 0.45x the best peer that sends headers", 0.45, against("Admitted", timed, "httprate", "ulule", "tollbooth", "throttled", "sethvargo"), "profile: the decision 40 % (with 10,000 keys it waits for memory), the two fields 21 %, the key and the guard around its function 13 %."},
		{"at most 2 allocations", 2, is("Admitted/seawall", allocated), "the two fields take one each; what is over is the text of a state that was not made beforehand."},
	}},
	{"Denied", "The same, denied", timed, []bar{
		{"at most 0.6x the best peer", 0.6, against("Denied", timed, "httprate", "ulule", "tollbooth", "throttled", "sethvargo", "failsafe"), "the floor of an error's answer (below) and the decision together are at the bar already. Profile: the answer 45 %, of which its headers are two fifths; the error value 8 %, the decision 14 %, the key 6 %, the RateLimit fields 6 %."},
	}},
	{"Flood", "The same, a flood of new keys", timed, []bar{
		{"at most 0.6x the best peer that has a bound on keys", 0.6, against("Flood", timed, "throttled"), "each new key takes the place of another: two entries are looked at to be dropped, and they are not in the processor's cache."},
		{"peak resident memory at most 48 MB", 48e6, is("Flood/seawall", "peak-RSS-bytes"), ""},
	}},
	{"Memory", "Memory for each of a million keys", "B/key", []bar{
		{"at most 136 bytes", 136, is("Memory/seawall", "B/key"), ""},
	}},
	{"Chain", "Request id, tracker, recovery", timed, []bar{
		{"at most 0.9x chi's RequestID and Recoverer", 0.9, against("Chain", timed, "chi"), "profile: the request's state, the copy of the request and the tracker 33 %, most of it memory: 968 bytes in 4 allocations, so that headers survive a 1xx and outer layers get the route, the form and its files back; the id from crypto/rand 14 %, where chi counts; the two response headers 9 %; handing back 6 %; the collector 16 %."},
		{"at most 5 allocations", 5, is("Chain/seawall", allocated), ""},
	}},
	{"Error", "An error, rendered", timed, []bar{
		{"at most 0.5x json.NewEncoder of the same object", 0.5, against("Error", timed, "json.Encoder"), "the floor, six headers and a body without any error value, is at 0.35x by itself. Profile: headers 23 %, the two immutable errors (the handler's, and the one that knows its request) 30 %, the body 13 %, the message's text 9 %, the request's state and the search for the tracker 7 %."},
		{"at most 1.1x http.Error's line of text", 1.1, against("Error", timed, "http.Error"), "http.Error sets two headers; the floor of ours sets six and is at the bar by itself. The rest is the error value: see above."},
	}},
	{"Get", "Transport, GET, success at once", timed, []bar{
		{"adds at most 1.5x what gobreaker alone adds", 1.5, addedAgainst("Get", "gobreaker"), "gobreaker in the two-step form and with the rolling window that a Transport needs (gobreaker-window below) is at the bar by itself. The rest, by profile: our own reading of the clock 11 % of the call; its record, the context, three locks."},
		{"adds at most 2 allocations", 2, added("Get", allocated), ""},
	}},
	{"Post", "Transport, POST of 1 KiB", timed, []bar{
		{"no slower than rehttp with gobreaker", 1.0, against("Post", timed, "rehttp+gobreaker"), "profile: the copies of the request and of its header, which the caller's must not become, 18 %, and the search of the header for the caller's own key 4 %; the breaker 10 %; the key 8 %; the benchmark's own request and its base 20 %."},
		{"at most 0.7x go-retryablehttp", 0.7, against("Post", timed, "go-retryablehttp"), "see the line above."},
	}},
	{"Retry", "Transport, one 503, then success, no delay", timed, []bar{
		{"at most 0.8x rehttp with gobreaker", 0.8, against("Retry", timed, "rehttp+gobreaker"), "profile: reading what is left of the 503, so that its connection can be used again, in a bounded time, 36 %: a goroutine, a timer, a channel; two passes through the breaker 12 %, deciding and recording 10 %, the clock 10 %. A real retry waits thousands of times as long."},
	}},
	{"Replay", "Idempotency, a replay of 1 KiB", timed, []bar{
		{"at most 1.6x the floor", 1.6, against("Replay", timed, "floor"), "profile: reading and hashing body, method and path 34 %, as the floor does for the body; the hashes of the key and of its scope 11 %; parsing the record 6 %, writing its answer 6 %; the way to the store and back 7 %; a context that the client cannot cancel 4 %; the collector 9 %."},
		{"ahead of fiber's", 1.0, against("Replay", timed, "fiber"), "fiber's does not read or hash the body: another request with the same key gets the first one's answer."},
	}},
	{"FirstRun", "Idempotency, the first run of 1 KiB", timed, []bar{
		{"at most 1.8x the floor", 1.8, against("FirstRun", timed, "floor"), "profile: the collector 23 %, for 31 allocations against the floor's 9; the store's two steps 16 %, in a store that is full and gives up old responses; the body and its hash 10 %; the handler with its copies of the header 10 %; encoding the response 8 %; a context that ends with MaxRun, and the watch of the caller's, 10 %."},
	}},
	{"Server", "A whole server on loopback", "server-sec/op", []bar{
		{"the full Stack at most 1.15x the bare handler", 1.15, against("Server", "server-sec/op", "bare"), "profile of the server: the Stack is 16 % of it, of which a quarter is the context, timer and request copy of Timeout, a fifth the limiter, a seventh the id and the state; larger headers to write 4 %, the collector the rest."},
		{"less than chi with RequestID, Recoverer and httprate", 1.0, against("Server", "server-sec/op", "chi"), "chi's stack has no time-out, no log line, no body limit and no bound on requests in flight: see above."},
	}},
}

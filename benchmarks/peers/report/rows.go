package main

// A section is a part of the page.
type section struct {
	title string
	rows  []row
}

// A row is one job: Benchmark<bench>/<side> for each side.
type row struct {
	bench string
	title string
	does  string // what each side does
	unit  string // of the comparison
	sides []side
}

// A side is one way to do the job of a row.
type side struct {
	name     string
	title    string
	consists string
	lower    bool // whether the side does less than the job, so that it is only a lower bound
	ours     bool // whether the side is another way of Seawall's
}

// The units of benchfmt, and ours. They are per operation.
const (
	processor   = "cpu-sec/op"
	elapsed     = "sec/op"
	serverTime  = "server-sec/op"
	latency     = "median-sec/op"
	roundTrips  = "trips/op"
	failures    = "errors/op"
	allocations = "allocs/op"
	perKey      = "B/key"
	peakMemory  = "peak-RSS-bytes"
)

// compared are the modules whose versions the page names.
var compared = []string{
	"github.com/PuerkitoBio/rehttp",
	"github.com/bsm/redislock",
	"github.com/didip/tollbooth/v7",
	"github.com/failsafe-go/failsafe-go",
	"github.com/go-chi/chi/v5",
	"github.com/go-chi/httplog/v3",
	"github.com/go-chi/httprate",
	"github.com/go-redis/redis_rate/v10",
	"github.com/gofiber/fiber/v3",
	"github.com/gofiber/storage/redis/v3",
	"github.com/google/uuid",
	"github.com/hashicorp/go-retryablehttp",
	"github.com/jackc/pgx/v5",
	"github.com/moogar0880/problems",
	"github.com/redis/go-redis/v9",
	"github.com/sethvargo/go-limiter",
	"github.com/sony/gobreaker/v2",
	"github.com/throttled/throttled/v2",
	"github.com/ulule/limiter/v3",
	"golang.org/x/time",
}

const composed = "RequestID with both response headers by hand, httplog with the " +
	"attributes of Seawall's log line, Recoverer, Timeout, RequestSize, Throttle, httprate, and " +
	"the envelope by hand for 404, 405 and 429 (but not for a panic, a timeout or overload)"

var stacks = []side{
	{name: "seawall", consists: "`seawall.Stack`"},
	{name: "chi", title: "chi, httplog, httprate", consists: "chi's router, " + composed},
	{name: "mux", title: "ServeMux, httplog, httprate", consists: "the same with `http.ServeMux`"},
	{name: "bare", title: "the route alone", lower: true},
}

var limiters = []side{
	{name: "seawall", consists: "`ratelimit.New` with a `Memory`"},
	{name: "httprate",
		consists: "`httprate.LimitBy`, which keeps counters for two windows under the hash of each key"},
	{name: "ulule", title: "ulule/limiter", consists: "a counter per window"},
	{name: "tollbooth", consists: "rate.Limiters in a cache"},
	{name: "throttled", consists: "GCRA over an LRU of 65,536 keys"},
	{name: "sethvargo", title: "sethvargo/go-limiter", consists: "token buckets"},
	{name: "bare", title: "the handler alone", lower: true},
}

var takers = []side{
	{name: "seawall", consists: "`Memory.Take`"},
	{name: "map", title: "map of rate.Limiters", lower: true,
		consists: "a map behind a mutex, which never forgets a key and returns no state for headers"},
	{name: "allow", title: "rate.Limiter.Allow", lower: true, consists: "there is no key to look up"},
}

var sharedLimiters = []side{
	{name: "seawall", consists: "`redislimit.New`"},
	{name: "redis_rate", consists: "a script for each decision"},
	{name: "autopipeline", title: "redis_rate, AutoPipeline",
		consists: "redis_rate with the AutoPipeline of go-redis, which is experimental. It sends the " +
			"commands of all callers together, ignores the deadlines of their contexts, and sends " +
			"all commands again after a lost connection"},
	{name: "ulule", title: "ulule/limiter", consists: "a script that counts in windows"},
	{name: "throttled",
		consists: "reads the key, and changes it in a second round trip unless it has changed since. " +
			"After ten attempts, it returns an error"},
}

const keyAndHosts = ", and, added by hand, an Idempotency-Key from google/uuid and a map of hosts"

var clients = []side{
	{name: "seawall", consists: "`retry.Transport`"},
	{name: "retryablehttp", title: "go-retryablehttp, gobreaker",
		consists: "go-retryablehttp, gobreaker, a retry budget in x/time/rate" + keyAndHosts},
	{name: "failsafe", title: "failsafe-go",
		consists: "its retry policy, circuit breaker and retry budget" + keyAndHosts},
	{name: "rehttp", title: "rehttp, gobreaker",
		consists: "rehttp, gobreaker, a retry budget in x/time/rate" + keyAndHosts},
	{name: "bare", title: "the call alone", lower: true, consists: "one more attempt after a 503"},
}

var onces = []side{
	{name: "seawall", consists: "`idempotent.New` with a `Memory`"},
	{name: "fiber", title: "fiber's idempotency",
		consists: "fiber's middleware, on fasthttp, and the comparison of bodies by hand"},
	{name: "map", title: "map of responses", lower: true,
		consists: "a hash, a lock and a map, without a guard against concurrent duplicates, and " +
			"nothing is ever forgotten"},
}

var sharedOnces = []side{
	{name: "seawall", consists: "`idempotent.New` with a `redisstore.Store`"},
	{name: "redislock", title: "fiber's idempotency, redislock",
		consists: "fiber's middleware, on fasthttp, its storage for Redis, and, added by hand, a lock " +
			"of redislock, which is not renewed, and the comparison of bodies"},
	{name: "memorylock", title: "fiber's idempotency", lower: true,
		consists: "the same with its own lock, which other processes do not see"},
}

var pgOnces = []side{
	{name: "seawall", consists: "`idempotent.New` with a `pgstore.Executor`. The transfer is in its " +
		"transaction, which commits the record and the transfer together"},
	{name: "intx", title: "Seawall, InTx", ours: true,
		consists: "`InTx` makes the transfer in the Executor's transaction"},
	{name: "sqlstore", title: "Seawall, database/sql", ours: true,
		consists: "a `sqlstore.Executor` and pgx's driver for database/sql, which " +
			"sends each statement alone"},
	{name: "finishtx", title: "Seawall, FinishTx", ours: true,
		consists: "a `pgstore.Store`, whose `FinishTx` records the response in the handler's transaction"},
	{name: "begineffecttx", title: "Seawall, BeginEffectTx", ours: true,
		consists: "a `pgstore.Store`, and its `BeginEffectTx` in the handler's transaction"},
	{name: "leased", title: "Seawall, a lease", ours: true,
		consists: "a `pgstore.Store`, and a transaction of the handler that does not know of it"},
	{name: "byhand", title: "a table of keys", consists: "by hand: in the transaction of the " +
		"transfer, an INSERT of the key and the hash of the body, in which duplicates wait, and an " +
		"UPDATE with the response"},
	{name: "bare", title: "the transfer alone", lower: true, consists: "no idempotency"},
}

// page holds the sections in their order.
var page = []section{
	{"The whole stack", []row{
		{"Stack", "A request through the stack",
			"A GET with an API key is answered with 1 KiB of JSON. The stack has a request id, an " +
				"access log whose records are discarded, recovery, a timeout, a body limit, an " +
				"in-flight limit, a rate limit by API key with headers, and the error envelope " +
				"for 404, 405 and 429.",
			processor, stacks},
		{"Server", "The same, served",
			"The same request over loopback, on 64 connections from another process. The time is " +
				"the processor time of the server's process, including net/http.",
			serverTime, stacks},
	}},
	{"Rate limits", []row{
		{"Denied", "A denied request",
			"A 429 with the error object, the request's id in body and header, Retry-After, and " +
				"headers with the state of the limit.",
			processor, []side{
				{name: "seawall", consists: "`RequestID` and `ratelimit.New`"},
				{name: "httprate", title: "chi, httprate",
					consists: "chi's RequestID, httprate, the envelope by hand"},
				{name: "throttled", title: "chi, throttled",
					consists: "chi's RequestID, throttled, the envelope by hand"},
			}},
		{"Admitted", "An admitted request",
			"10,000 callers take turns. Each is allowed 1,000 requests a second. The responses " +
				"have headers with the state of the limit.",
			processor, limiters},
		{"Flood", "A flood of new keys",
			"Five million requests, each with a new key. ulule/limiter, tollbooth and " +
				"sethvargo/go-limiter keep every key, so they get only one million requests.",
			processor, limiters},
		{"Memory", "A million keys",
			"The heap memory that each of a million keys takes.",
			perKey, []side{
				{name: "seawall", consists: "a `Memory` whose `MaxKeys` is a million"},
				{name: "throttled", lower: true, consists: "an LRU that keeps 65,536 of them"},
				{name: "httprate", lower: true, consists: "a hash of each key, for two windows"},
				{name: "sethvargo", title: "sethvargo/go-limiter"},
				{name: "ulule", title: "ulule/limiter"},
				{name: "tollbooth"},
			}},
		{"TakeHot", "A decision, one key", "A decision without HTTP.", processor, takers},
		{"Take", "A decision, 10,000 keys", "The same. The keys take turns.", processor, takers},
		{"TakeParallel", "A decision, 10,000 keys, in parallel",
			"The same on all processors. The time is elapsed time.", elapsed, takers},
	}},
	{"Rate limits in Redis", []row{
		{"RedisTake", "A decision in Redis, 10,000 keys",
			"64 callers decide at the same time, without HTTP. The keys take turns, and each is " +
				"allowed 1,000 units a second. The time is elapsed time divided by the number of " +
				"decisions. The callers and a redis-server share the processors. The processor " +
				"time of each is listed as its CPU. Round trips are how often the server reads from " +
				"a connection.",
			elapsed, sharedLimiters},
		{"RedisTakeHot", "A decision in Redis, one key",
			"The same with a key that all callers share. Errors are decisions that failed.",
			elapsed, sharedLimiters},
		{"RedisDenied", "A denied decision in Redis",
			"The same with a key that has no units left for an hour. Seawall remembers that, and " +
				"does not ask Redis.",
			elapsed, sharedLimiters},
		{"RedisAlone", "A decision in Redis, one caller",
			"One caller decides about 1,000 keys, which take turns. The time is the median latency.",
			latency, sharedLimiters},
	}},
	{"Errors", []row{
		{"Error", "An error answer",
			"A 400 for a missing parameter, with its name and the request's id in the body, and " +
				"six header fields that are the same on all sides.",
			processor, []side{
				{name: "seawall", consists: "`apierror.Write`"},
				{name: "json", title: "encoding/json", consists: "the envelope by hand"},
				{name: "problems", title: "moogar0880/problems",
					consists: "a problem of RFC 9457 with code, param and request id"},
				{name: "bytes", title: "constant bytes", lower: true,
					consists: "the body as text, without an error value"},
			}},
		{"Chain", "Request id and recovery",
			"An id in the context and in two response headers, and recovery of panics. Seawall's " +
				"ids are random, while chi counts. Seawall also watches the response, so that " +
				"it does not add an error to a response that has already begun.",
			processor, []side{
				{name: "seawall", consists: "`RequestID` and `Recover`"},
				{name: "chi", consists: "RequestID and Recoverer, the response headers by hand"},
			}},
	}},
	{"The client", []row{
		{"Post", "A POST that succeeds",
			"A POST of 1 KiB with an Idempotency-Key. The client can make up to three attempts. It " +
				"has a breaker with a rolling window of ten seconds and a retry budget for each " +
				"host.",
			processor, clients},
		{"Retry", "A POST that is answered 503, then 200",
			"The same with one retry. Retry-After is 0. The client reads the first response to the " +
				"end, so that its connection can be used again. Only Seawall limits the time " +
				"for that, and reads the code of the error for its log.",
			processor, clients},
		{"Get", "A GET that succeeds", "The same without a key and a body.", processor, clients},
	}},
	{"Idempotency", []row{
		{"FirstRun", "A first request",
			"A POST of 1 KiB with a new key. Its response of 1 KiB is kept, with a hash of the " +
				"request's body.",
			processor, onces},
		{"Replay", "A replay",
			"The same POST with a known key. The body is compared, and the kept response is " +
				"written.",
			processor, onces},
	}},
	{"Idempotency in Redis", []row{
		{"RedisFirstRun", "A first request, kept in Redis",
			"A POST of 1 KiB with a new key. Its response of 1 KiB is kept in Redis, with a hash of " +
				"the request's body. One client sends one request after the other. The time is " +
				"elapsed time over loopback. Over a network, a round trip costs far more than the " +
				"rest.",
			elapsed, sharedOnces},
		{"RedisReplay", "A replay from Redis", "The same POST with a known key.", elapsed, sharedOnces},
	}},
	{"Idempotency in PostgreSQL", []row{
		{"PostgresFirstRun", "A first request, kept in PostgreSQL",
			"A POST of 1 KiB with a new key makes a transfer: a transaction of two UPDATEs and an " +
				"INSERT. Its response of 1 KiB is kept in the same database. One client sends one " +
				"request after the other. The time is elapsed time over loopback. PostgreSQL waits " +
				"for the disk at each commit (fsync is on). The Executor adds a round trip and no " +
				"commit to the transaction, and the lease adds two commits. A slower disk brings " +
				"the ratio of the transfer alone closer to 1.",
			elapsed, pgOnces},
		{"PostgresFirstRuns", "First requests, kept in PostgreSQL, 32 clients",
			"The same with 32 clients at the same time. They and PostgreSQL share the processors, " +
				"which are busy all the time. The time is elapsed time divided by the number of " +
				"requests. Commits wait for the disk together.",
			elapsed, pgOnces},
		{"PostgresReplay", "A replay from PostgreSQL",
			"The same POST with a known key. All ways of Seawall read the record once, without a " +
				"transaction.",
			elapsed, []side{
				pgOnces[0], pgOnces[2], pgOnces[5], pgOnces[6],
				{name: "bare", title: "a SELECT of the response", lower: true},
			}},
	}},
}

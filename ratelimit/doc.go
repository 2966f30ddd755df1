// Package ratelimit limits HTTP requests: how many per second, how many at the same time,
// and which ones first when there are too many.
//
//	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
//		Limit: ratelimit.PerSecond(100),
//		Key:   ratelimit.ByPrincipal,
//	})
//	http.ListenAndServe(addr, authenticate(limit(handler)))
//
// Each key has a token bucket, a rate.Limiter of golang.org/x/time/rate. It is full at
// first, a request takes one unit, and units come back evenly. See [Limit]. A denied
// request takes nothing.
//
// The response shows how much is left, in the fields of
// draft-ietf-httpapi-ratelimit-headers-11: here, 99 units, and one more within a second.
//
//	RateLimit-Policy: "default";q=100;w=1
//	RateLimit: "default";r=99;t=1
//
// A denial is 429 rate_limit_exceeded. Its Retry-After is exact: the same request is
// admitted after that many seconds, and not a second earlier, if the caller sends no
// other in between.
//
// # Keys
//
// A [KeyFunc] returns the key that a request is charged to. [ByPrincipal] is the right
// one behind authentication. [ByAPIKey] works without, but then every invalid key has a
// full bucket. A route that anyone can reach needs a limit by address before that, with
// [ByRemoteAddr], or [ByForwardedFor] behind proxies. [Join] combines keys, and [First]
// is for optional ones.
//
// # Rules
//
// [New] takes several rules, such as one by API key and one by organization. A request is
// charged by all of them, or, if one denies it, by none. [Rule].LimitFor returns the
// limit of the caller's plan, and [Rule].Cost how many units a request takes. When a plan
// changes, the units in the bucket stay.
//
// If the cost is known only when the request is done, such as the tokens of a language
// model, Rule.Cost returns an estimate. The handler calls [Settle] with the real cost, or
// Rule.CostAfter computes it from the status. The difference is given back or taken.
// [Reset] fills the bucket, for example after a successful login.
//
// [Options].Shadow denies nothing and shows nothing, and [Options].Observe reports what
// each rule would do: a way to try a limit before it counts.
//
// # Limiters
//
// [Memory] limits within one process. It keeps 65,536 keys by default, in about 8 MB, and
// forgets buckets that are full again. When there is no room, it evicts the bucket that
// is the fullest of a random sample. A flood of new keys then evicts its own buckets
// first, but one that drains that many buckets can evict any. For a rule where that is
// cheap, such as five login attempts for each account name, use another Memory, with
// [MemoryOptions].RefuseWhenFull, and a limit by address before it.
//
// A limiter that several servers share implements [Limiter] and [MultiLimiter], and
// package ratelimittest tests it. If it fails, a Memory in each process takes its place:
// see [Fail]. Limiters also work without HTTP, for example in queues.
//
// # Concurrency and overload
//
// A rate does not bound slow requests. [MaxConcurrent] bounds the requests of each key
// that run at the same time. [Shed] looks at all requests in the process. If too many
// run, it refuses the least important ones first, and keeps a share for the critical
// ones.
//
// A good order, from the outside in: Shed, a limit by address, authentication, limits by
// principal, MaxConcurrent.
package ratelimit

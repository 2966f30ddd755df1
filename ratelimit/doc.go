// Package ratelimit limits HTTP requests: how many each caller may send per second, how
// many may run at the same time, and which ones to refuse first when there are too many.
//
//	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
//		Limit: ratelimit.PerSecond(100),
//		Key:   ratelimit.ByPrincipal,
//	})
//	http.ListenAndServe(addr, authenticate(limit(handler)))
//
// Each key has a token bucket, which is a rate.Limiter of golang.org/x/time/rate. The
// bucket is full at first. A request takes one unit (token) from it, and units come back
// evenly. See [Limit]. A denied request takes nothing.
//
// The response shows how much is left, in the fields of
// draft-ietf-httpapi-ratelimit-headers-11. In this example, 99 units are left, and one
// more comes back within a second.
//
//	RateLimit-Policy: "default";q=100;w=1
//	RateLimit: "default";r=99;t=1
//
// A denial is 429 rate_limit_exceeded. Its Retry-After is exact: if the caller sends no
// other request in between, the same request is admitted after that many seconds, but not
// one second earlier.
//
// # Keys
//
// A [KeyFunc] returns the key that a request is charged to. Behind authentication, use
// [ByPrincipal]. [ByAPIKey] also works without authentication, but then every invalid key
// has its own full bucket. A route that anyone can reach needs a limit by address in
// front of the others, with [ByRemoteAddr] or, behind proxies, with [ByForwardedFor].
// [Join] combines keys, and [First] is for optional keys.
//
// # Rules
//
// [New] takes several rules, such as one by API key and one by organization. A request is
// charged by all rules or, if one of them denies it, by none. [Rule].LimitFor returns the
// limit of the caller's plan, and [Rule].Cost how many units a request takes. When a plan
// changes, the units in the bucket stay.
//
// If the cost is known only when the request is done, such as the tokens of a language
// model, Rule.Cost returns an estimate. Later, the handler calls [Settle] with the real
// cost, or Rule.CostAfter computes the real cost from the status. The difference is then
// given back or taken. [Reset] fills the bucket, for example after a successful login.
//
// To try a limit without effect, set [Options].Shadow. No request is denied, no header
// fields are added, and [Options].Observe reports what each rule would do.
//
// # Limiters
//
// [Memory] limits within one process. It keeps 65,536 keys by default, in about 9 MB, and
// forgets buckets that are full again. When there is no room, it evicts, from a random
// sample, the bucket that would be full the soonest. A flood of new keys then evicts its
// own buckets first. But a flood that also drains its buckets can evict any bucket. Where
// buckets are cheap to drain, such as with five login attempts for each account name, use a
// separate Memory with [MemoryOptions].RefuseWhenFull, and a limit by address in front of
// it.
//
// Several processes need a limiter that they share: module ratelimit/redislimit has one in
// Redis. Others implement [Limiter] and [MultiLimiter], and package ratelimittest tests
// them. If a limiter fails, each process uses a Memory instead, by default: see [Fail].
// Limiters also work without HTTP, for example in queues.
//
// # Concurrency and overload
//
// A rate limit does not limit how many slow requests run at the same time.
// [MaxConcurrent] does that for each key. It counts in the process, or with [Slots] that
// several servers share. [Shed] counts all requests in the process. If too many run, it
// refuses the least important ones first, and keeps a part of the capacity for critical
// ones.
//
// A good order, from the outside in: Shed, a limit by address, authentication, limits by
// principal, MaxConcurrent.
package ratelimit

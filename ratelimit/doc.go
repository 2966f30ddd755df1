// Package ratelimit limits requests: how many per second and caller, how many at once, and which
// ones first when there are too many.
//
//	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
//		Limit: ratelimit.PerSecond(100),
//		Key:   ratelimit.ByPrincipal,
//	})
//	http.ListenAndServe(addr, limit(handler))
//
// # Token buckets
//
// Every caller has a bucket of golang.org/x/time/rate. It is full at first, a request takes a unit
// out of it, and units come back evenly: [PerSecond](100) is a bucket of 100 units, one of which
// comes back every 10 ms. So a caller may send 100 requests at once, 100 a second forever, and at
// most 200 in the first second. A smaller Burst makes it smoother:
//
//	ratelimit.Limit{Quota: 100, Window: time.Second, Burst: 10}
//
// A request that finds too few units is denied and takes nothing, so that a caller who keeps trying
// is not kept out by that.
//
// # What the caller sees
//
// Every answer of a limited route tells how things stand, in the fields of
// draft-ietf-httpapi-ratelimit-headers-11: q units come back every w seconds, r are left, and there
// is one more in t seconds.
//
//	RateLimit-Policy: "default";q=100;w=1
//	RateLimit: "default";r=99;t=1
//
// A denial is 429 rate_limit_exceeded. Its Retry-After can be believed: it is the least whole
// number of seconds after which the same request is admitted, if the caller sends no other in
// between.
//
// # Whose bucket
//
// There is no default [KeyFunc]. Behind authentication, [ByPrincipal] is the right one: nobody can
// make up a principal. [ByAPIKey] needs no authentication before it, but then every key that
// somebody makes up has a bucket of its own, and a full one. So a surface that strangers reach
// needs a limit by address in front, [ByRemoteAddr], or [ByForwardedFor] behind proxies:
//
//	limiter := ratelimit.NewMemory(nil)
//	byAddress := ratelimit.New(limiter, nil,
//		ratelimit.Rule{Name: "address", Limit: ratelimit.PerSecond(50), Key: ratelimit.ByRemoteAddr})
//	byKey := ratelimit.New(limiter, nil,
//		ratelimit.Rule{Name: "key", Limit: ratelimit.PerSecond(100), Key: ratelimit.ByAPIKey})
//	handler = byAddress(authenticate(byKey(handler)))
//
// For another key where one is missing, there is [First]; for a key of several parts, [Join].
//
// # Plans, routes, costs
//
// Rule.LimitFor is the limit of the caller's plan, and Rule.Cost what a request takes: a search may
// cost ten. When a plan changes, what is in the bucket stays, so that a change neither fills it nor
// forgives what was taken. Routes with limits of their own need buckets of their own:
//
//	ratelimit.Rule{
//		Name:     "route",
//		Key:      ratelimit.Join(ratelimit.ByPrincipal, ratelimit.ByPattern(mux)),
//		LimitFor: limitOfRoute,
//	}
//
// Several rules, such as one by API key and one by organization, go into one [New]. A request is
// charged by all of them or by none: what one denies costs nothing by the others. Names of rules
// tell their buckets apart; rules of the same name and [Limiter] share them.
//
// # Costs that are known afterwards
//
// What a request costs in tokens, in money or in rows is often known only when it is done.
// Rule.Cost is an estimate then, which is charged before, and the handler calls [Settle] with the
// real cost: the difference is given back, or taken. What is taken may put the bucket into debt,
// and is never denied. Rule.CostAfter does the same from outside the handler, by the status that
// was sent. What is never settled stays charged. The estimates that are admitted never exceed what
// the limit allows, so a rule with good estimates is only ever off by the requests that are in
// flight.
//
// With [Reset], a log-in that succeeds forgives the failed ones before it.
//
// # Before it is real
//
// Options.Shadow counts what would be denied, denies nothing, and shows nothing to the callers.
// Options.Observe is told every outcome. No key is in what it is told, or in what is logged.
//
// # Memory
//
// [Memory] keeps 65,536 keys by default, in 8 MB; a key takes 124 bytes of it, however long it is.
// A bucket that is full, by every limit that it had, is like a new one: it is forgotten. When there
// are more keys in use than that, it forgets the one that would be full the soonest, of a few
// picked at random, and counts it: see [MemoryStats]. So a flood of new keys pushes out its own
// before a bucket that was drained.
//
// It does push that out when it drains as many of its own as there is room for, which is cheap
// where a bucket holds little: five tries at a password for each account name, say. Give such a
// rule a Memory of its own that never forgets what is not full, with [ShareOverflow] or
// [RefuseNew], and a limit by address in front.
//
// # Limiters elsewhere
//
// A [Limiter] decides without HTTP, for use in jobs and queues. One that several servers share is
// an implementation of [Limiter] and [MultiLimiter]; package ratelimittest checks it. When it
// fails, that is never the caller's 429: by default the middleware goes on with a Memory of its
// own, see [OnFailure].
//
// # Too much at once
//
// A rate says nothing about requests that take long. [MaxConcurrent] bounds how many of a caller's
// run at once. [Shed] looks at all that run in the process: when there are too many, it refuses the
// least important ones first, and keeps a share for the critical ones.
//
// From the outside in, the order that works: [Shed], a limit by address, authentication, limits by
// principal, [MaxConcurrent]. Out there [Shed] can tell classes by the route only; where they
// depend on the principal's plan, it goes inside of authentication.
package ratelimit

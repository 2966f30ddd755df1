// Package redislimit limits requests in several processes together: its counters are in Redis. A
// [Limiter] has token buckets for [ratelimit.New], and [Slots] count running requests for
// [ratelimit.MaxConcurrent].
//
// # Guarantees
//
//	fault                              what happens
//	none                               each bucket admits at most Burst + Quota·t/Window units
//	                                   in a time t, whichever processes ask
//	a reply is lost                    the request is handled by OnFailure; its units are
//	                                   taken once or not at all, never twice
//	Redis is down, slow, out of        an error, after Timeout (50 ms) at most. OnFailure of
//	memory or read-only                the middleware decides: a local limit (the default),
//	                                   no limit, or 503
//	an outage goes on                  after a call without an answer, Redis is not asked for a
//	                                   second, then once as a probe. Callers do not wait
//	SCRIPT FLUSH                       nothing
//	the server's clock is set back     buckets keep their units, and refill from the new time
//	a key holds something else         an error for this bucket alone, until the key is deleted
//
// A bucket without a key is full. So if Redis loses a key, its caller has the whole burst again:
// after a restart without persistence, and after an eviction. Every key has a time to live, so any
// maxmemory-policy except noeviction can evict buckets. After a failover, buckets may lack the
// last charges, since replication is asynchronous.
//
// Only the clock of the server counts, so the clocks of the processes do not matter. The keys of
// callers do not reach Redis, only their hashes: see [Options].Secret and [Limiter.RedisKey].
//
// # Use
//
//	client := redis.NewClient(&redis.Options{Addr: "redis:6379"})
//	limiter := redislimit.New(client, nil)
//	limit := ratelimit.New(limiter, nil,
//		ratelimit.Rule{Limit: ratelimit.PerSecond(100), Key: ratelimit.ByAPIKey})
//
// Make one Limiter in each process, and use it for all routes. The package runs scripts (EVALSHA)
// on Redis 6.2 or later, or on Valkey. Another client library needs a [Runner].
//
// Set ContextTimeoutEnabled on a client of go-redis. Without it, a command ignores the deadline of
// its context, and each call needs another goroutine that can return in time. docs/REDIS.md has
// more about settings, and about what to look at when something is wrong.
//
// # Calls
//
// A decision is one script call, whatever the number of rules. Decisions that wait at the same
// moment share a call: while one is under way, others gather, and go out together when it ends, or
// as a second call when there are 32. If Redis is slow, they go out after an eighth of Timeout, and
// up to eight calls are under way. A caller that is alone never waits for others. In a shared call,
// each decision is still atomic and exact.
//
// A denial is remembered until the bucket can hold the cost again, for a second at most. So a
// caller that goes on without waiting costs Redis one call a second. That is exact, except that
// units which come back other than with time are noticed up to a second later: another process
// calls [Limiter.Adjust] or [Limiter.Reset], the bucket has another limit for a while, or Redis
// loses the bucket. Retry-After is at least a second too, so a caller that waits as it is told does
// not notice. The table holds 8,192 denials and takes about 3 MB. With long keys or several rules,
// it takes more, but at most 20 MB.
//
// # Redis Cluster
//
// The buckets of one caller's key share a hash tag, and so a hash slot. Rules with different keys,
// such as an API key and an address, need [Options].HashTag. Only decisions about keys with the
// same tag share a call. The same is true of a [redis.Ring]. While a hash slot moves to another
// master, decisions about several of its buckets may fail.
//
// # Running requests
//
// [Slots] count the running requests of all processes for [ratelimit.MaxConcurrent]. Each slot has
// a lease of 30 seconds, which is renewed while the request runs:
//
//	fault                              what happens
//	none                               at most n requests of a key run, in all processes together
//	a process dies                     its slots are free after the lease
//	a process is paused beyond the     its requests go on when it is resumed, beside those that
//	lease                              have its slots now; they free nothing when they end
//	a reply is lost                    the request is handled by OnFailure; if a slot was taken,
//	                                   it is given back soon after Redis answers again
//	Redis is down or slow              as above, by OnFailure; running requests keep their slots
//	                                   for the lease, and then are no longer counted
//	Redis loses its data or the key    requests that are running are no longer counted
//	the server's clock jumps forward   as above, if it jumps beyond the lease
//	the server's clock is set back     leases end a lease after the next entry at the latest
package redislimit

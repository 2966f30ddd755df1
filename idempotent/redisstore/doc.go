/*
Package redisstore is an [idempotent.Store] for services that run in several processes: its records
are in Redis.

	effects of a handler                     happen
	after BeginEffect                        at most once; after a failure, the outcome is
	                                         unknown until Resolve
	without it                               once; again after a crash, a panic, a lost
	                                         lease or a 5xx

The handler's effects are not in Redis, so no effect commits together with its record. A store in
the handler's own database can do that: see docs/STORE_GUIDE.md.

These guarantees hold as long as Redis keeps what it has confirmed. If it loses a record, the key
is new, and a retry runs again, even after BeginEffect:

	Redis                                    can lose
	appendfsync always                       nothing when it restarts
	appendfsync everysec                     the last one or two seconds when its machine fails
	no persistence                           everything when it restarts
	a failover (Sentinel, Cluster)           what the old master had not yet replicated, whatever
	                                         appendfsync says
	a maxmemory-policy but noeviction        any record, also a running one
	maxmemory-policy noeviction              nothing: new records and responses are refused

So use noeviction, and appendfsync always if a repeated effect is expensive. With replicas,
min-replicas-to-write bounds what a failover can lose. Where not even that may repeat an effect, use
a database, or pass on an idempotent.DerivedKey.

# Use

	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	store := redisstore.New(client, nil)
	keyed := idempotent.New(store, idempotent.ByPrincipal, nil)
	http.ListenAndServe(addr, authenticate(keyed(mux)))

Make one Store in each process, and use it for all routes. [New] takes every client of go-redis: for
one server, for Sentinel and for Cluster. The package runs scripts (EVALSHA) on Redis 6.2 or later,
or on Valkey; the tests use Redis 7.0. Another client library needs a [Runner].

A call returns when its context ends, even if go-redis still waits for a reply. The call may have
taken effect then. The middleware repeats it, and the store recognizes its token. docs/REDIS.md has
more about settings, and about what to look at when something is wrong.

# In Redis

Each record is a Redis hash. Its key is the prefix and the hexadecimal [idempotent.ID]. Each
operation is one Lua script on this key. Only the server's clock decides, so the clocks of services
do not matter. After a failover, the clock of the new master decides: keep the clocks of the servers
synchronized.

The fields can be read with redis-cli. They hold hashes, a random token and times. Of requests and
responses, only the recorded response is in Redis. A running record takes about 450 bytes. A
finished one takes about 1 KB more than its response.

	redis-cli HGETALL idempotent:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9

Redis removes records after their retention by itself. The store never changes a key that does not
hold a record, or one with a later layout: its operations then return an error.

The user of the store needs these rights:

	~idempotent:* &idempotent:* +eval +evalsha +exists +hmget +hget +hset +hdel +del +pexpire +time
	+publish +subscribe +unsubscribe +ping +info +scan

On a Cluster, go-redis also needs +cluster|slots. The right to publish and to subscribe makes
duplicates wait shorter. The store uses INFO once, for the warning about maxmemory-policy, and SCAN
for [Store.ListUnknown].

# When Redis is full

With noeviction, a Redis that has reached its maxmemory refuses new records, and the responses of
StateDone, with [idempotent.ErrFull]. The middleware then records that a request ran, without its
response. Everything else works: renewals, takeovers, BeginEffect, all other ends of a run. These
change an existing record and need at most a few KB.

# Waiting

Duplicates that wait in another process are woken by a message. All of them in one process share one
connection, which is opened for the first and closed two seconds after the last. A message can be
lost, so they also look at the record about once a second.

On a Cluster, each message goes to all nodes. That is one small message per request with a key.
*/
package redisstore

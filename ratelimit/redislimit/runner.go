package redislimit

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1 hash
	"encoding/hex"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Runner runs Lua scripts on Redis. It is all that this package needs of a client library.
// [New] has one for go-redis. With another library, write one and use [NewRunner] and
// [NewSlotsRunner]. Package redisstore has the same interface, so one type can serve both.
type Runner interface {
	// Run runs the script with EVALSHA, and with EVAL if the server answers NOSCRIPT. The
	// script is one of a few constants. Keys and arguments can hold any bytes. The reply is an
	// int64, a string, nil, or a []any of these. Run is safe for concurrent use.
	//
	// Run must send the script at most once, because a script that runs twice charges twice.
	// Only after MOVED, ASK and NOSCRIPT may it send it again, because the server has not run it.
	// If the server answers with another error, the error must have a method RedisError(), as
	// the errors of go-redis have. Run must return when ctx ends.
	Run(ctx context.Context, script string, keys, args []string) (reply any, err error)
}

// goRedis is the Runner for go-redis.
type goRedis struct {
	client redis.UniversalClient
	late   bool // whether commands ignore the deadline of their context
	checks atomic.Bool
	hashes atomic.Pointer[[]hashed]
}

func newGoRedis(client redis.UniversalClient) *goRedis {
	r := &goRedis{client: client, late: !heedsDeadlines(client)}
	r.hashes.Store(new([]hashed))
	return r
}

// heedsDeadlines reports whether a client ends the wait for a reply when the deadline of the
// context passes. By default, it waits until its ReadTimeout. (A copy with another timeout, by
// WithTimeout, would lack the hooks of the client.)
func heedsDeadlines(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}

// severalServers reports whether a client spreads keys over several servers.
func severalServers(client redis.UniversalClient) bool {
	switch client.(type) {
	case *redis.ClusterClient, *redis.Ring:
		return true
	}
	return false
}

// Run implements [Runner].
func (r *goRedis) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	if !r.late {
		return r.run(ctx, script, keys, args).Result()
	}
	type answer struct {
		reply any
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		a := answer{err: errEnded}
		defer func() {
			if p := recover(); p != nil {
				a.err = panicked(p)
			}
			answers <- a
		}()
		a.reply, a.err = r.run(ctx, script, keys, args).Result()
	}()
	select {
	case a := <-answers:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func panicked(p any) error { return fmt.Errorf("the client panicked: %v", p) }

func (r *goRedis) run(ctx context.Context, script string, keys, args []string) once {
	cmd := r.eval(ctx, "evalsha", r.hash(script), keys, args)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = r.eval(ctx, "eval", script, keys, args)
	}
	if isAnswer(cmd.Err()) {
		return cmd
	}
	go r.check(keys[0]) //nolint:gosec // the connections are not those of the request
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		// Another master may have the slot now. Of a command that it must not repeat, go-redis
		// does not find out by itself.
		cluster.ReloadState(ctx)
	}
	return cmd
}

// check drops idle connections that are broken, by a command that changes nothing. After a restart
// of the server, they all are, and go-redis does not notice that if they use TLS. Without this,
// each would cost a script its answer, and callers a pause.
func (r *goRedis) check(key string) {
	if r.checks.Swap(true) {
		return
	}
	defer r.checks.Store(false)
	defer func() { _ = recover() }() // a hook of the client
	ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
	defer cancel()
	for range r.client.PoolStats().IdleConns {
		cmd := once{redis.NewCmd(ctx, "exists", key)}
		if err := r.client.Process(ctx, cmd); isAnswer(err) || ctx.Err() != nil {
			return // the next script gets the same connection
		}
	}
}

func (r *goRedis) eval(ctx context.Context, command, script string, keys, args []string) once {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, command, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	for _, a := range args {
		all = append(all, a)
	}
	cmd := once{redis.NewCmd(ctx, all...)}
	if err := r.client.Process(ctx, cmd); err != nil {
		cmd.SetErr(err) // a hook may return another error than the command has
	}
	return cmd
}

// once is a command that go-redis does not repeat by itself after a lost connection or a
// timeout. The server may have run the script.
type once struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (once) NoRetry() bool { return true }

// hash returns the SHA-1 by which EVALSHA names a script. There are only a few scripts.
func (r *goRedis) hash(script string) string {
	known := r.hashes.Load()
	for i := range *known {
		if (*known)[i].script == script {
			return (*known)[i].hash
		}
	}
	sum := sha1.Sum([]byte(script)) //nolint:gosec // see the import
	hash := hex.EncodeToString(sum[:])
	more := append(slices.Clip(*known), hashed{script, hash})
	r.hashes.CompareAndSwap(known, &more)
	return hash
}

type hashed struct{ script, hash string }

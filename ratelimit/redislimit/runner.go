package redislimit

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1 hash
	"encoding/hex"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Runner runs Lua scripts on Redis. It is all that this package needs of a client library.
// [New] has one for go-redis. With another library, write one and use [NewRunner].
type Runner interface {
	// Run runs the script with EVALSHA, and with EVAL if the server answers NOSCRIPT. The
	// script is one of a few constants. The reply is an int64, a string, nil, or a []any of
	// these.
	//
	// Run must send the script at most once, because a script that runs twice charges twice.
	// Only after MOVED, ASK and NOSCRIPT may it send it again, because the server has not run it.
	// If the server answers with another error, the error has a method RedisError(), as the
	// errors of go-redis have. Run must return when ctx ends.
	Run(ctx context.Context, script string, keys, args []string) (reply any, err error)
}

// goRedis is the Runner for go-redis.
type goRedis struct {
	client redis.UniversalClient
	late   bool // whether commands ignore the deadline of their context
	hashes atomic.Pointer[[]hashed]
}

// newGoRedis returns a Runner for a client of go-redis. Unless ContextTimeoutEnabled is set, the
// client ignores the deadline of a context while it waits for a reply. A [redis.Client] can have
// a copy with the same connections and a shorter ReadTimeout. With another client, Run has to
// wait in another goroutine.
func newGoRedis(client redis.UniversalClient, timeout time.Duration) *goRedis {
	r := &goRedis{client: client, late: true}
	r.hashes.Store(new([]hashed))
	switch c := client.(type) {
	case *redis.Client:
		r.late = false
		if !c.Options().ContextTimeoutEnabled {
			r.client = c.WithTimeout(timeout)
		}
	case *redis.ClusterClient:
		r.late = !c.Options().ContextTimeoutEnabled
	}
	return r
}

// Run implements [Runner].
func (r *goRedis) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	if !r.late {
		return r.run(ctx, script, keys, args).Result()
	}
	cmds := make(chan once, 1)
	go func() { cmds <- r.run(ctx, script, keys, args) }()
	select {
	case cmd := <-cmds:
		return cmd.Result()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *goRedis) run(ctx context.Context, script string, keys, args []string) once {
	cmd := r.eval(ctx, "evalsha", r.hash(script), keys, args)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		return r.eval(ctx, "eval", script, keys, args)
	}
	return cmd
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

// hash returns the name of a script in Redis. There are only a few scripts.
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

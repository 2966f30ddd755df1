package redislimit

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1 hash
	"encoding/hex"
	"sync"

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
	// errors of go-redis have. Run should return when ctx ends.
	Run(ctx context.Context, script string, keys, args []string) (reply any, err error)
}

// goRedis is the Runner for go-redis.
type goRedis struct {
	client redis.UniversalClient
	hashes sync.Map // script to its hash
}

// Run implements [Runner].
func (r *goRedis) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	reply, err := r.eval(ctx, "evalsha", r.hash(script), keys, args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return r.eval(ctx, "eval", script, keys, args)
	}
	return reply, err
}

func (r *goRedis) eval(ctx context.Context, command, script string, keys, args []string) (any, error) {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, command, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	for _, a := range args {
		all = append(all, a)
	}
	cmd := once{redis.NewCmd(ctx, all...)}
	if len(keys) > 0 {
		cmd.SetFirstKeyPos(3)
	}
	_ = r.client.Process(ctx, cmd) // it is the error of cmd too
	return cmd.Result()
}

// once is a command that go-redis does not repeat by itself after a lost connection or a
// timeout. The server may have run the script.
type once struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (once) NoRetry() bool { return true }

func (r *goRedis) hash(script string) string {
	if h, ok := r.hashes.Load(script); ok {
		return h.(string)
	}
	sum := sha1.Sum([]byte(script)) //nolint:gosec // see the import
	h, _ := r.hashes.LoadOrStore(script, hex.EncodeToString(sum[:]))
	return h.(string)
}

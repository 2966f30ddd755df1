package redisstore

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1 hash
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// A Runner runs Lua scripts on Redis. It is all that this package needs of a client library.
// [New] has one for go-redis. With another library, write one and use [NewRunner]. Package
// redislimit has the same interface, so one type can serve both. For this package, it can also be a
// [Subscriber] and a [Scanner].
type Runner interface {
	// Run runs the script with EVALSHA, and with EVAL if the server answers NOSCRIPT. The
	// script is one of a few constants. There is always one key. Keys and arguments can hold any
	// bytes. The reply is an int64, a string, nil, or a []any of these. Run is safe for
	// concurrent use.
	//
	// Run must send the script at most once, because a second Resolve would return
	// [idempotent.ErrNotUnknown] although the first one took effect. Only after MOVED, ASK and
	// NOSCRIPT may it send it again, because the server has not run it. Run must return when
	// ctx ends.
	Run(ctx context.Context, script string, keys, args []string) (reply any, err error)
}

// A Subscriber is a [Runner] that also receives the messages with which the scripts announce the
// end of a run. Without one, [Store.Wait] asks several times a second.
type Subscriber interface {
	// Subscribe calls notify when the server has confirmed that it subscribes to the channel,
	// when it has done so again after the connection was lost, and for each message. Calls can
	// come at any time until cancel is called, and notify does not block. Subscribe returns
	// immediately. Many subscriptions should share one connection.
	Subscribe(channel string, notify func()) (cancel func())
}

// A Scanner is a [Runner] that can also list keys. [Store.ListUnknown] needs one.
type Scanner interface {
	// Scan calls each with all keys that match the pattern (see the SCAN command), on every
	// master of a Cluster. A key may come more than once. The calls come one after another.
	// The first error of each ends Scan and is returned. If a server restarts
	// during the walk, Scan must return an error, because a cursor means nothing to the new
	// process.
	Scan(ctx context.Context, pattern string, each func(keys []string) error) error
}

// goRedis is the Runner for go-redis.
type goRedis struct {
	client redis.UniversalClient
	hashes sync.Map // script to its hash
	listener
}

func newGoRedis(c redis.UniversalClient) Runner {
	g := &goRedis{client: c, listener: listener{client: c, wake: make(chan struct{}, 1)}}
	if _, ok := c.(*redis.Ring); ok {
		return struct { // a PubSub of a Ring listens to one server
			Runner
			Scanner
		}{g, g}
	}
	return g
}

// Run implements [Runner]. go-redis does not always return when a context ends: by default, it
// waits for a reply until its ReadTimeout. So the call has its own goroutine.
func (g *goRedis) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	return within(ctx, func() (any, error) {
		reply, err := g.eval(ctx, "evalsha", g.hash(script), keys, args)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			reply, err = g.eval(ctx, "eval", script, keys, args)
		}
		var answer redis.Error
		if cluster, ok := g.client.(*redis.ClusterClient); ok && err != nil && !errors.As(err, &answer) {
			cluster.ReloadState(ctx) // the master may be another one now
		}
		return reply, err
	})
}

func (g *goRedis) eval(ctx context.Context, command, script string, keys, args []string) (any, error) {
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
	if err := g.client.Process(ctx, cmd); err != nil {
		cmd.SetErr(err) // a hook may return another error than the command has
	}
	return cmd.Result()
}

// once is a command that go-redis does not repeat by itself after a lost connection or a
// timeout. The server may have run the script.
type once struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (once) NoRetry() bool { return true }

func (g *goRedis) hash(script string) string {
	if h, ok := g.hashes.Load(script); ok {
		return h.(string)
	}
	sum := sha1.Sum([]byte(script)) //nolint:gosec // see the import
	h, _ := g.hashes.LoadOrStore(script, hex.EncodeToString(sum[:]))
	return h.(string)
}

// Scan implements [Scanner].
func (g *goRedis) Scan(ctx context.Context, pattern string, each func(keys []string) error) error {
	var mu sync.Mutex
	scan := func(ctx context.Context, c *redis.Client) error {
		before, err := processOf(ctx, c)
		if err != nil {
			return err
		}
		for cursor, begun := uint64(0), false; cursor != 0 || !begun; begun = true {
			var keys []string
			if keys, cursor, err = c.ScanType(ctx, cursor, pattern, 1000, "hash").Result(); err != nil {
				return err
			}
			mu.Lock() // ForEachMaster calls scan concurrently
			err = each(keys)
			mu.Unlock()
			if err != nil {
				return err
			}
		}
		// The cursor means nothing to another process, and go-redis does not notice a restart.
		if after, err := processOf(ctx, c); err != nil || after != before {
			return cmp.Or(err, errors.New("the server has restarted during the walk"))
		}
		return nil
	}
	switch c := g.client.(type) {
	case *redis.Client:
		return scan(ctx, c)
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, scan)
	case *redis.Ring:
		return c.ForEachShard(ctx, scan)
	}
	return errors.ErrUnsupported
}

// processOf returns the run_id of a server, which is new after each start.
func processOf(ctx context.Context, c *redis.Client) (string, error) {
	info, err := c.Info(ctx, "server").Result()
	return infoField(info, "run_id"), err
}

// within returns what f returns. If ctx ends first, within returns its error, and f continues in
// its own goroutine. If f panics, for example in a hook of the client, that is an error, because
// no handler could recover it in that goroutine.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errors.New("the goroutine of the call has ended")}
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("the client panicked: %v", p)
			}
			done <- r
		}()
		r.value, r.err = f()
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

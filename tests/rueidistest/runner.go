package rueidistest

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1 hash
	"encoding/hex"
	"strconv"
	"sync"

	"github.com/redis/rueidis"
)

// A Runner runs Lua scripts with rueidis. It is a redislimit.Runner, a redisstore.Runner and a
// redisstore.Scanner, and safe for concurrent use.
//
// Scripts run at most once with the default options of rueidis, and with or without DisableRetry:
// rueidis only repeats commands that are marked as retryable, and these are not. But leave
// ConnLifetime zero. When a connection has reached that age, rueidis sends the commands that wait
// for their reply again on another connection, even if the server is already running them.
type Runner struct {
	client rueidis.Client
	hashes sync.Map // script to its hash
}

// NewRunner returns a Runner that uses the client. The caller closes the client.
func NewRunner(client rueidis.Client) *Runner { return &Runner{client: client} }

// Run runs the script, and returns when ctx ends.
//
// A call is not canceled with ctx: it goes on until the reply or the client's own timeouts, and its
// result is dropped. With a context that has a deadline, rueidis closes a connection that others
// use too, or does not notice that the context was canceled. With a short deadline, it would never
// connect to a server that is far away.
func (r *Runner) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	var reply any
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		reply, err = r.run(ctx, script, keys, args)
	}()
	select {
	case <-done:
		return reply, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *Runner) run(ctx context.Context, script string, keys, args []string) (any, error) {
	reply, err := r.eval(ctx, "EVALSHA", r.hash(script), keys, args)
	if answer, ok := rueidis.IsRedisErr(err); ok && answer.IsNoScript() {
		reply, err = r.eval(ctx, "EVAL", script, keys, args)
	}
	switch answer, ok := rueidis.IsRedisErr(err); {
	case ok:
		return nil, serverError{answer}
	case rueidis.IsRedisNil(err):
		return nil, nil //nolint:nilnil // it is the reply nil
	default:
		return reply, err
	}
}

// eval sends one command, unless no one waits for its result anymore. A builder such as
// B().Evalsha() panics on a Cluster if the keys have several slots. SetSlot only chooses the node,
// and the server then answers with an error.
func (r *Runner) eval(ctx context.Context, command, script string, keys, args []string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := r.client.B().Arbitrary(command, script, strconv.Itoa(len(keys))).Args(keys...).Args(args...).Build()
	if len(keys) > 0 {
		cmd = cmd.SetSlot(keys[0])
	}
	return r.client.Do(context.WithoutCancel(ctx), cmd).ToAny()
}

// Scan calls each with the keys that match the pattern. Only redisstore.Store.ListUnknown needs it.
// It walks through a server with one connection: rueidis would go on with another after a restart,
// when the cursor means nothing.
func (r *Runner) Scan(ctx context.Context, pattern string, each func(keys []string) error) error {
	for _, node := range r.client.Nodes() { // replicas too: a key may come more than once
		err := node.Dedicated(func(c rueidis.DedicatedClient) error { return scan(ctx, c, pattern, each) })
		if err != nil {
			return err
		}
	}
	return nil
}

func scan(ctx context.Context, c rueidis.DedicatedClient, pattern string, each func(keys []string) error) error {
	for cursor := uint64(0); ; {
		cmd := c.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Type("hash").Build()
		page, err := c.Do(ctx, cmd).AsScanEntry()
		if err != nil {
			return err
		}
		if err := each(page.Elements); err != nil {
			return err
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

func (r *Runner) hash(script string) string {
	if h, ok := r.hashes.Load(script); ok {
		return h.(string)
	}
	sum := sha1.Sum([]byte(script)) //nolint:gosec // see the import
	h, _ := r.hashes.LoadOrStore(script, hex.EncodeToString(sum[:]))
	return h.(string)
}

// serverError is an error that the server has answered with.
type serverError struct{ answer *rueidis.RedisError }

func (e serverError) Error() string { return e.answer.Error() }
func (e serverError) Unwrap() error { return e.answer }

// RedisError marks it as an answer of the server.
func (serverError) RedisError() {}

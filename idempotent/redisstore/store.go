package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/idempotent"
)

// Options configure a [Store]. Nil and the zero value are the defaults.
type Options struct {
	// Prefix is the beginning of every Redis key, and of the names of channels. Stores with the
	// same prefix share their records, so all processes of a service need the same prefix.
	// Services that share a Redis need different ones, or different values of
	// idempotent.Options.Namespace. If empty, it is "idempotent:".
	Prefix string

	// Logger gets one warning if Redis may evict records. If nil, slog.Default() is used.
	Logger *slog.Logger
}

// Store is an [idempotent.Store] in Redis. It also implements [idempotent.Waiter],
// [idempotent.Resolver] and [idempotent.UnknownLister]. It needs no Sweeper, because Redis removes
// what has expired. It is safe for concurrent use.
//
// The errors of Redis, such as READONLY, LOADING and CLUSTERDOWN, are returned wrapped. If Redis is
// out of memory, the error matches [idempotent.ErrFull].
//
// It has nothing to close. A connection on which duplicates wait is closed two seconds after the
// last of them has left.
type Store struct {
	runner  Runner
	prefix  string
	logger  *slog.Logger
	poll    time.Duration // between two questions of Wait, on average
	checked atomic.Bool   // the eviction policy
}

// New returns a Store that uses a client of go-redis: a [redis.Client], a [redis.ClusterClient] or
// a [redis.Ring]. New does not connect, and panics if client is nil. The caller closes the client,
// after the last call of the Store.
func New(client redis.UniversalClient, o *Options) *Store {
	if client == nil {
		panic("redisstore: New with a nil client")
	}
	return NewRunner(newGoRedis(client), o)
}

// NewRunner is [New] for other client libraries.
func NewRunner(r Runner, o *Options) *Store {
	if r == nil {
		panic("redisstore: NewRunner with a nil Runner")
	}
	if o == nil {
		o = new(Options)
	}
	s := &Store{runner: r, prefix: cmp.Or(o.Prefix, "idempotent:"), logger: o.Logger, poll: time.Second}
	if _, ok := r.(Subscriber); !ok {
		s.poll = 200 * time.Millisecond
	}
	return s
}

// Acquire implements [idempotent.Store]. After the first call that succeeds, it looks in the
// background whether Redis may evict records, and logs a warning if so.
func (s *Store) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	if err := c.Validate(); err != nil {
		return idempotent.Decision{}, fmt.Errorf("redisstore: Acquire: %w", err)
	}
	reply, err := s.run(ctx, "Acquire", acquireScript, c.ID,
		c.Fingerprint.String(), c.Token.String(), c.Scope.String(), microseconds(c.Lease), microseconds(c.Retention))
	if err != nil {
		return idempotent.Decision{}, err
	}
	s.checkPolicy(ctx, c.ID)
	d, ok := decisionOf(reply)
	if !ok {
		return idempotent.Decision{}, unexpected("Acquire", reply)
	}
	return d, nil
}

// decisionOf returns the decision that a reply of acquire.lua holds.
func decisionOf(reply any) (d idempotent.Decision, ok bool) {
	list, _ := reply.([]any)
	if len(list) == 0 {
		return d, false
	}
	var value any
	if len(list) > 1 {
		value = list[1]
	}
	switch list[0] {
	case "acquired":
		attempt, ok := value.(int64)
		return idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: int(attempt)}, ok
	case "running":
		left, ok := value.(int64)
		return idempotent.Decision{Verdict: idempotent.VerdictRunning, LeaseLeft: duration(left)}, ok
	case "done":
		response, ok := value.(string)
		return idempotent.Decision{Verdict: idempotent.VerdictDone, Response: []byte(response)}, ok
	case "not_kept":
		response, ok := value.(string)
		return idempotent.Decision{Verdict: idempotent.VerdictNotKept, Response: []byte(response)}, ok
	case "mismatch":
		return idempotent.Decision{Verdict: idempotent.VerdictMismatch}, true
	case "unknown":
		return idempotent.Decision{Verdict: idempotent.VerdictUnknown}, true
	}
	return d, false
}

// Renew implements [idempotent.Store].
func (s *Store) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	if d <= 0 {
		return errors.New("redisstore: Renew: the lease must be positive")
	}
	return s.change(ctx, "Renew", renewScript, o.ID, o.Token.String(), microseconds(d))
}

// BeginEffect implements [idempotent.Store].
func (s *Store) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	return s.change(ctx, "BeginEffect", beginEffectScript, o.ID, o.Token.String())
}

// Finish implements [idempotent.Store].
func (s *Store) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	if err := c.Validate(idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent); err != nil {
		return fmt.Errorf("redisstore: Finish: %w", err)
	}
	return s.change(ctx, "Finish", finishScript, o.ID,
		o.Token.String(), c.State.String(), microseconds(c.Retention), string(c.Response))
}

// Resolve implements [idempotent.Resolver].
func (s *Store) Resolve(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
	if err := c.Validate(idempotent.StateDone, idempotent.StateNotKept, idempotent.StateAbsent); err != nil {
		return fmt.Errorf("redisstore: Resolve: %w", err)
	}
	return s.change(ctx, "Resolve", resolveScript, id, c.State.String(), microseconds(c.Retention), string(c.Response))
}

// change runs a script that changes a record or refuses to.
func (s *Store) change(ctx context.Context, op, script string, id idempotent.ID, args ...string) error {
	reply, err := s.run(ctx, op, script, id, args...)
	switch {
	case err != nil:
		return err
	case reply == "ok":
		return nil
	case reply == "lost":
		return idempotent.ErrLost
	case reply == "not_unknown":
		return idempotent.ErrNotUnknown
	}
	return unexpected(op, reply)
}

// unexpected is the error for a Runner that returns something else than the script does.
func unexpected(op string, reply any) error {
	return fmt.Errorf("redisstore: %s: unexpected reply of the script: %T", op, reply)
}

// run runs a script on the record of id.
func (s *Store) run(ctx context.Context, op, script string, id idempotent.ID, args ...string) (any, error) {
	err := ctx.Err()
	if err == nil {
		var reply any
		if reply, err = s.runner.Run(ctx, script, []string{s.key(id)}, args); err == nil {
			return reply, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("redisstore: %s: %w", op, ctx.Err())
	case strings.Contains(err.Error(), "OOM command not allowed"):
		return nil, fmt.Errorf("redisstore: %s: %w: %w", op, idempotent.ErrFull, err)
	}
	return nil, fmt.Errorf("redisstore: %s, record %s: %w", op, id, err)
}

func (s *Store) key(id idempotent.ID) string { return s.prefix + id.String() }

// microseconds formats a duration for a script. It rounds up, so that a positive one stays so.
func microseconds(d time.Duration) string {
	us := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return strconv.FormatInt(us, 10)
}

// duration returns a number of microseconds as a duration. It is never negative.
func duration(us int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Microsecond)
	return time.Duration(min(max(us, 0), most)) * time.Microsecond
}

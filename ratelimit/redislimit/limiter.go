package redislimit

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/ratelimit"
)

// Options configure a [Limiter]. Nil and the zero value are the defaults.
type Options struct {
	// Prefix is the beginning of every Redis key. Limiters with the same prefix share their
	// buckets, so all processes of a service need the same prefix, and services that share a
	// Redis need different ones. If empty, it is "ratelimit:".
	Prefix string

	// Secret makes Redis keys unpredictable to anyone who knows or guesses the key of a caller
	// (HMAC-SHA-256). Set it if keys can be guessed, such as addresses or account numbers. All
	// processes need the same secret. A new secret makes every bucket full. If empty, Redis keys
	// contain a plain hash.
	Secret []byte

	// Timeout bounds each decision, including the wait for a connection. It should be at least
	// twice the usual latency of Redis. If zero, it is 50 milliseconds. It must not be negative.
	// If the context of a caller ends earlier, the caller leaves, unless the call that is under
	// way is its own: that one is not interrupted.
	Timeout time.Duration

	// HashTag puts all buckets into one hash slot of a Redis Cluster, or on one shard of a
	// [redis.Ring], by a tag such as "limits". It is needed there if one request is charged to
	// buckets of several keys, for example to those of an API key and of an address. One server
	// then has all the work. If empty, the buckets of each key have their own tag.
	HashTag string

	// Cluster must be set if a [Runner] talks to a Redis Cluster or to several shards. All keys
	// of a script call then have the same hash tag. [New] sets it for clients of go-redis.
	Cluster bool
}

// Limiter is a [ratelimit.Limiter] whose buckets are in Redis. It also implements
// [ratelimit.MultiLimiter], [ratelimit.Adjuster], [ratelimit.Resetter] and [ratelimit.Registrar].
// It is safe for concurrent use. It has nothing to close.
//
// The errors of Redis, such as READONLY and OOM, are returned wrapped.
type Limiter struct {
	keys    keys
	batches *batches
	denials *denials
	now     func() time.Time // the monotonic clock of this process

	mu    sync.Mutex
	rules map[string]ratelimit.Limit // the limits that Register was given
}

// New returns a Limiter that uses a client of go-redis: a [redis.Client], a
// [redis.ClusterClient] or a [redis.Ring]. New does not connect. The caller closes the client,
// after the last call of the Limiter. New panics if client is nil, or if an option is invalid.
func New(client redis.UniversalClient, o *Options) *Limiter {
	if client == nil {
		panic("redislimit: New with a nil client")
	}
	var options Options
	if o != nil {
		options = *o
	}
	options.Cluster = options.Cluster || severalServers(client)
	return NewRunner(newGoRedis(client), &options)
}

// NewRunner is [New] for other client libraries.
func NewRunner(r Runner, o *Options) *Limiter {
	if r == nil {
		panic("redislimit: NewRunner with a nil Runner")
	}
	if o == nil {
		o = &Options{}
	}
	if o.Timeout < 0 {
		panic("redislimit: Options.Timeout is negative")
	}
	if strings.ContainsAny(o.HashTag, "{}") {
		panic("redislimit: Options.HashTag has a brace")
	}
	timeout := cmp.Or(o.Timeout, defaultTimeout)
	return &Limiter{
		keys:    newKeys(o),
		batches: newBatches(newLinks(r, timeout, maxPause, o.Cluster), timeout),
		denials: newDenials(),
		now:     time.Now,
		rules:   make(map[string]ratelimit.Limit),
	}
}

const defaultTimeout = 50 * time.Millisecond

var (
	errSame  = errors.New("redislimit: TakeAll with two charges to one bucket")
	errInto  = errors.New("redislimit: TakeAll with slices of different lengths")
	errTags  = errors.New("redislimit: TakeAll with keys of several hash tags on a Cluster: set Options.HashTag")
	errOther = errors.New("redislimit: the Redis key of a bucket holds something else: delete it, or use another Prefix")
	errReply = errors.New("redislimit: the reply is not that of the script")
)

// Take implements [ratelimit.Limiter].
func (l *Limiter) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	charges, into := [1]ratelimit.Charge{c}, [1]ratelimit.Decision{}
	err := l.TakeAll(ctx, charges[:], into[:])
	return into[0], err
}

// TakeAll implements [ratelimit.MultiLimiter].
func (l *Limiter) TakeAll(ctx context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	if err := check(charges, into); err != nil {
		return err
	}
	if len(charges) == 0 || l.denials.find(charges, into, l.now) {
		return nil
	}
	epoch := l.denials.epoch(charges)
	g := l.group(charges)
	if err := l.batches.take(ctx, g); err != nil {
		return err
	}
	for i, c := range charges {
		into[i] = decide(c, g.results[i], 0)
	}
	l.denials.add(g, epoch, l.now)
	return nil
}

func check(charges []ratelimit.Charge, into []ratelimit.Decision) error {
	if len(charges) != len(into) {
		return errInto
	}
	for i, c := range charges {
		if err := c.Validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(charges[:i], func(other ratelimit.Charge) bool { return sameBucket(c, other) }) {
			return errSame
		}
	}
	return nil
}

func sameBucket(a, b ratelimit.Charge) bool { return a.Key == b.Key && a.Rule == b.Rule }

// group returns the group of the charges, and keeps nothing of the caller's.
func (l *Limiter) group(charges []ratelimit.Charge) *group {
	g := &group{done: make(chan struct{})}
	g.charges, g.keys = append(g.oneCharge[:0], charges...), g.oneKey[:0]
	for _, c := range charges {
		g.keys = append(g.keys, l.keys.of(c.Rule, c.Key))
	}
	return g
}

// Adjust implements [ratelimit.Adjuster].
func (l *Limiter) Adjust(ctx context.Context, c ratelimit.Charge) error {
	if err := c.Limit.Validate(); err != nil {
		return err
	}
	if c.Cost < -maxAdjust || c.Cost > maxAdjust {
		return fmt.Errorf("redislimit: an Adjust by more than %d units", maxAdjust)
	}
	if c.Cost == 0 {
		return nil
	}
	return l.change(ctx, adjustScript, c.Rule, c.Key, []string{argument(c, 0)})
}

const maxAdjust = 1_000_000_000

// Reset implements [ratelimit.Resetter].
func (l *Limiter) Reset(ctx context.Context, rule, key string) error {
	return l.change(ctx, resetScript, rule, key, nil)
}

// change runs a script on one bucket, and forgets its denials.
func (l *Limiter) change(ctx context.Context, script, rule, key string, args []string) error {
	k := l.keys.of(rule, key)
	_, err := l.batches.links.of(k).run(ctx, script, []string{k}, args)
	l.denials.forget(ratelimit.Charge{Rule: rule, Key: key})
	return err
}

// Register implements [ratelimit.Registrar].
func (l *Limiter) Register(rule string, limit ratelimit.Limit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.rules[rule]; ok && before != limit {
		return fmt.Errorf("redislimit: two rules with different limits are called %q on one Limiter: give one of them another name", rule)
	}
	l.rules[rule] = limit
	return nil
}

// RedisKey returns the Redis key of the bucket of (rule, key). Use it to look at a bucket with
// redis-cli.
func (l *Limiter) RedisKey(rule, key string) string { return l.keys.of(rule, key) }

// argument returns a charge as an argument of the scripts. more is the number of charges that
// follow in its group.
func argument(c ratelimit.Charge, more int) string {
	var b [32]byte
	for i, n := range [...]float64{float64(c.Cost), perUnit(c.Limit), float64(burstOf(c.Limit)), float64(more)} {
		binary.LittleEndian.PutUint64(b[8*i:], math.Float64bits(n))
	}
	return string(b[:])
}

func burstOf(l ratelimit.Limit) int { return cmp.Or(l.Burst, l.Quota) }

var (
	_ ratelimit.MultiLimiter = (*Limiter)(nil)
	_ ratelimit.Adjuster     = (*Limiter)(nil)
	_ ratelimit.Resetter     = (*Limiter)(nil)
	_ ratelimit.Registrar    = (*Limiter)(nil)
)

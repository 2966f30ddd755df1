package redislimit

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

const (
	maxBatch = 128 // charges of one call, unless a single group has more
	enough   = 32  // groups that wait: they are worth a second call, so that Redis is never idle
	maxCalls = 8   // calls under way at the same time, for one hash tag
)

// group is what one TakeAll charges.
type group struct {
	charges []ratelimit.Charge
	keys    []string

	waits bool // whether it was not sent yet, and its caller has not left; guarded by batches.mu

	done    chan struct{} // closed when the fields below are set
	err     error
	results []result
	sent    time.Time

	// The usual group has one charge, and needs no other memory.
	oneCharge [1]ratelimit.Charge
	oneKey    [1]string
	oneResult [1]result
}

// batches sends the groups that wait at the same time in one call. A group is sent immediately
// if no call is under way. Otherwise it waits until one ends, or until enough others wait for a
// second one, and is then sent together with them. If Redis is slow, they are sent when one of
// them has waited for an eighth of the timeout: the rest is for their own call. On a Cluster, only
// groups of the same hash tag wait for each other.
type batches struct {
	links   links
	timeout time.Duration
	now     func() time.Time

	mu     sync.Mutex
	queues map[string]*queue // by hash tag; present if calls are under way
}

// queue are the groups that wait while calls are under way.
type queue struct {
	calls   int
	waiting []*group
}

func newBatches(l links, timeout time.Duration) *batches {
	return &batches{links: l, timeout: timeout, now: time.Now, queues: make(map[string]*queue)}
}

// take sends a group and waits for its results, or until ctx ends.
func (b *batches) take(ctx context.Context, g *group) error {
	if err := ctx.Err(); err != nil {
		return wrap(err)
	}
	tag := b.links.tag(g.keys[0])
	for _, k := range g.keys[1:] {
		if b.links.tag(k) != tag {
			return errTags
		}
	}
	if b.links.of(g.keys[0]).refuses() {
		return errOpen // and do not wait for calls that are under way
	}
	if batch := b.enter(tag, g); len(batch) > 0 {
		values := ctx
		if len(batch) > 1 {
			values = context.Background() // it is not the call of this request alone
		}
		b.send(values, tag, batch)
		if slices.Contains(batch, g) {
			return g.err
		}
	}
	return b.wait(ctx, tag, g)
}

// wait waits for the results of a group that another goroutine sends.
func (b *batches) wait(ctx context.Context, tag string, g *group) error {
	early := b.timeout / 8
	timer := time.NewTimer(early)
	defer timer.Stop()
	for {
		select {
		case <-g.done:
			return g.err
		case <-ctx.Done():
			b.leave(g)
			return wrap(ctx.Err())
		case <-timer.C:
			if early == 0 {
				b.leave(g)
				return wrap(context.DeadlineExceeded)
			}
			timer.Reset(b.timeout - early)
			early = 0
			if batch := b.hurry(tag, g); len(batch) > 0 {
				go b.send(context.Background(), tag, batch) //nolint:gosec // it is not the call of this request alone
			}
		}
	}
}

// enter adds a group, and returns the groups that must be sent now, if there are any.
func (b *batches) enter(tag string, g *group) (batch []*group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[tag]
	if q == nil {
		q = new(queue)
		b.queues[tag] = q
	}
	g.waits = true
	q.waiting = append(q.waiting, g)
	if q.calls == 0 || q.calls == 1 && len(q.waiting) >= enough {
		q.calls++
		return q.next()
	}
	return nil
}

// hurry returns the groups that wait, if g is one of them. They must be sent.
func (b *batches) hurry(tag string, g *group) (batch []*group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[tag]; g.waits && q.calls < maxCalls {
		q.calls++
		batch = q.next()
	}
	return batch
}

func (b *batches) leave(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g.waits = false
}

// ended returns the groups of the call that follows one that has ended. If there are none, no
// call follows.
func (b *batches) ended(tag string) (batch []*group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[tag]
	if batch = q.next(); len(batch) == 0 {
		if q.calls--; q.calls == 0 {
			delete(b.queues, tag)
		}
	}
	return batch
}

// next takes the groups of a call that begins, without those whose callers have left.
func (q *queue) next() (batch []*group) {
	charges := 0
	for len(q.waiting) > 0 && (len(batch) == 0 || charges+len(q.waiting[0].keys) <= maxBatch) {
		if g := q.waiting[0]; g.waits {
			g.waits = false
			batch = append(batch, g)
			charges += len(g.keys)
		}
		q.waiting = q.waiting[1:]
	}
	return batch
}

// send sends groups in one call. The groups that wait when it ends are sent by a goroutine. Hooks
// of the client see the values of ctx.
func (b *batches) send(ctx context.Context, tag string, batch []*group) {
	var reply any
	err := wrap(errEnded)
	sent := b.now()
	defer func() {
		if next := b.ended(tag); len(next) > 0 {
			go b.send(context.Background(), tag, next) // it is not the call of this request
		}
		b.deliver(batch, sent, reply, err)
	}()
	keys, args := arguments(batch)
	reply, err = b.links.of(keys[0]).run(ctx, takeScript, keys, args)
}

func arguments(batch []*group) (keys, args []string) {
	for _, g := range batch {
		keys = append(keys, g.keys...)
		for i, c := range g.charges {
			args = append(args, argument(c, len(g.charges)-1-i))
		}
	}
	return keys, args
}

// deliver gives each group its results, or the error.
func (b *batches) deliver(batch []*group, sent time.Time, reply any, err error) {
	numbers, ok := reply.([]any)
	charges := 0
	for _, g := range batch {
		charges += len(g.keys)
	}
	if err == nil && (!ok || len(numbers) != 2*charges) {
		err = errReply
	}
	for _, g := range batch {
		g.sent, g.err = sent, err
		if err == nil {
			g.err = g.read(numbers[:2*len(g.keys)])
			numbers = numbers[2*len(g.keys):]
		}
		close(g.done)
	}
}

// read sets the results from numbers of the reply.
func (g *group) read(numbers []any) error {
	g.results = g.oneResult[:0]
	for i := 0; i < len(numbers); i += 2 {
		outcome, ok1 := numbers[i].(int64)
		full, ok2 := numbers[i+1].(int64)
		if !ok1 || !ok2 {
			return errReply
		}
		if outcome < 0 {
			return errOther
		}
		g.results = append(g.results, result{allowed: outcome == 1, full: time.Duration(full)})
	}
	return nil
}

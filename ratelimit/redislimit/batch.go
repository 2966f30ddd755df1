package redislimit

import (
	"context"
	"sync"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

const (
	maxBatch = 128 // charges of one call, unless a single group has more
	maxCalls = 8   // calls under way at the same time, for one hash tag
)

// group is what one TakeAll charges.
type group struct {
	charges []ratelimit.Charge
	keys    []string

	waits bool // whether it was not sent yet, and its caller has not left; guarded by batches.mu

	done    chan struct{} // closed when the fields below are set; nil if the caller sends the group
	err     error
	results []result
	sent    time.Time
}

// batches sends the groups that wait at the same time in one call. A group is sent immediately
// if no call is under way. Otherwise it waits until that call ends, and is then sent together
// with the others that wait. If Redis is slow, it is sent meanwhile, when it has waited for an
// eighth of the timeout: the rest is for its own call. On a Cluster, only groups of the same hash
// tag wait for each other.
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
	if b.enter(tag, g) {
		b.send(ctx, tag, []*group{g})
		return g.err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	late := time.AfterFunc(b.timeout/8, func() { b.hurry(tag, g) })
	defer late.Stop()
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		g.waits = false
		return wrap(ctx.Err())
	}
}

// enter reports whether the group must be sent now. If not, it waits.
func (b *batches) enter(tag string, g *group) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[tag]
	if q == nil {
		b.queues[tag] = &queue{calls: 1}
		return true
	}
	g.waits, g.done = true, make(chan struct{})
	q.waiting = append(q.waiting, g)
	return false
}

// hurry sends the groups that wait, if g is still one of them.
func (b *batches) hurry(tag string, g *group) {
	b.mu.Lock()
	var batch []*group
	if q := b.queues[tag]; g.waits && q.calls < maxCalls {
		q.calls++
		batch = q.next()
	}
	b.mu.Unlock()
	if len(batch) > 0 {
		b.send(context.Background(), tag, batch)
	}
}

// next returns the groups of the next call, without those whose callers have left. If there are
// none, one call less is under way.
func (b *batches) next(tag string) []*group {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[tag]
	batch := q.next()
	if len(batch) > 0 {
		return batch
	}
	if q.calls--; q.calls == 0 {
		delete(b.queues, tag)
	}
	return nil
}

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
		if next := b.next(tag); len(next) > 0 {
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
			g.results, g.err = results(numbers[:2*len(g.keys)])
			numbers = numbers[2*len(g.keys):]
		}
		if g.done != nil {
			close(g.done)
		}
	}
}

// results reads the results of one group.
func results(numbers []any) ([]result, error) {
	rs := make([]result, 0, len(numbers)/2)
	for i := 0; i < len(numbers); i += 2 {
		outcome, ok1 := numbers[i].(int64)
		full, ok2 := numbers[i+1].(int64)
		if !ok1 || !ok2 {
			return nil, errReply
		}
		if outcome < 0 {
			return nil, errOther
		}
		rs = append(rs, result{allowed: outcome == 1, full: time.Duration(full)})
	}
	return rs, nil
}

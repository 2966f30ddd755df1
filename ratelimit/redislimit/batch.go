package redislimit

import (
	"context"
	"sync"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

const (
	maxCalls = 1   // calls to one slot at the same time
	maxBatch = 128 // charges of one call, unless a single group has more
	maxLinks = 64  // of a Cluster: a master that is down affects those of its slots
)

// group is what one TakeAll charges.
type group struct {
	charges []ratelimit.Charge
	keys    []string

	left bool // whether the caller has left; guarded by batches.mu

	done    chan struct{} // closed when the fields below are set; nil if the caller sends the group
	err     error
	results []result
	sent    time.Time
}

// batches sends the groups that wait at the same time in one call. A group is sent immediately
// if fewer than maxCalls calls are under way. Otherwise it waits until one of them ends, and is
// then sent together with the others that wait. On a Cluster, only groups of the same hash slot
// share a call.
type batches struct {
	links   []*link // by slot
	timeout time.Duration
	now     func() time.Time

	mu     sync.Mutex
	queues map[uint16]*queue // those with a call under way
}

// queue holds the groups that wait for a call to one slot.
type queue struct {
	calls   int // under way
	waiting []*group
}

func newBatches(r Runner, timeout time.Duration, cluster bool) *batches {
	b := &batches{timeout: timeout, now: time.Now, queues: make(map[uint16]*queue), links: make([]*link, 1)}
	if cluster {
		b.links = make([]*link, maxLinks)
	}
	for i := range b.links {
		b.links[i] = newLink(r, timeout)
	}
	return b
}

// slot returns the slot of a key. If there is no Cluster, all keys have slot 0.
func (b *batches) slot(key string) uint16 {
	if len(b.links) == 1 {
		return 0
	}
	return slotOf(key)
}

func (b *batches) link(slot uint16) *link { return b.links[int(slot)*len(b.links)/slots] }

// take sends a group and waits for its results, or until ctx ends.
func (b *batches) take(ctx context.Context, g *group) error {
	slot := b.slot(g.keys[0])
	for _, k := range g.keys[1:] {
		if b.slot(k) != slot {
			return errSlots
		}
	}
	if b.enter(slot, g) {
		b.send(ctx, slot, []*group{g})
		return g.err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		g.left = true
		return wrap(ctx.Err())
	}
}

// enter reports whether the group must be sent now. If not, it is in the queue.
func (b *batches) enter(slot uint16, g *group) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[slot]
	if q == nil {
		q = new(queue)
		b.queues[slot] = q
	}
	if q.calls < maxCalls {
		q.calls++
		return true
	}
	g.done = make(chan struct{})
	q.waiting = append(q.waiting, g)
	return false
}

// next returns the groups of the next call, without those whose callers have left. If none are
// waiting, the call that has ended is not followed by another one.
func (b *batches) next(slot uint16) (batch []*group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[slot]
	charges := 0
	for len(q.waiting) > 0 && (len(batch) == 0 || charges+len(q.waiting[0].keys) <= maxBatch) {
		g := q.waiting[0]
		q.waiting = q.waiting[1:]
		if !g.left {
			batch = append(batch, g)
			charges += len(g.keys)
		}
	}
	if len(batch) == 0 {
		if q.calls--; q.calls == 0 {
			delete(b.queues, slot)
		}
	}
	return batch
}

// send sends groups in one call. The groups that wait when it ends are sent by a goroutine.
func (b *batches) send(ctx context.Context, slot uint16, batch []*group) {
	keys, args := arguments(batch)
	sent := b.now()
	reply, err := b.link(slot).run(ctx, takeScript, keys, args)
	if next := b.next(slot); len(next) > 0 {
		go b.send(ctx, slot, next)
	}
	b.deliver(batch, sent, reply, err)
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

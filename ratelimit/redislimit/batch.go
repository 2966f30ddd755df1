package redislimit

import (
	"context"
	"sync"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// maxBatch is the number of charges of one call, unless a single group has more.
const maxBatch = 128

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
// if no call is under way. Otherwise it waits until that call ends, and is then sent together
// with the others that wait. On a Cluster, only groups of the same hash tag wait for each other.
type batches struct {
	links   links
	timeout time.Duration
	now     func() time.Time

	mu      sync.Mutex
	waiting map[string][]*group // by hash tag; present if a call is under way
}

func newBatches(l links, timeout time.Duration) *batches {
	return &batches{links: l, timeout: timeout, now: time.Now, waiting: make(map[string][]*group)}
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
	if b.enter(tag, g) {
		b.send(ctx, tag, []*group{g})
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

// enter reports whether the group must be sent now. If not, it waits.
func (b *batches) enter(tag string, g *group) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting, busy := b.waiting[tag]
	if !busy {
		b.waiting[tag] = nil
		return true
	}
	g.done = make(chan struct{})
	b.waiting[tag] = append(waiting, g)
	return false
}

// next returns the groups of the next call, without those whose callers have left. If there are
// none, no call is under way any more.
func (b *batches) next(tag string) (batch []*group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting, charges := b.waiting[tag], 0
	for len(waiting) > 0 && (len(batch) == 0 || charges+len(waiting[0].keys) <= maxBatch) {
		if g := waiting[0]; !g.left {
			batch = append(batch, g)
			charges += len(g.keys)
		}
		waiting = waiting[1:]
	}
	b.waiting[tag] = waiting
	if len(batch) == 0 {
		delete(b.waiting, tag)
	}
	return batch
}

// send sends groups in one call. The groups that wait when it ends are sent by a goroutine.
func (b *batches) send(ctx context.Context, tag string, batch []*group) {
	var reply any
	err := wrap(errEnded)
	sent := b.now()
	defer func() {
		if next := b.next(tag); len(next) > 0 {
			go b.send(ctx, tag, next)
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

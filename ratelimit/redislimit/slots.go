package redislimit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/ratelimit"
)

// SlotsOptions configure [Slots]. Nil and the zero value are the defaults. All processes that
// share slots need the same options.
type SlotsOptions struct {
	// Prefix is the beginning of every Redis key. Slots with the same prefix are shared, so all
	// processes of a service need the same prefix, and services that share a Redis need
	// different ones. Slots and a [Limiter] need different prefixes too. If empty, it is
	// "slots:".
	Prefix string

	// Secret makes Redis keys unpredictable to anyone who knows or guesses the key of a caller:
	// see [Options]. If empty, Redis keys contain a plain hash.
	Secret []byte

	// Lease is how long a slot stays taken after its process has died. While the request runs,
	// the lease is renewed every third of that time. A process that is paused for longer has
	// lost its slots: its requests go on, and others may run beside them. If zero, it is 30
	// seconds. It must be at least six times Timeout, so that no slot is lost if a single call is.
	Lease time.Duration

	// Timeout bounds each call to Redis, including the wait for a connection. If zero, it is 50
	// milliseconds. It must not be negative.
	Timeout time.Duration

	// Cluster must be set if a [Runner] talks to a Redis Cluster or to several shards. All keys
	// of a script call are then the same. [NewSlots] sets it for clients of go-redis.
	Cluster bool
}

// Slots is a [ratelimit.Slots] that counts the running requests of all processes in Redis. It is
// safe for concurrent use. It has nothing to close.
//
// A request costs two calls: one before its handler runs, and one after it has returned. The
// response may wait for the second one, so that the slot is free when the client has the
// response. If Redis does not answer it in time, the response is sent, and the slot is given back
// in the background. If that also fails, the slot is free after its lease.
//
// The slots of requests that run for longer than a third of the lease are renewed in the
// background, up to 128 with one call. On a Cluster, these must have the same key. If Redis loses
// its data, requests that are running are no longer counted.
type Slots struct {
	keys    keys
	lease   time.Duration
	step    time.Duration // of the timer, and the pause after a call without an answer
	cluster bool
	links   links

	mu      sync.Mutex
	held    map[string]held // by token
	ticking bool            // whether the timer runs, or its function
	timer   *time.Timer
}

// held is a slot that this process holds, or may still hold.
type held struct {
	key  string
	left bool      // it must be given back; a call for that failed, or is under way
	due  time.Time // when to renew it; if left is set, when its lease is over
}

const (
	defaultLease  = 30 * time.Second
	slotsBatch    = 128 // slots of one call
	slotsParallel = 8   // calls at the same time; a client has at least 10 connections by default
)

// NewSlots returns Slots that use a client of go-redis: a [redis.Client], a
// [redis.ClusterClient] or a [redis.Ring]. NewSlots does not connect. The caller closes the
// client, after the last request has ended. NewSlots panics if client is nil, or if an option is
// invalid.
func NewSlots(client redis.UniversalClient, o *SlotsOptions) *Slots {
	if client == nil {
		panic("redislimit: NewSlots with a nil client")
	}
	var options SlotsOptions
	if o != nil {
		options = *o
	}
	options.Cluster = options.Cluster || severalServers(client)
	options.Timeout = cmp.Or(options.Timeout, defaultTimeout)
	return NewSlotsRunner(newGoRedis(client), &options)
}

// NewSlotsRunner is [NewSlots] for other client libraries.
func NewSlotsRunner(r Runner, o *SlotsOptions) *Slots {
	if r == nil {
		panic("redislimit: NewSlotsRunner with a nil Runner")
	}
	if o == nil {
		o = &SlotsOptions{}
	}
	timeout, lease := cmp.Or(o.Timeout, defaultTimeout), cmp.Or(o.Lease, defaultLease)
	if timeout < 0 {
		panic("redislimit: SlotsOptions.Timeout is negative")
	}
	if lease < 6*timeout || lease < time.Millisecond {
		panic("redislimit: SlotsOptions.Lease is less than six times Timeout")
	}
	step := min(lease/12, maxPause)
	return &Slots{
		keys:    keys{prefix: cmp.Or(o.Prefix, "slots:"), secret: o.Secret},
		lease:   lease,
		step:    step,
		cluster: o.Cluster,
		links:   newLinks(r, timeout, step, o.Cluster),
		held:    make(map[string]held),
	}
}

// RedisKey returns the Redis key of the slots of (rule, key), a sorted set. Use it to look at the
// slots with redis-cli.
func (s *Slots) RedisKey(rule, key string) string { return s.keys.of(rule, key) }

// Enter implements [ratelimit.Slots].
func (s *Slots) Enter(ctx context.Context, e ratelimit.Entry) (leave func(), free bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, wrap(err)
	}
	shadow := "0"
	if e.Shadow {
		shadow = "1"
	}
	key, token, sent := s.keys.of(e.Rule, e.Key), rand.Text(), time.Now()
	reply, err := s.links.of(key).run(ctx, slotsEnterLua, []string{key}, []string{token, strconv.Itoa(e.Max), s.milliseconds(), shadow})
	if err != nil {
		if !isAnswer(err) && !errors.Is(err, errOpen) { // perhaps only the reply was lost
			s.hold(token, held{key: key, left: true, due: time.Now().Add(s.lease)})
		}
		return nil, false, err
	}
	if reply != int64(0) && reply != int64(1) {
		return nil, false, errReply
	}
	free = reply == int64(1)
	if !free && !e.Shadow {
		return nil, false, nil
	}
	s.hold(token, held{key: key, due: sent.Add(s.lease / 3)})
	return func() { s.leave(ctx, token) }, free, nil
}

func (s *Slots) milliseconds() string { return strconv.FormatInt(s.lease.Milliseconds(), 10) }

// leave gives a slot back, also if ctx is canceled. If that fails, tick tries again.
func (s *Slots) leave(ctx context.Context, token string) {
	s.mu.Lock()
	h, ok := s.held[token]
	if !ok || h.left {
		s.mu.Unlock()
		return
	}
	h.left, h.due = true, time.Now().Add(s.lease)
	s.held[token] = h
	s.mu.Unlock()
	if _, err := s.links.of(h.key).run(ctx, slotsLeaveLua, []string{h.key}, []string{token}); err == nil {
		s.forget(token)
	}
}

// hold adds a slot, and starts the timer.
func (s *Slots) hold(token string, h held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[token] = h
	if s.ticking {
		return
	}
	s.ticking = true
	s.startTimer()
}

func (s *Slots) startTimer() {
	if s.timer == nil {
		s.timer = time.AfterFunc(s.step, s.tick)
		return
	}
	s.timer.Reset(s.step)
}

func (s *Slots) forget(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range tokens {
		delete(s.held, token)
	}
}

// tick gives back the slots that could not be given back before, and renews the slots that are
// due. It starts the timer again, unless no slot is held. So it never runs twice at a time.
func (s *Slots) tick() {
	left, due := s.pending(time.Now())
	ctx := context.Background()
	s.each(left, func(c members) {
		if _, err := s.links.of(c.keys[0]).run(ctx, slotsLeaveLua, c.keys, c.tokens); err == nil {
			s.forget(c.tokens...)
		}
	})
	s.each(due, func(c members) {
		sent := time.Now()
		args := append([]string{s.milliseconds()}, c.tokens...)
		if _, err := s.links.of(c.keys[0]).run(ctx, slotsRenewLua, c.keys, args); err == nil {
			s.renewed(c.tokens, sent.Add(s.lease/3))
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ticking = len(s.held) > 0; s.ticking {
		s.startTimer()
	}
}

// each divides slots into calls, and makes a few of them at the same time. On a Cluster there is a
// call for each key, and one after another they could take longer than the lease.
func (s *Slots) each(all []member, call func(members)) {
	var wg sync.WaitGroup
	running := make(chan struct{}, slotsParallel)
	for _, c := range s.split(all) {
		running <- struct{}{}
		wg.Go(func() {
			defer func() { <-running }()
			call(c)
		})
	}
	wg.Wait()
}

// member is a slot to give back or to renew, a member of a sorted set.
type member struct{ key, token string }

// pending returns the slots to give back, and those to renew. It forgets those to give back whose
// lease is over.
func (s *Slots) pending(now time.Time) (left, due []member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, h := range s.held {
		over := !now.Before(h.due)
		switch {
		case h.left && over:
			delete(s.held, token)
		case h.left:
			left = append(left, member{h.key, token})
		case over:
			due = append(due, member{h.key, token})
		}
	}
	return left, due
}

// renewed sets the time at which slots must be renewed again. After a renewal that failed, the
// next tick tries again.
func (s *Slots) renewed(tokens []string, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range tokens {
		if h, ok := s.held[token]; ok && !h.left {
			h.due = due
			s.held[token] = h
		}
	}
}

// members are the slots of one call. There is a key for each token.
type members struct{ keys, tokens []string }

// split divides slots into calls. On a Cluster, all slots of a call have the same key.
func (s *Slots) split(all []member) (calls []members) {
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	for i, m := range all {
		if i == 0 || len(calls[len(calls)-1].keys) == slotsBatch || s.cluster && m.key != all[i-1].key {
			calls = append(calls, members{})
		}
		c := &calls[len(calls)-1]
		c.keys, c.tokens = append(c.keys, m.key), append(c.tokens, m.token)
	}
	return calls
}

var _ ratelimit.Slots = (*Slots)(nil)

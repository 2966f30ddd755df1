package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// linger is how long the connection of a listener stays open without subscriptions. A duplicate
// that waits long subscribes several times, with short pauses.
const linger = 2 * time.Second

// listener is the part of goRedis that implements [Subscriber]. All subscriptions share one
// connection. It is opened for the first one, and closed a little after the last one.
type listener struct {
	client redis.UniversalClient
	wake   chan struct{} // has a capacity of 1; filled when there are changes

	mu      sync.Mutex
	serving bool                        // serve runs
	subs    map[string]map[*func()]bool // the functions to call, by channel
	changes []change                    // that serve has not sent
}

// change is a channel to subscribe to, or to unsubscribe from.
type change struct {
	channel   string
	subscribe bool
}

// Subscribe implements [Subscriber]. It does not wait for the connection.
func (l *listener) Subscribe(channel string, notify func()) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs == nil {
		l.subs = make(map[string]map[*func()]bool)
	}
	if l.subs[channel] == nil {
		l.subs[channel] = make(map[*func()]bool)
		l.change(channel, true)
	}
	l.subs[channel][&notify] = true
	if !l.serving {
		l.serving = true
		go l.serve()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs[channel], &notify)
		if len(l.subs[channel]) == 0 {
			delete(l.subs, channel)
			l.change(channel, false)
		}
	}
}

// change adds a change for serve. The caller holds the lock.
func (l *listener) change(channel string, subscribe bool) {
	l.changes = append(l.changes, change{channel, subscribe})
	select {
	case l.wake <- struct{}{}:
	default: // it is filled already
	}
}

// serve owns the connection until there was no subscription for a while.
func (l *listener) serve() {
	ctx := context.Background()
	pubsub := l.client.Subscribe(ctx)
	defer pubsub.Close()
	var messages <-chan any
	idle := time.NewTimer(linger)
	defer idle.Stop()
	for {
		select {
		case <-l.wake:
			for _, c := range l.take() {
				// After an error, go-redis subscribes when it has a connection again.
				if c.subscribe {
					_ = pubsub.Subscribe(ctx, c.channel)
				} else {
					_ = pubsub.Unsubscribe(ctx, c.channel)
				}
			}
			if messages == nil {
				messages = pubsub.ChannelWithSubscriptions()
			}
			idle.Reset(linger)
		case m, ok := <-messages:
			if !ok { // the client is closed
				messages = make(chan any)
			}
			switch m := m.(type) {
			case *redis.Subscription:
				if m.Kind == "subscribe" {
					l.notify(m.Channel)
				}
			case *redis.Message:
				l.notify(m.Channel)
			}
		case <-idle.C:
			if l.stop() {
				return
			}
			idle.Reset(linger)
		}
	}
}

func (l *listener) take() []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes := l.changes
	l.changes = nil
	return changes
}

func (l *listener) notify(channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.subs[channel] {
		(*f)()
	}
}

// stop reports whether serve must end, because there are no subscriptions.
func (l *listener) stop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.subs) > 0 || len(l.changes) > 0 {
		return false
	}
	l.serving = false
	return true
}

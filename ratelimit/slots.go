package ratelimit

import (
	"context"
	"sync"
)

// Slots counts the running requests of each key for [MaxConcurrent]. Several servers can
// share one. It is safe for concurrent use. Package ratelimittest tests implementations.
//
// The slots of a process that has died must become free by themselves. So an
// implementation usually gives each slot a lease, and renews it until leave is called.
type Slots interface {
	// Enter takes a slot of (e.Rule, e.Key) if fewer than e.Max are taken, in one atomic
	// step. It reports whether one was free. If none was free, it takes none, unless
	// e.Shadow is set: then it takes one more.
	//
	// leave gives the slot back, and is nil if none was taken. The middleware calls it
	// once, when the handler has returned or panicked. At that time ctx may be canceled.
	// When leave returns, the slot should be free, since the caller may send the next
	// request as soon as it has the response. But the response can wait for leave, so if
	// the back end is slow, leave should return soon and let the lease end. leave frees
	// only its own slot: if that was lost, or was given back already, leave does nothing.
	//
	// The error is an error of the back end. It is logged, so it must not contain the key.
	// After an error, leave is nil. If a slot was taken nevertheless, because only the
	// reply was lost, it must become free by itself. ctx is the context of the request. If
	// Enter asks another machine, it should use a shorter timeout.
	Enter(ctx context.Context, e Entry) (leave func(), free bool, err error)
}

// Entry is a request for a slot.
type Entry struct {
	Rule   string // the name of the rule; with Key, it identifies the slots
	Key    string
	Max    int  // how many slots the key has, at least 1
	Shadow bool // take a slot even if none is free, so that all running requests count
}

// localSlots counts the running requests of this process.
type localSlots struct {
	mu   sync.Mutex
	held map[string]int // the slots that each key holds; keys that hold none are not in it
}

// enter takes a slot of the key, and reports whether one was free. In shadow mode it
// takes one in any case.
func (l *localSlots) enter(key string, most int, shadow bool) (free bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.held[key]
	free = n < most
	if free || shadow {
		if l.held == nil {
			l.held = make(map[string]int)
		}
		l.held[key] = n + 1
	}
	return free
}

func (l *localSlots) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[key]--; l.held[key] == 0 {
		delete(l.held, key)
	}
}

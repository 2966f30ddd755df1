package ratelimit

import (
	"sync"
	"sync/atomic"
	"time"
)

// quiet is the time in which an outage has no more than two records.
const quiet = time.Minute

// outage is a state of trouble that strangers can cause again and again. It is logged when it
// begins and when it ends. One that begins within a minute after the last record is logged when it
// has lasted beyond that minute, or never.
type outage struct {
	logged atomic.Bool // when it began, and not yet when it ended

	mu       sync.Mutex
	record   time.Time // the last one in the log
	failure  time.Time // the last one
	requests int       // that failed, since the last outage that was logged ended
}

// fails counts a request that failed, and reports whether the beginning is to be logged.
func (o *outage) fails() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.failure = now
	o.requests++
	if o.logged.Load() || !o.record.IsZero() && now.Sub(o.record) < quiet {
		return false
	}
	o.record = now
	o.logged.Store(true)
	return true
}

// works ends the outage if no request failed for the time that is given. It reports whether the end
// is to be logged, and how many requests failed.
func (o *outage) works(after time.Duration) (requests int, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !o.logged.Load() || now.Sub(o.failure) < after {
		return 0, false
	}
	o.record = now
	o.logged.Store(false)
	requests, o.requests = o.requests, 0
	return requests, true
}

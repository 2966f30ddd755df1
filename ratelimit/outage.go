package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// quiet is the shortest time in the log between the end of an outage and the beginning of
// the next one.
const quiet = time.Minute

// outage is a period in which requests fail. Its beginning and its end are logged.
// Callers may cause outages again and again, so if an outage begins within a minute after
// the last record, its beginning is logged only if requests still fail after that minute.
type outage struct {
	logged atomic.Bool // whether the beginning was logged, and not yet the end

	mu       sync.Mutex
	record   time.Time // the time of the last record
	failure  time.Time // the time of the last failure
	requests int       // failed requests since the last record of an end
}

// fails counts a failed request, and reports whether the beginning must be logged.
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

// works ends the outage if no request has failed for the given time. It reports whether
// the end must be logged, and how many requests have failed.
func (o *outage) works(after time.Duration) (requests int, ended bool) {
	if !o.logged.Load() {
		return 0, false
	}
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

// logFailure counts a failed request, and logs the beginning of the outage. what is the
// back end that fails.
func (o *outage) logFailure(ctx context.Context, l *slog.Logger, what string, err error) {
	if ctx.Err() != nil {
		return // the client has gone, which says nothing about the back end
	}
	if o.fails() {
		l.LogAttrs(ctx, slog.LevelError, "ratelimit: "+what+" fails", errorAttr(err))
	}
}

// logSuccess logs the end of the outage.
func (o *outage) logSuccess(ctx context.Context, l *slog.Logger, what string) {
	if n, ended := o.works(0); ended {
		l.LogAttrs(ctx, slog.LevelInfo, "ratelimit: "+what+" works again", slog.Int("requests", n))
	}
}

// logFailure logs the beginning of an outage of the limiter.
func (m *middleware) logFailure(ctx context.Context, err error) {
	if !errors.Is(err, ErrFull) {
		m.down.logFailure(ctx, m.logger(), "the limiter", err)
	} else if m.full.fails() {
		m.logger().LogAttrs(ctx, slog.LevelWarn, "ratelimit: the limiter has no room and refuses new keys")
	}
}

// logSuccess logs the end of an outage of the limiter. While there is no room for new
// keys, requests with known keys still succeed. So that outage has ended only after a
// minute without a refusal.
func (m *middleware) logSuccess(ctx context.Context) {
	m.down.logSuccess(ctx, m.logger(), "the limiter")
	if n, ended := m.full.works(quiet); ended {
		m.logger().LogAttrs(ctx, slog.LevelInfo, "ratelimit: the limiter has room again", slog.Int("requests", n))
	}
}

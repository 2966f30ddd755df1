package retry

import (
	"context"
	"time"
)

// caller is the party that waits for a call, until its context ends or its Request.Cancel
// is closed. The timer of http.Client.Timeout closes Cancel, and may do so before the
// context reports that its deadline has passed.
type caller struct {
	ctx    context.Context
	cancel <-chan struct{} // nil without a Request.Cancel
}

// err returns an error if the caller no longer waits: the context's error, or the one
// that the context is about to return.
func (c caller) err() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.endsWithin(0) {
		return context.DeadlineExceeded
	}
	select {
	case <-c.cancel:
		return context.Canceled
	default:
		return nil
	}
}

// endsWithin reports whether the deadline comes no later than d from now.
func (c caller) endsWithin(d time.Duration) bool {
	deadline, ok := c.ctx.Deadline()
	return ok && time.Until(deadline) <= d
}

// sleep waits for d. It returns an error as soon as the caller stops waiting.
func (c caller) sleep(d time.Duration) error {
	if d <= 0 {
		return c.err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.ctx.Done():
		return c.ctx.Err()
	case <-c.cancel:
		return c.err()
	case <-timer.C:
		return nil
	}
}

// pause is like sleep, but it fails immediately if the deadline comes before d has
// passed.
func (c caller) pause(d time.Duration) error {
	if d > 0 && c.endsWithin(d) {
		return context.DeadlineExceeded
	}
	return c.sleep(d)
}

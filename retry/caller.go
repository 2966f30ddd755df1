package retry

import (
	"context"
	"time"
)

// caller is who waits for a call. It gives up when its context ends, or when Request.Cancel is
// closed: the timer of http.Client.Timeout closes that, and may do so before the context shows
// the deadline.
type caller struct {
	ctx    context.Context
	cancel <-chan struct{} // nil without a Request.Cancel
}

// err returns the context's error, or the one that it is about to have, if the caller has given up.
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

// endsWithin reports whether the deadline comes before, or as, d has passed.
func (c caller) endsWithin(d time.Duration) bool {
	deadline, ok := c.ctx.Deadline()
	return ok && time.Until(deadline) <= d
}

// sleep waits for d. It returns an error as soon as the caller gives up.
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

// pause is sleep, but it does not begin a wait that the deadline would end.
func (c caller) pause(d time.Duration) error {
	if d > 0 && c.endsWithin(d) {
		return context.DeadlineExceeded
	}
	return c.sleep(d)
}

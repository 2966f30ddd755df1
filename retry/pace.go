package retry

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
)

// paced waits for an attempt's turn. rate's own Wait would do but for its error, which is no context.DeadlineExceeded.
func paced(ctx context.Context, limiter *rate.Limiter) error {
	if limiter == nil {
		return nil
	}
	turn := limiter.Reserve()
	if !turn.OK() {
		return errors.New("retry: Pace has a burst of 0 and lets nothing through")
	}
	err := pause(ctx, turn.Delay())
	if err != nil {
		turn.Cancel()
	}
	return err
}

// pause waits for d before an attempt. If the deadline comes first it does not begin to wait.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	if endsBefore(ctx, d) {
		return context.DeadlineExceeded
	}
	return sleep(ctx, d)
}

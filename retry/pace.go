package retry

import (
	"errors"

	"golang.org/x/time/rate"
)

// paced waits for an attempt's turn. The limiter's own Wait does not return an error that is
// context.DeadlineExceeded, and knows nothing of Request.Cancel.
func paced(who caller, limiter *rate.Limiter) error {
	if limiter == nil {
		return nil
	}
	turn := limiter.Reserve()
	if !turn.OK() {
		return errors.New("retry: Pace has a burst of 0 and lets nothing through")
	}
	err := who.pause(turn.Delay())
	if err != nil {
		turn.Cancel()
	}
	return err
}

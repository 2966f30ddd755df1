package retry

import (
	"errors"

	"golang.org/x/time/rate"
)

// paced waits for an attempt's turn. It does not call the limiter's Wait, since the error
// of Wait is not context.DeadlineExceeded, and since Wait does not watch Request.Cancel.
func paced(who caller, limiter *rate.Limiter) error {
	if limiter == nil {
		return nil
	}
	turn := limiter.Reserve()
	if !turn.OK() {
		return errors.New("retry: Pace has a burst of 0 and allows no attempt")
	}
	err := who.pause(turn.Delay())
	if err != nil {
		turn.Cancel()
	}
	return err
}

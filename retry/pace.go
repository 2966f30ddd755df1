package retry

import "errors"

// paced waits for an attempt's turn. It does not call the limiter's Wait, since the error
// of Wait is not context.DeadlineExceeded, and since Wait does not watch Request.Cancel.
func (c *call) paced() error {
	if c.t.Pace == nil {
		return nil
	}
	turn := c.t.Pace.Reserve()
	if !turn.OK() {
		return errors.New("retry: Pace has a burst of 0 and allows no attempt")
	}
	err := c.pause(turn.Delay())
	if err != nil {
		turn.Cancel()
	}
	return err
}

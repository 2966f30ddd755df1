package redislimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// maxPause is the longest time for which Redis is not asked after a call without an answer.
const maxPause = time.Second

// errEnded is the error of a call whose goroutine has ended, by runtime.Goexit.
var errEnded = errors.New("the goroutine of the call has ended")

var errOpen = errors.New("redislimit: Redis did not answer; it is asked again soon")

// link runs scripts on one server. After a call without an answer it makes no more calls for a
// while, and then one as a probe. So an outage costs one timeout.
type link struct {
	runner  Runner
	timeout time.Duration
	breaker *gobreaker.TwoStepCircuitBreaker[any]
}

func newLink(r Runner, timeout, pause time.Duration) *link {
	return &link{r, timeout, gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:     pause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 0 },
	})}
}

// refuses reports whether run would make no call now: a call had no answer a moment ago, or a
// probe is under way.
func (l *link) refuses() bool {
	switch l.breaker.State() {
	case gobreaker.StateOpen:
		return true
	case gobreaker.StateHalfOpen:
		return l.breaker.Counts().Requests > 0
	default:
		return false
	}
}

// run runs a script. It is not interrupted if ctx is canceled, since several callers may share
// it, but it ends after the timeout. A panic of the runner, for example in a hook of the client,
// becomes an error. Otherwise, all callers that share the call would be lost.
func (l *link) run(ctx context.Context, script string, keys, args []string) (reply any, err error) {
	report, err := l.breaker.Allow()
	if err != nil {
		return nil, errOpen
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	err = wrap(errEnded)
	defer func() {
		cancel()
		if p := recover(); p != nil {
			err = wrap(panicked(p))
		}
		if isAnswer(err) {
			report(nil)
		} else {
			report(err)
		}
	}()
	reply, err = l.runner.Run(ctx, script, keys, args)
	return reply, wrap(err)
}

func wrap(err error) error {
	if err != nil {
		err = fmt.Errorf("redislimit: %w", err)
	}
	return err
}

// isAnswer reports whether the server has answered, with an error or without.
func isAnswer(err error) bool {
	var reply interface{ RedisError() }
	return err == nil || errors.As(err, &reply)
}

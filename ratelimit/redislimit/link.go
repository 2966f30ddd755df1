package redislimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// pause is how long Redis is not asked after a call without an answer.
const pause = time.Second

var errOpen = errors.New("redislimit: Redis did not answer; it is asked again after a second")

// link runs scripts on one server. After a call without an answer it makes no more calls for a
// second, and then one as a probe. So an outage costs one timeout.
type link struct {
	runner  Runner
	timeout time.Duration
	breaker *gobreaker.TwoStepCircuitBreaker[any]
}

func newLink(r Runner, timeout time.Duration) *link {
	return &link{r, timeout, gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:     pause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 0 },
	})}
}

// run runs a script. It is not interrupted if ctx is canceled, since several callers may share
// it, but it ends after the timeout.
func (l *link) run(ctx context.Context, script string, keys, args []string) (any, error) {
	report, err := l.breaker.Allow()
	if err != nil {
		return nil, errOpen
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	reply, err := l.call(ctx, script, keys, args)
	if isAnswer(err) {
		report(nil)
	} else {
		report(err)
	}
	return reply, err
}

// call calls the runner. A panic, for example of a hook of the client, becomes an error. Without
// that, one caller's panic would be the loss of others, or the end of the process.
func (l *link) call(ctx context.Context, script string, keys, args []string) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, fmt.Errorf("redislimit: the client panicked: %v", p)
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

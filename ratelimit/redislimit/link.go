package redislimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// start runs a script in a goroutine, and calls finish once: with the reply, or when the timeout
// is over, even if the runner has not returned. The script runs to its end even if ctx is
// canceled, since other callers may share the call. start returns an error, and does not call
// finish, if Redis is not asked.
func (l *link) start(ctx context.Context, script string, keys, args []string, finish func(reply any, err error)) error {
	report, err := l.breaker.Allow()
	if err != nil {
		return errOpen
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	var once sync.Once
	end := func(reply any, err error) {
		once.Do(func() {
			cancel()
			if isAnswer(err) {
				report(nil)
			} else {
				report(err)
			}
			finish(reply, err)
		})
	}
	stop := context.AfterFunc(ctx, func() { end(nil, wrap(ctx.Err())) })
	go func() {
		reply, err := l.call(ctx, script, keys, args)
		stop()
		end(reply, err)
	}()
	return nil
}

// call calls the runner. A panic, for example of a hook of the client, becomes an error: it would
// end the process, because no handler could recover it in this goroutine.
func (l *link) call(ctx context.Context, script string, keys, args []string) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, fmt.Errorf("redislimit: the client panicked: %v", p)
		}
	}()
	reply, err = l.runner.Run(ctx, script, keys, args)
	return reply, wrap(err)
}

// run runs a script and waits for the reply, or until ctx ends.
func (l *link) run(ctx context.Context, script string, keys, args []string) (any, error) {
	type answer struct {
		reply any
		err   error
	}
	answers := make(chan answer, 1)
	if err := l.start(ctx, script, keys, args, func(reply any, err error) { answers <- answer{reply, err} }); err != nil {
		return nil, err
	}
	select {
	case a := <-answers:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, wrap(ctx.Err())
	}
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

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

// stage holds what both sessions need.
type stage struct {
	out    io.Writer
	failed error // the first check that failed

	dir      string
	a, b     *process
	balancer *balancer
	once     client // makes one attempt
	retrying client // retries
	cleanups []func() error
}

// step is a step of a session. It prints what happens and checks it.
type step struct {
	title string
	run   func(context.Context)
}

// play starts what the steps need, runs them, and stops everything, also when ctx ends. The error
// is that of the first step that did not go as expected.
func (s *stage) play(ctx context.Context, start func(context.Context) error, steps []step) (err error) {
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := start(ctx); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	for i, step := range steps {
		s.say("%d. %s", i+1, step.title)
		s.say("")
		step.run(ctx)
		s.say("")
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if s.failed != nil {
			err := s.stop() // the logs are then complete
			return errors.Join(fmt.Errorf("step %d, %q: %w", i+1, step.title, s.failed), err, s.warnings())
		}
	}
	s.say("All %d steps went as expected.", len(steps))
	if err := s.stop(); err != nil {
		return err
	}
	s.say("Everything has stopped.")
	return nil
}

// prepare makes a folder for the files of servers, and the clients of a service.
func (s *stage) prepare(url string) (err error) {
	if s.dir, err = os.MkdirTemp("", "seawall-distributed-"); err != nil {
		return err
	}
	s.cleanup(func() error { return os.RemoveAll(s.dir) })
	// Without connections that are kept open, each request meets the process as it is now.
	s.balancer = &balancer{transport: &http.Transport{DisableKeepAlives: true}}
	s.once = client{&http.Client{Transport: s.balancer}, url}
	s.retrying = client{&http.Client{Transport: &retry.Transport{
		Base: s.balancer,
		Policy: &retry.Policy{
			MaxAttempts: 10,
			Retryable:   retry.DefaultRetryable,     // so that reports have the codes
			Budget:      &retry.Budget{Tokens: 100}, // a kill breaks many requests at the same time
		},
		Breaker: &retry.Breaker{FailureRatio: -1}, // for the same reason
		Logger:  slog.New(slog.DiscardHandler),
	}}, url}
	return nil
}

// startServer starts a process of a service.
func (s *stage) startServer(service, name string, args ...string) (*process, error) {
	p, err := startProcess(service, name, args...)
	if err != nil {
		return nil, err
	}
	s.cleanup(p.stop)
	s.balancer.add(p)
	return p, nil
}

func (s *stage) cleanup(f func() error) { s.cleanups = append(s.cleanups, f) }

// stop undoes what start has done, in reverse order. It may be called twice.
func (s *stage) stop() error {
	var errs []error
	for _, f := range slices.Backward(s.cleanups) {
		errs = append(errs, f())
	}
	s.cleanups = nil
	return errors.Join(errs...)
}

// warnings returns the warnings and errors that the servers have logged. They have ended.
func (s *stage) warnings() error {
	var errs []error
	for _, p := range s.balancer.servers {
		for line := range strings.Lines(p.log.String()) {
			if !strings.Contains(line, `"level":"INFO"`) {
				errs = append(errs, fmt.Errorf("server %s: %s", p.name, strings.TrimSpace(line)))
			}
		}
	}
	return errors.Join(errs...)
}

// say prints a line.
func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// check records the first check that fails.
func (s *stage) check(ok bool, format string, args ...any) {
	if !ok && s.failed == nil {
		s.failed = fmt.Errorf("unexpected: "+format, args...)
	}
}

// writeWithLostReply sends a write to server A with retries. The first reply is lost, so server B
// must answer the retry with the same bytes.
func (s *stage) writeWithLostReply(ctx context.Context, key, body string) (answer, []retry.Attempt) {
	s.balancer.startWith(s.a)
	s.balancer.loseNext.Store(true)
	ctx, report := retry.WithReport(ctx)
	got := s.retrying.send(ctx, http.MethodPost, keyOfAlice, key, body)
	attempts := report.Attempts()
	lost, _ := s.balancer.lost.Load().([]byte)
	s.check(got.status == http.StatusCreated && len(attempts) == 2, "%d attempts, and %v", len(attempts), got.err)
	s.check(got.server() == "B" && got.replayed(), "server %q has answered, replayed: %t", got.server(), got.replayed())
	s.check(equal(got.body, lost), "the lost reply was %q, and the retry got %q", lost, got.body)
	return got, attempts
}

// writeWhileKilling sends a write with retries. The first attempt goes to server p, and kill ends p
// during that attempt.
func (s *stage) writeWhileKilling(ctx context.Context, p *process, key, body string, kill func(context.Context)) (answer, []retry.Attempt) {
	s.balancer.startWith(p)
	killCtx, cancel := context.WithCancel(ctx)
	var killer sync.WaitGroup
	killer.Go(func() { kill(killCtx) })
	callCtx, report := retry.WithReport(ctx)
	got := s.retrying.send(callCtx, http.MethodPost, keyOfAlice, key, body)
	cancel()
	killer.Wait()
	attempts := report.Attempts()
	s.check(len(attempts) >= 2 && attempts[0].Status == 0, "the client made %d attempts, and got %v", len(attempts), got.err)
	return got, attempts
}

// checkRecorded sends a write once more, and checks that the recorded answer comes back.
func (s *stage) checkRecorded(ctx context.Context, key, body string, want answer) {
	got := s.once.send(ctx, http.MethodPost, keyOfAlice, key, body)
	s.check(got.replayed() && got.status == want.status && equal(got.body, want.body),
		"the next retry got %d %q, %v", got.status, got.body, got.err)
	s.say("   Next retry: %d, Idempotent-Replayed: true, the same bytes.", got.status)
}

// brief returns status, code and message of an error.
func brief(err error) string {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%d %s: %s", e.Status(), cmp.Or(string(e.Code()), string(e.Type())), e.Message())
}

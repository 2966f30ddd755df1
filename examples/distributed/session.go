package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/retry"
)

// session starts Redis and two processes of the service, runs the steps, and stops everything,
// also when ctx ends. Each step prints what happens and checks it. The error is that of the first
// step that did not go as expected.
func session(ctx context.Context, out io.Writer) error { return (&stage{out: out}).session(ctx) }

func (s *stage) session(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	steps := []struct {
		title string
		run   func(context.Context)
	}{
		{"An account sends 40 requests, 8 at a time, and its limit is 20 an hour", s.limit},
		{"The reply to a write is lost", s.lostReply},
		{"Two different writes have the same Idempotency-Key", s.conflict},
		{"A server is killed before a write has its effect", s.killBefore},
		{"A server is killed after its point of no return", s.killAfter},
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

// stage holds the parts that the steps of a session share.
type stage struct {
	out    io.Writer
	failed error // the first check that failed

	dir      string
	redis    *redistest.Server
	client   redis.UniversalClient
	a, b     *process
	bank     *bank
	balancer *balancer
	once     *http.Client // makes one attempt
	retrying *http.Client // retries
	cleanups []func() error
}

const (
	keyOfAlice = "sk_alice"
	keyOfBob   = "sk_bob" // for the limit
)

func (s *stage) start(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "seawall-distributed-"); err != nil {
		return err
	}
	s.cleanup(func() error { return os.RemoveAll(s.dir) })
	if s.redis, err = redistest.Launch(s.dir, "appendonly yes", "maxmemory-policy noeviction"); err != nil {
		return err
	}
	s.cleanup(func() error { s.redis.Stop(); return nil })
	s.client = newRedis(s.redis.Addr)
	s.cleanup(s.client.Close)
	if s.bank, err = newBank(); err != nil {
		return err
	}
	s.cleanup(s.bank.server.Close)

	// Without connections that are kept open, each request meets the process as it is now.
	s.balancer = &balancer{transport: &http.Transport{DisableKeepAlives: true}}
	s.once = &http.Client{Transport: s.balancer}
	s.retrying = &http.Client{Transport: &retry.Transport{
		Base:   s.balancer,
		Policy: &retry.Policy{MaxAttempts: 10, Retryable: retry.DefaultRetryable}, // so that reports have the codes
		Logger: slog.New(slog.DiscardHandler),
	}}
	if s.a, err = s.startServer(ctx, "A"); err != nil {
		return err
	}
	if s.b, err = s.startServer(ctx, "B"); err != nil {
		return err
	}
	s.say("redis-server is process %d. The service is server A, process %d, and server B, process %d.",
		s.redis.Pid(), s.a.cmd.Process.Pid, s.b.cmd.Process.Pid)
	s.say("Requests go to A and B in turn.")
	s.say("")
	return nil
}

// startServer starts a process of the service, and waits until it answers.
func (s *stage) startServer(ctx context.Context, name string) (*process, error) {
	p, err := startProcess(name, s.redis.Addr, s.bank.url)
	if err != nil {
		return nil, err
	}
	s.cleanup(p.stop)
	s.balancer.servers = append(s.balancer.servers, p)
	s.balancer.startWith(p)
	return p, send(ctx, s.once, http.MethodGet, keyOfAlice, "", "").err
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

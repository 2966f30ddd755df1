package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
)

// session runs the service and its client on a loopback port, step by step. Each step
// prints what happens and checks it. The error is that of the first step that did not go as
// expected.
func session(ctx context.Context, out io.Writer) error {
	s, err := start(ctx, out)
	if err != nil {
		return err
	}
	steps := []struct {
		title string
		run   func(context.Context)
	}{
		{"A required parameter is missing", s.errorObject},
		{"Every failure has the same form", s.failures},
		{"One API key sends more than 100 requests a second", s.burst},
		{"The reply to a write is lost", s.lostReply},
		{"Two different writes have the same Idempotency-Key", s.conflict},
		{"A charge fails after its point of no return", s.halfDone},
		{"One upstream recovers, and another is down", s.upstreams},
		{"A handler panics", s.panics},
	}
	for i, step := range steps {
		s.say("%d. %s", i+1, step.title)
		s.say("")
		step.run(ctx)
		s.say("")
		if s.failed != nil {
			return errors.Join(fmt.Errorf("step %d, %q: %w", i+1, step.title, s.failed), s.stop())
		}
	}
	s.say("All %d steps went as expected.", len(steps))
	if err := s.stop(); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	s.say("The service has finished its requests and stopped.")
	return nil
}

// stage holds the parts that the steps of a session share.
type stage struct {
	out    io.Writer
	failed error // the first check that failed

	service  *service
	listener *breakingListener
	url      string
	logs     *logBuffer
	logger   *slog.Logger
	client   *client
	cancel   context.CancelFunc
	stopped  chan error

	charges    atomic.Int64 // calls of the payment provider
	chargeFail atomic.Bool
}

const (
	keyOfAlice = "sk_alice"
	keyOfBob   = "sk_bob" // for the burst
)

func start(ctx context.Context, out io.Writer) (*stage, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &stage{
		out:      out,
		listener: &breakingListener{Listener: listener},
		url:      "http://" + listener.Addr().String(),
		logs:     new(logBuffer),
		stopped:  make(chan error, 1),
	}
	s.logger = slog.New(slog.NewJSONHandler(s.logs, nil))
	s.client = newClient(s.url, keyOfAlice, s.logger)
	s.service = &service{
		accounts: map[string]string{"Bearer " + keyOfAlice: "acct_alice", "Bearer " + keyOfBob: "acct_bob"},
		charge: func(_ context.Context, cents int) error {
			if cents == 0 {
				panic("password=hunter2 leaked by a bug")
			}
			s.charges.Add(1)
			if s.chargeFail.Load() {
				return errors.New("payment provider at 10.0.0.7: connection reset")
			}
			return nil
		},
	}
	ctx, s.cancel = context.WithCancel(ctx)
	go func() { s.stopped <- serve(ctx, s.listener, s.service.handler(s.logger)) }()
	return s, nil
}

// stop shuts the service down, and waits for it.
func (s *stage) stop() error {
	s.client.http.CloseIdleConnections()
	s.cancel()
	return <-s.stopped
}

// say prints a line.
func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// check records the first check that fails.
func (s *stage) check(ok bool, format string, args ...any) {
	if !ok && s.failed == nil {
		s.failed = fmt.Errorf("unexpected: "+format, args...)
	}
}

package main

import (
	"context"
	"io"
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/internal/redistest"
)

// ordersSession is the session with Redis.
type ordersSession struct {
	stage
	redis  *redistest.Server
	client redis.UniversalClient
	bank   *bank
}

func newOrdersSession(out io.Writer) *ordersSession {
	return &ordersSession{stage: stage{out: out}}
}

func (s *ordersSession) run(ctx context.Context) error {
	return s.play(ctx, s.start, []step{
		{"An account sends 40 requests, 8 at a time, and its limit is 20 an hour", s.limit},
		{"The reply to a write is lost", s.lostReply},
		{"Two different writes have the same Idempotency-Key", s.conflict},
		{"A server is killed before a write has its effect", s.killBefore},
		{"A server is killed after its point of no return", s.killAfter},
	})
}

func (s *ordersSession) start(ctx context.Context) (err error) {
	if err = s.prepare("http://orders.example/v1/orders"); err != nil {
		return err
	}
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
	if s.a, err = s.startServer(ctx, "A"); err != nil {
		return err
	}
	if s.b, err = s.startServer(ctx, "B"); err != nil {
		return err
	}
	s.say("redis-server is process %d. The service is server A, process %d, and server B, process %d.",
		s.redis.Pid(), s.a.pid(), s.b.pid())
	s.say("Requests go to A and B in turn.")
	s.say("")
	return nil
}

// startServer starts a process of the service, and waits until it answers.
func (s *ordersSession) startServer(ctx context.Context, name string) (*process, error) {
	p, err := s.stage.startServer(ordersService, name, s.redis.Addr, s.bank.url)
	if err != nil {
		return nil, err
	}
	s.balancer.startWith(p)
	return p, s.once.send(ctx, http.MethodGet, keyOfAlice, "", "").err
}

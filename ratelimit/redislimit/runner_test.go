package redislimit_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// go-redis retries commands three times by default.
func TestRunnerSendsAScriptOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { _ = client.Close() })
	r := redislimit.NewGoRedisRunner(client)
	const script = "return redis.call('INCR', KEYS[1])"

	reply, err := r.Run(t.Context(), script, []string{"n"}, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, reply)
	dropped := proxy.DropReply("evalsha")
	_, err = r.Run(t.Context(), script, []string{"n"}, nil)
	require.Error(t, err)
	<-dropped
	n, err := server.Do("GET", "n")
	require.NoError(t, err)
	require.Equal(t, "2", n)

	_, err = server.Do("SCRIPT", "FLUSH")
	require.NoError(t, err)
	reply, err = r.Run(t.Context(), script, []string{"n"}, nil)
	require.NoError(t, err)
	require.EqualValues(t, 3, reply)
	_, err = r.Run(t.Context(), "return redis.call('LPUSH', KEYS[1], 'x')", []string{"n"}, nil)
	var answer interface{ RedisError() }
	require.ErrorAs(t, err, &answer)
}

// opaque is a connection that go-redis cannot check, like one with TLS.
type opaque struct{ net.Conn }

// scripts is a hook of go-redis that counts the scripts.
type scripts struct{ sent atomic.Int64 }

func (s *scripts) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			s.sent.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (s *scripts) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *scripts) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// After a restart, all idle connections are broken. Only the first call finds out.
func TestIdleConnectionsAfterARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const idle = 10
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return opaque{c}, err
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	conns := make([]*redis.Conn, idle)
	for i := range conns {
		conns[i] = client.Conn()
		require.NoError(t, conns[i].Ping(t.Context()).Err())
	}
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
	require.EqualValues(t, idle, client.PoolStats().IdleConns)
	counter := new(scripts)
	client.AddHook(counter)
	l := redislimit.New(client, &redislimit.Options{Timeout: patient})
	take(t, l, perHour("k", 10))
	server.Kill()
	require.NoError(t, server.Run())
	counter.sent.Store(0)
	require.Eventually(t, func() bool {
		_, err := l.Take(t.Context(), perHour("k", 10))
		return err == nil
	}, patient, 10*time.Millisecond)
	require.LessOrEqual(t, counter.sent.Load(), int64(3))
}

// badHook is a hook of go-redis that panics.
type badHook struct{}

func (badHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { panic("a hook") }
}

func (badHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (badHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestPanicOfAHookIsAnError(t *testing.T) {
	t.Parallel()
	for _, client := range []redis.UniversalClient{
		redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}),
		redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true}),
		redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}),
		redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}}),
	} {
		t.Cleanup(func() { _ = client.Close() })
		client.AddHook(badHook{})
		_, err := redislimit.New(client, nil).Take(t.Context(), perHour("k", 1))
		require.ErrorContains(t, err, "redislimit: the client panicked: a hook", "%T", client)
	}
}

// brokenHook is a hook of go-redis that returns an error, which it does not set in the command.
type brokenHook struct{ badHook }

func (brokenHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return errReply }
}

func TestErrorOfAHookIsAnError(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(brokenHook{})
	_, err := redislimit.New(client, &redislimit.Options{Timeout: patient}).Take(t.Context(), perHour("k", 1))
	require.ErrorIs(t, err, errReply)
}

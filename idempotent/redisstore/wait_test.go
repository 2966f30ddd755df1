package redisstore_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// subscriptions returns the number of channels of the connections that subscribe, and the number of
// those connections.
func subscriptions(t testing.TB, s *redistest.Server) (channels, conns int) {
	t.Helper()
	if list := do(t, s, "PUBSUB", "CHANNELS", "idempotent:*"); list != "" {
		channels = len(strings.Split(list, "\n"))
	}
	if list := do(t, s, "CLIENT", "LIST", "TYPE", "pubsub"); list != "" {
		conns = len(strings.Split(list, "\n"))
	}
	return channels, conns
}

// waiting calls Wait, and returns a channel of its result.
func waiting(ctx context.Context, s *redisstore.Store, id idempotent.ID) <-chan error {
	returned := make(chan error, 1)
	go func() { returned <- s.Wait(ctx, id) }()
	return returned
}

// receive returns the result of a call.
func receive(t testing.TB, returned <-chan error) error {
	t.Helper()
	select {
	case err := <-returned:
		return err
	case <-time.After(patience):
		require.FailNow(t, "the call does not return")
		return nil
	}
}

// The store that waits never polls here, so only the message of the other one can wake it.
func TestWaitIsWokenByAnotherProcess(t *testing.T) {
	t.Parallel()
	ends := map[string]func(t *testing.T, s *redisstore.Store, c idempotent.Claim){
		"Finish": func(t *testing.T, s *redisstore.Store, c idempotent.Claim) {
			require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
		},
		"a release": func(t *testing.T, s *redisstore.Store, c idempotent.Claim) {
			require.NoError(t, s.Finish(t.Context(), c.Owner(), released))
		},
		"Resolve": func(t *testing.T, s *redisstore.Store, c idempotent.Claim) {
			require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))
			require.NoError(t, s.Renew(t.Context(), c.Owner(), 1))
			require.NoError(t, s.Resolve(t.Context(), c.ID, released))
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			s := redisstore.New(client(t, server.Addr), nil)
			s.SetPoll(time.Hour)
			other := redisstore.New(client(t, server.Addr), nil)
			c := begun(t, other)
			returned := waiting(t.Context(), s, c.ID)
			eventually(t, func() bool { n, _ := subscriptions(t, server); return n == 1 }, "a subscription")
			end(t, other, c)
			require.NoError(t, receive(t, returned))
		})
	}
}

func TestWaitIsWokenOnACluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	s := redisstore.New(cluster(t, servers), nil)
	s.SetPoll(time.Hour)
	other := redisstore.New(cluster(t, servers), nil)
	for range 5 { // the records and the connection are on different masters
		c := begun(t, other)
		returned := waiting(t.Context(), s, c.ID)
		eventually(t, func() bool {
			n := 0
			for _, server := range servers {
				channels, _ := subscriptions(t, server)
				n += channels
			}
			return n == 1
		}, "a subscription")
		require.NoError(t, other.Finish(t.Context(), c.Owner(), done("response")))
		require.NoError(t, receive(t, returned))
	}
}

// A run that ends before the subscription is confirmed is not missed.
func TestWaitReadsAfterItHasSubscribed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := client(t, server.Addr)
	other := redisstore.New(c, nil)
	claim := begun(t, other)
	r := &finishing{fullRunner: redisstore.NewGoRedisRunner(c).(fullRunner)}
	r.finish = func() error { return other.Finish(t.Context(), claim.Owner(), done("response")) }
	s := redisstore.NewRunner(r, nil)
	s.SetPoll(time.Hour)
	require.NoError(t, receive(t, waiting(t.Context(), s, claim.ID)))
	require.NoError(t, r.err)
}

// finishing is a Runner that ends the run right after it was read for the first time, and delays
// the subscription until then.
type finishing struct {
	fullRunner
	finish func() error
	err    error
	reads  int
	delay  func()
}

func (f *finishing) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	reply, err := f.fullRunner.Run(ctx, script, keys, args)
	if f.reads++; f.reads == 1 {
		f.err = f.finish()
		f.delay()
	}
	return reply, err
}

func (f *finishing) Subscribe(channel string, notify func()) (cancel func()) {
	f.delay = func() { cancel = f.fullRunner.Subscribe(channel, notify) }
	return func() { cancel() }
}

// Redis does not promise to deliver a message.
func TestWaitReturnsWithoutTheHint(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, hide := range map[string]func(*counter) redisstore.Runner{
		"no Subscriber": func(c *counter) redisstore.Runner { return struct{ redisstore.Runner }{c} },
		"deaf":          func(c *counter) redisstore.Runner { return deaf{c} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &counter{fullRunner: redisstore.NewGoRedisRunner(client(t, server.Addr)).(fullRunner)}
			s := redisstore.NewRunner(hide(r), nil)
			claim := begun(t, s)
			returned := waiting(t.Context(), s, claim.ID)
			eventually(t, func() bool { return r.calls.Load() >= 3 }, "a claim, a look at the policy, and a read")
			require.NoError(t, s.Finish(t.Context(), claim.Owner(), done("response")))
			require.NoError(t, receive(t, returned))
		})
	}
}

// deaf is a Subscriber whose messages are lost.
type deaf struct{ fullRunner }

func (deaf) Subscribe(string, func()) (cancel func()) { return func() {} }

// After the connection is lost, go-redis subscribes again, and Wait reads the record again.
func TestWaitSurvivesALostConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	s.SetPoll(time.Hour)
	other := redisstore.New(client(t, server.Addr), nil)
	c := begun(t, other)
	returned := waiting(t.Context(), s, c.ID)
	eventually(t, func() bool { n, _ := subscriptions(t, server); return n == 1 }, "a subscription")
	require.Equal(t, "1", do(t, server, "CLIENT", "KILL", "TYPE", "pubsub"))
	require.NoError(t, other.Finish(t.Context(), c.Owner(), done("response")))
	require.NoError(t, receive(t, returned))
}

// Any number of waiters share one connection, which ends with them.
func TestWaitersShareAConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var claims []idempotent.Claim
	var returned []<-chan error
	for range 50 {
		c := begun(t, s)
		claims = append(claims, c)
		returned = append(returned, waiting(ctx, s, c.ID), waiting(ctx, s, c.ID))
	}
	eventually(t, func() bool {
		channels, conns := subscriptions(t, server)
		return channels == 50 && conns == 1
	}, "50 subscriptions on one connection")
	for _, c := range claims[:25] {
		require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
	}
	for _, r := range returned[:50] {
		require.NoError(t, receive(t, r))
	}
	eventually(t, func() bool { n, _ := subscriptions(t, server); return n == 25 }, "25 subscriptions")
	id, _, _ := strings.Cut(do(t, server, "CLIENT", "LIST", "TYPE", "pubsub"), " ")
	id = strings.TrimPrefix(id, "id=")
	cancel()
	for _, r := range returned[50:] {
		require.ErrorIs(t, receive(t, r), context.Canceled)
	}
	eventually(t, func() bool { return do(t, server, "CLIENT", "LIST", "ID", id) == "" }, "no connection")

	c := begun(t, s) // a new one begins
	again := waiting(t.Context(), s, c.ID)
	eventually(t, func() bool { _, conns := subscriptions(t, server); return conns == 1 }, "a connection")
	require.NoError(t, s.Finish(t.Context(), c.Owner(), released))
	require.NoError(t, receive(t, again))
}

// The client of go-redis can be closed while its store is waited on.
func TestWaitWithAClosedClient(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	s := redisstore.New(rdb, nil)
	c := begun(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	returned := waiting(ctx, s, c.ID)
	eventually(t, func() bool { n, _ := subscriptions(t, server); return n == 1 }, "a subscription")
	require.NoError(t, rdb.Close())
	eventually(t, func() bool { _, conns := subscriptions(t, server); return conns == 0 }, "no connection")
	cancel()
	require.Error(t, receive(t, returned))
}

// Wait reads the record a few times, and not in a loop.
func TestWaitDoesNotPollMuch(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := &counter{fullRunner: redisstore.NewGoRedisRunner(client(t, server.Addr)).(fullRunner)}
	s := redisstore.NewRunner(r, nil)
	s.SetPoll(time.Hour)
	c := begun(t, s)
	eventually(t, func() bool { return r.calls.Load() == 2 }, "the look at the eviction policy")
	returned := waiting(t.Context(), s, c.ID)
	eventually(t, func() bool { return r.calls.Load() == 4 }, "a read after the subscription")
	require.NoError(t, s.Finish(t.Context(), c.Owner(), released))
	require.NoError(t, receive(t, returned))
	require.EqualValues(t, 6, r.calls.Load()) // with Finish and the read after its message
}

type counter struct {
	fullRunner
	calls atomic.Int64
}

func (c *counter) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	defer c.calls.Add(1)
	return c.fullRunner.Run(ctx, script, keys, args)
}

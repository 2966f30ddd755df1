package redisstore_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/redistest"
)

func TestWarningIfRedisMayEvict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options []string
		warns   bool
	}{
		"no bound":     {[]string{"maxmemory-policy allkeys-lru"}, false},
		"noeviction":   {[]string{"maxmemory 1gb"}, false},
		"allkeys-lru":  {[]string{"maxmemory 1gb", "maxmemory-policy allkeys-lru"}, true},
		"volatile-ttl": {[]string{"maxmemory 1gb", "maxmemory-policy volatile-ttl"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logbuf.Buffer
			r := newPolicyRunner(client(t, redistest.Start(t, test.options...).Addr))
			s := redisstore.NewRunner(r, &redisstore.Options{Logger: slog.New(slog.NewTextHandler(&logs, nil))})
			for range 3 {
				begun(t, s)
			}
			eventually(t, func() bool { return r.looks.Load() == 1 }, "the look")
			if !test.warns {
				require.Empty(t, logs.String())
				return
			}
			eventually(t, func() bool { return logs.String() != "" }, "the warning")
			begun(t, s)
			require.Equal(t, 1, strings.Count(logs.String(), "\n"))
			require.Contains(t, logs.String(), "maxmemory_policy="+name)
			require.EqualValues(t, 1, r.looks.Load())
		})
	}
}

// policyRunner counts the looks at the eviction policy, and can hold them or make them fail.
type policyRunner struct {
	fullRunner
	looks atomic.Int64
	look  func(ctx context.Context) error
}

func newPolicyRunner(c redis.UniversalClient) *policyRunner {
	return &policyRunner{fullRunner: redisstore.NewGoRedisRunner(c).(fullRunner)}
}

func (r *policyRunner) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	if !strings.Contains(script, "'INFO'") {
		return r.fullRunner.Run(ctx, script, keys, args)
	}
	defer r.looks.Add(1)
	if r.look != nil {
		if err := r.look(ctx); err != nil {
			return nil, err
		}
	}
	return r.fullRunner.Run(ctx, script, keys, args)
}

// The request for which Redis was looked at can end first.
func TestLookAtThePolicyOutlivesItsRequest(t *testing.T) {
	t.Parallel()
	var logs logbuf.Buffer
	server := redistest.Start(t, "maxmemory 1gb", "maxmemory-policy allkeys-lru")
	r := newPolicyRunner(client(t, server.Addr))
	s := redisstore.NewRunner(r, &redisstore.Options{Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	ended := make(chan struct{})
	r.look = func(context.Context) error { <-ended; return nil }
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Acquire(ctx, newClaim())
	require.NoError(t, err)
	cancel()
	close(ended)
	eventually(t, func() bool { return logs.String() != "" }, "the warning")
}

// A look that fails, hangs or panics does not disturb the request.
func TestLookAtThePolicyMayFail(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "maxmemory 1gb", "maxmemory-policy allkeys-lru")
	for name, test := range map[string]struct {
		look   func(context.Context) error
		logger *slog.Logger
	}{
		"forbidden":       {look: func(context.Context) error { return context.Canceled }},
		"hangs":           {look: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		"a logger panics": {logger: slog.New(panics{slog.DiscardHandler})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPolicyRunner(client(t, server.Addr))
			r.look = test.look
			s := redisstore.NewRunner(r, &redisstore.Options{Prefix: newPrefix(), Logger: test.logger})
			c := begun(t, s)
			require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
			eventually(t, func() bool { return r.looks.Load() == 1 }, "the end of the look")
		})
	}
}

// panics is a log handler that panics.
type panics struct{ slog.Handler }

func (panics) Enabled(context.Context, slog.Level) bool { panic("logger") }

// This is what the warning is about.
func TestEvictionLosesRunningRecords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "maxmemory-policy allkeys-lru")
	s := redisstore.New(client(t, server.Addr), nil)
	c := begun(t, s)
	require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))
	require.Equal(t, "OK", do(t, server, "CONFIG", "SET", "maxmemory", "1"))
	eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, "the eviction")
	require.Equal(t, "OK", do(t, server, "CONFIG", "SET", "maxmemory", "0"))
	require.Equal(t, 1, wantVerdict(t, s, rival(c), idempotent.VerdictAcquired).Attempt)
}

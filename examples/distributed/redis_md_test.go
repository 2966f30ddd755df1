package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// This file has code and claims of docs/REDIS.md that the session does not need.

func firstSteps(client redis.UniversalClient, authenticate seawall.Middleware, mux *http.ServeMux) http.Handler {
	stack := &seawall.Stack{
		Authenticate: authenticate,
		RateLimit: seawall.Chain(
			ratelimit.New(redislimit.New(client, nil), &ratelimit.Options{Processes: 3},
				ratelimit.Rule{Limit: ratelimit.PerMinute(100), Key: ratelimit.ByPrincipal}),
			ratelimit.MaxConcurrent(20, ratelimit.ByPrincipal, &ratelimit.ConcurrentOptions{
				Slots: redislimit.NewSlots(client, nil), Processes: 3,
			}),
		),
		Idempotency: idempotent.New(redisstore.New(client, nil), idempotent.ByPrincipal, nil),
	}
	return stack.Handler(mux)
}

func decideAlone(ctx context.Context, limiter *redislimit.Limiter, account string) error {
	d, err := limiter.Take(ctx, ratelimit.Charge{
		Rule: "reports", Key: account, Limit: ratelimit.PerMinute(10), Cost: 1,
	})
	if err != nil {
		return err // Redis did not answer. The middleware decides by its OnFailure; here, you decide
	}
	if !d.Allowed {
		return fmt.Errorf("try again in %v", d.RetryAfter)
	}
	return nil
}

func limitRequests(client redis.UniversalClient, next http.Handler) http.Handler {
	limit := ratelimit.New(redislimit.New(client, nil), nil,
		ratelimit.Rule{Limit: ratelimit.PerMinute(100), Key: ratelimit.ByRemoteAddr})
	return limit(next)
}

func limitOnCluster(client *redis.ClusterClient, next http.Handler) http.Handler {
	limiter := redislimit.New(client, &redislimit.Options{HashTag: "limits"})
	limit := ratelimit.New(limiter, nil,
		ratelimit.Rule{Name: "account", Limit: ratelimit.PerSecond(100), Key: ratelimit.ByPrincipal},
		ratelimit.Rule{Name: "address", Limit: ratelimit.PerSecond(300), Key: ratelimit.ByRemoteAddr})
	return limit(next)
}

func connect(addr string) redis.UniversalClient {
	return redis.NewClient(&redis.Options{
		Addr:                  addr,
		ContextTimeoutEnabled: true,
		DialTimeout:           2 * time.Second,
		ReadTimeout:           2 * time.Second, // WriteTimeout is the same, and PoolTimeout a second more
		MinIdleConns:          4,
		PoolSize:              100,
	})
}

// The timeouts are the defaults, so on a slow machine Redis may not answer in time at first.
func TestFirstStepsOfTheDocs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(server.Addr)
	defer client.Close()
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, seawall.WithPrincipal(r, "acct"))
		})
	}
	var during string // the keys in Redis while a handler runs
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(http.ResponseWriter, *http.Request) { during, _ = server.Do("KEYS", "*") })
	h := firstSteps(client, authenticate, mux)
	require.Eventually(t, func() bool {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Idempotency-Key", rand.Text())
		h.ServeHTTP(httptest.NewRecorder(), r)
		return strings.Contains(during, "ratelimit:{") && strings.Contains(during, "slots:{") && strings.Contains(during, "idempotent:")
	}, 10*time.Second, 10*time.Millisecond)
}

// The limiter's timeout is the default, so on a slow machine it may fail at first.
func TestLimiterOfTheDocs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(server.Addr)
	defer client.Close()
	require.Eventually(t, func() bool {
		require.Equal(t, `"default";q=100;w=60`, get(limitRequests(client, http.NotFoundHandler())))
		keys, err := server.Do("KEYS", "ratelimit:*")
		return err == nil && strings.HasPrefix(keys, "ratelimit:{")
	}, 10*time.Second, 10*time.Millisecond)

	key, err := server.Do("KEYS", "ratelimit:*")
	require.NoError(t, err)
	bucket, err := server.Do("--eval", "../../ratelimit/redislimit/scripts/inspect.lua", key)
	require.NoError(t, err)
	require.Regexp(t, `units now +\d+\.\d+ of 100`, bucket)
}

func TestLimiterOfTheDocsOnACluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	for _, s := range servers {
		allowUser(t, s, "+cluster|slots", "+command")
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr}, Username: "seawall", Password: "secret"})
	defer client.Close()
	owner := redistest.Owner(t, servers, "{limits}")
	require.Eventually(t, func() bool {
		require.Equal(t, `"account";q=100;w=1, "address";q=300;w=1`, get(limitOnCluster(client, http.NotFoundHandler())))
		keys, err := owner.Do("KEYS", "ratelimit:{limits}*")
		return err == nil && strings.Contains(keys, ":account") && strings.Contains(keys, ":address")
	}, 10*time.Second, 10*time.Millisecond)
	for _, s := range servers {
		log, err := s.Do("ACL", "LOG")
		require.NoError(t, err)
		require.Empty(t, log, "commands that were refused")
	}
}

// allowUser makes the user that docs/REDIS.md describes, with more rights if there are any.
func allowUser(t *testing.T, s *redistest.Server, more ...string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/REDIS.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "    redis-cli ACL SETUSER ")
	require.True(t, ok)
	rights, _, _ := strings.Cut(rest, "\n\n")
	rights = strings.NewReplacer("'", "", "\\\n", "").Replace(rights)
	reply, err := s.Do(append(append([]string{"ACL", "SETUSER"}, strings.Fields(rights)...), more...)...)
	require.NoError(t, err)
	require.Equal(t, "OK", reply)
	for _, right := range more {
		require.Contains(t, string(text), "`"+right+"`")
	}
}

// get sends a request of an account, and returns the RateLimit-Policy of the response.
func get(h http.Handler) (policy string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, seawall.WithPrincipal(httptest.NewRequest(http.MethodGet, "/", nil), "acct"))
	return w.Header().Get("RateLimit-Policy")
}

func TestUserWithTheCommandsOfTheDocs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	allowUser(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "seawall", Password: "secret"})
	defer client.Close()

	limiter := newLimiter(client)
	for range 2 {
		require.NoError(t, decideAlone(t.Context(), limiter, "acct"))
	}
	require.NoError(t, limiter.Adjust(t.Context(), ratelimit.Charge{Rule: "reports", Key: "acct", Limit: ratelimit.PerMinute(10), Cost: -1}))
	require.NoError(t, free(t.Context(), limiter, "acct"))

	slots := redislimit.NewSlots(client, &redislimit.SlotsOptions{Timeout: time.Second, Lease: 6 * time.Second})
	leave, free, err := slots.Enter(t.Context(), ratelimit.Entry{Rule: "concurrent", Key: "acct", Max: 1})
	require.NoError(t, err)
	require.True(t, free)
	leases := func() string {
		list, err := server.Do("ZRANGE", slots.RedisKey("concurrent", "acct"), "0", "-1", "WITHSCORES")
		require.NoError(t, err)
		return list
	}
	before := leases()
	require.Eventually(t, func() bool { return leases() != before }, 10*time.Second, 10*time.Millisecond, "it is renewed")
	leave()
	require.Empty(t, leases())

	store := newStore(client, nil)
	claim := idempotent.Claim{ID: idempotent.ID{1}, Token: idempotent.NewToken(), Lease: time.Millisecond, Retention: time.Hour}
	_, err = store.Acquire(t.Context(), claim)
	require.NoError(t, err)
	require.NoError(t, store.Renew(t.Context(), claim.Owner(), time.Millisecond))
	require.NoError(t, store.BeginEffect(t.Context(), claim.Owner()))
	waiting := make(chan error, 1)
	go func() { waiting <- store.Wait(t.Context(), claim.ID) }()
	require.Eventually(t, func() bool {
		unknown, err := store.ListUnknown(t.Context(), idempotent.ID{}, 0)
		return err == nil && len(unknown) == 1
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, store.Finish(t.Context(), claim.Owner(), idempotent.Response{Status: 200}.Completion(time.Hour)))
	require.NoError(t, <-waiting)

	log, err := server.Do("ACL", "LOG")
	require.NoError(t, err)
	require.Empty(t, log, "commands that were refused")
}

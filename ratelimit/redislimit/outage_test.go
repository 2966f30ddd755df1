package redislimit_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// service is a handler with a limit of two requests an hour per API key.
type service struct {
	handler  http.Handler
	outcomes chan ratelimit.Outcome
	logs     *logbuf.Buffer
}

func newService(l ratelimit.Limiter, mode ratelimit.Fail) *service {
	s := &service{outcomes: make(chan ratelimit.Outcome, 100), logs: new(logbuf.Buffer)}
	s.handler = ratelimit.New(l, &ratelimit.Options{
		OnFailure: mode,
		Observe:   func(_ context.Context, e ratelimit.Event) { s.outcomes <- e.Outcome },
		Logger:    slog.New(slog.NewTextHandler(s.logs, nil)),
	}, ratelimit.Rule{Key: ratelimit.ByAPIKey, Limit: ratelimit.PerHour(2)})(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return s
}

// get returns the status of a request, and what the limit's middleware says about it.
func (s *service) get(t *testing.T, key string) (status int, outcome ratelimit.Outcome) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Code, <-s.outcomes
}

// outages are what can be wrong with a server. begin returns what ends it.
var outages = []struct {
	name     string
	begin    func(t *testing.T, s *redistest.Server) (end func())
	answered bool // whether the server answers, so that it is asked each time
	forgets  bool // whether the server has forgotten the buckets afterward
}{
	{name: "killed", forgets: true, begin: func(t *testing.T, s *redistest.Server) func() {
		s.Kill()
		return func() { require.NoError(t, s.Run()) }
	}},
	{name: "paused", begin: func(_ *testing.T, s *redistest.Server) func() {
		s.Pause()
		return s.Resume
	}},
	{name: "out of memory", answered: true, begin: func(t *testing.T, s *redistest.Server) func() {
		do(t, s, "CONFIG", "SET", "maxmemory", "1")
		return func() { do(t, s, "CONFIG", "SET", "maxmemory", "0") }
	}},
	{name: "a replica that is read-only", answered: true, begin: func(t *testing.T, s *redistest.Server) func() {
		master := redistest.Start(t)
		do(t, master, "SET", "x", "y") // a replica with a master gets its data
		host, port, _ := strings.Cut(master.Addr, ":")
		do(t, s, "REPLICAOF", host, port)
		require.Eventually(t, func() bool { return strings.Contains(do(t, s, "INFO", "replication"), "master_link_status:up") }, patient, 10*time.Millisecond)
		return func() { do(t, s, "REPLICAOF", "NO", "ONE") }
	}, forgets: true},
	{name: "too few replicas", answered: true, begin: func(t *testing.T, s *redistest.Server) func() {
		do(t, s, "CONFIG", "SET", "min-replicas-to-write", "1")
		return func() { do(t, s, "CONFIG", "SET", "min-replicas-to-write", "0") }
	}},
}

func TestOutages(t *testing.T) {
	t.Parallel()
	for _, outage := range outages {
		for _, mode := range []struct {
			name    string
			fail    ratelimit.Fail
			status  [3]int // of three requests with one key
			outcome ratelimit.Outcome
		}{
			{"FailLocal", ratelimit.FailLocal, [3]int{200, 200, 429}, ratelimit.OutcomeAllowed},
			{"FailOpen", ratelimit.FailOpen, [3]int{200, 200, 200}, ratelimit.OutcomeBypassed},
			{"FailClosed", ratelimit.FailClosed, [3]int{503, 503, 503}, ratelimit.OutcomeFailed},
		} {
			t.Run(outage.name+"/"+mode.name, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := redistest.NewProxy(t, server.Addr)
				client := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: 3})
				t.Cleanup(func() { _ = client.Close() })
				l := redislimit.New(client, &redislimit.Options{Timeout: 300 * time.Millisecond})
				s := newService(l, mode.fail)
				require.Eventually(t, func() bool { // the machine may be too busy for the timeout
					_, err := l.Take(t.Context(), perHour("warm", 1e6))
					return err == nil
				}, patient, 10*time.Millisecond)

				status, outcome := s.get(t, "before")
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, ratelimit.OutcomeAllowed, outcome)
				end := outage.begin(t, server)
				for i, want := range mode.status {
					status, outcome := s.get(t, "during")
					require.Equal(t, want, status, "request %d: %s", i, s.logs)
					if want != http.StatusTooManyRequests {
						require.Equal(t, mode.outcome, outcome)
					}
				}
				if !outage.answered { // no dial until the probe, which is due a second later
					dials := proxy.Dials()
					for range 50 {
						s.get(t, "more")
					}
					require.LessOrEqual(t, proxy.Dials(), dials+2)
				}
				end()
				require.Eventually(t, func() bool {
					_, err := l.Take(t.Context(), perHour("probe", 1e6))
					return err == nil
				}, patient, 10*time.Millisecond, "recovers unaided")
				if !outage.forgets {
					peek := perHour(bearer("before"), 2)
					peek.Cost = 0
					require.Equal(t, 1, take(t, l, peek).Remaining)
				}
				status, _ = s.get(t, "after")
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, 1, strings.Count(s.logs.String(), "the limiter fails"), "%s", s.logs)
				require.Equal(t, 1, strings.Count(s.logs.String(), "the limiter works again"), "%s", s.logs)
			})
		}
	}
}

func bearer(key string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+key)
	k, _ := ratelimit.ByAPIKey(r)
	return k
}

// A key that holds something else is an error for its own bucket, and for no other one.
func TestOtherValuesAtAKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	key := l.RedisKey("default", "k")
	for name, set := range map[string][]string{
		"a list":         {"LPUSH", key, "x"},
		"a hash":         {"HSET", key, "f", "v"},
		"text":           {"SET", key, "not a bucket"},
		"nothing":        {"SET", key, ""},
		"zeros":          {"EVAL", "redis.call('SET', KEYS[1], string.rep('\\0', 40))", "1", key},
		"not numbers":    {"EVAL", "redis.call('SET', KEYS[1], string.rep('\\255', 40))", "1", key},
		"infinite":       {"EVAL", "redis.call('SET', KEYS[1], struct.pack('<ddddd', -1/0, 1, 1, 1, 1))", "1", key},
		"over its burst": {"EVAL", "redis.call('SET', KEYS[1], struct.pack('<ddddd', 2, 1, 1, 1, 1))", "1", key},
		"no rate":        {"EVAL", "redis.call('SET', KEYS[1], struct.pack('<ddddd', 1, 1, 1, 0, 1))", "1", key},
		"a long text":    {"SET", key, strings.Repeat("x", 41)},
		"a sorted set":   {"ZADD", key, "1", "x"},
		"a version gone": {"SET", key, "99.5 1764427000123456 0 100 1000000000 100"},
	} {
		do(t, server, "DEL", key)
		do(t, server, set...)
		_, err := l.Take(t.Context(), perHour("k", 10))
		require.ErrorContains(t, err, "something else", name)
		require.ErrorContains(t, l.Adjust(t.Context(), perHour("k", 10)), "not a bucket", name)
		into := make([]ratelimit.Decision, 2)
		other := perHour("k", 10)
		other.Rule = "other"
		require.Error(t, l.TakeAll(t.Context(), []ratelimit.Charge{other, perHour("k", 10)}, into), name)
		other.Cost = 0
		require.Equal(t, 10, take(t, l, other).Remaining, "%s: nothing was charged", name)
		require.True(t, take(t, l, perHour("l"+name, 10)).Allowed, name)
		require.NoError(t, l.Reset(t.Context(), "default", "k"), name)
		require.Equal(t, 9, take(t, l, perHour("k", 10)).Remaining, "%s: Reset mends it", name)
	}
}

// A long text of 40 bytes can look like numbers. It must not break anything.
func TestFortyBytesOfText(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	for _, c := range []string{"a", "0", "~", " ", "\x7f"} {
		do(t, server, "SET", l.RedisKey("default", c), strings.Repeat(c, 40))
		d, err := l.Take(t.Context(), perHour(c, 10))
		if err == nil {
			require.LessOrEqual(t, d.Remaining, 10)
			require.GreaterOrEqual(t, d.Remaining, 0)
		}
	}
}

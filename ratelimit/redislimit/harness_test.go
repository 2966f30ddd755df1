package redislimit_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// patient is the timeout of limiters whose tests are not about timeouts: the machine may be busy.
const patient = 30 * time.Second

func connect(t testing.TB, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func do(t testing.TB, s *redistest.Server, command ...string) string {
	t.Helper()
	reply, err := s.Do(command...)
	require.NoError(t, err, "%s", reply)
	return reply
}

// calls returns how often the server has executed a command.
func calls(t testing.TB, s *redistest.Server, command string) int {
	t.Helper()
	return callsIn(t, do(t, s, "INFO", "commandstats"), command)
}

func callsIn(t testing.TB, info, command string) int {
	t.Helper()
	for line := range strings.Lines(info) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			n, _, _ := strings.Cut(rest, ",")
			count, err := strconv.Atoi(n)
			require.NoError(t, err)
			return count
		}
	}
	return 0
}

func take(t testing.TB, l ratelimit.Limiter, c ratelimit.Charge) ratelimit.Decision {
	t.Helper()
	d, err := l.Take(t.Context(), c)
	require.NoError(t, err)
	return d
}

// clock is a server's clock that the test moves. It stands in for TIME in the scripts, and also
// for the clock of the process. Keys do not expire by the server's real clock meanwhile.
type clock struct {
	redislimit.Runner
	client redis.UniversalClient
	key    string

	mu  sync.Mutex
	now time.Time
}

var clocks atomic.Int64

func newClock(t testing.TB, client redis.UniversalClient) *clock {
	t.Helper()
	c := &clock{
		Runner: redislimit.NewGoRedisRunner(client),
		client: client,
		key:    fmt.Sprintf("clock%d", clocks.Add(1)),
		now:    time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC),
	}
	c.advance(t, 0)
	return c
}

// limiter returns a limiter on this clock, with buckets that no other test has.
func (c *clock) limiter() *redislimit.Limiter {
	l := redislimit.NewRunner(c, &redislimit.Options{Prefix: c.key + ":", Timeout: patient})
	l.SetClock(c.time)
	return l
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(t testing.TB, d time.Duration) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	us := c.now.UnixMicro()
	require.NoError(t, c.client.HSet(context.Background(), c.key, "s", us/1e6, "us", us%1e6).Err())
}

// Run implements [redislimit.Runner].
func (c *clock) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	return c.Runner.Run(ctx, c.replace(script), keys, args)
}

func (c *clock) replace(script string) string {
	return strings.NewReplacer(
		"redis.call('TIME')", "redis.call('HMGET', '"+c.key+"', 's', 'us')",
		"'PX', string.format('%.0f', min((keep - now) / 1000 + 1, 2^53))", "'EX', '3600'",
	).Replace(script)
}

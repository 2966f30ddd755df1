package rueidistest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/tests/rueidistest"
)

// clock is a Runner whose scripts get the time from a Redis key that the test writes. Keys do not
// expire by the server's own clock meanwhile.
type clock struct {
	*rueidistest.Runner
	key string
	now time.Time
}

var clocks atomic.Int64

func newClock(t *testing.T, r *rueidistest.Runner) *clock {
	t.Helper()
	c := &clock{r, fmt.Sprintf("clock%d", clocks.Add(1)), time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
	c.advance(t, 0)
	return c
}

func (c *clock) advance(t *testing.T, d time.Duration) {
	t.Helper()
	c.now = c.now.Add(d)
	us := c.now.UnixMicro()
	_, err := c.Runner.Run(t.Context(), "return redis.call('HSET', KEYS[1], 's', ARGV[1], 'us', ARGV[2])",
		[]string{c.key}, []string{strconv.FormatInt(us/1e6, 10), strconv.FormatInt(us%1e6, 10)})
	require.NoError(t, err)
}

func (c *clock) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	script = strings.NewReplacer(
		"redis.call('TIME')", "redis.call('HMGET', '"+c.key+"', 's', 'us')",
		"'PX', string.format('%.0f', min((keep - now) / 1000 + 1, 2^53))", "'EX', '3600'",
	).Replace(script)
	if strings.Contains(script, "'TIME'") || strings.Contains(script, "'PX'") {
		return nil, errors.New("the script has a time that the test does not replace")
	}
	return c.Runner.Run(ctx, script, keys, args)
}

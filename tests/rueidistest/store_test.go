package rueidistest_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/tests/rueidistest"
)

var (
	_ redisstore.Runner  = (*rueidistest.Runner)(nil)
	_ redisstore.Scanner = (*rueidistest.Runner)(nil)
)

func TestStore(t *testing.T) {
	t.Parallel()
	runStoreSuite(t, open(t, redistest.Start(t).Addr))
}

func TestStoreOnACluster(t *testing.T) {
	t.Parallel()
	runStoreSuite(t, open(t, redistest.StartCluster(t, 3, 0)[0].Addr))
}

func runStoreSuite(t *testing.T, r *rueidistest.Runner) {
	t.Helper()
	var stores atomic.Int64
	idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		c := &laterClock{Runner: r}
		prefix := fmt.Sprintf("store%d:", stores.Add(1))
		return redisstore.NewRunner(c, &redisstore.Options{Prefix: prefix}), c.advance
	})
}

// laterClock is a Runner whose scripts see a later time than that of the server. Redis itself does
// not, so keys live longer than records.
type laterClock struct {
	*rueidistest.Runner
	seconds atomic.Int64
}

func (c *laterClock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

func (c *laterClock) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	later := fmt.Sprintf("(function() local t = redis.call('TIME') return {t[1] + %d, t[2]} end)()", c.seconds.Load())
	return c.Runner.Run(ctx, strings.ReplaceAll(script, "redis.call('TIME')", later), keys, args)
}

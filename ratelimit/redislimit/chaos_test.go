package redislimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// chaos is a Runner that is fast, slow, dead, or broken. It keeps when each key was sent.
type chaos struct {
	mu   sync.Mutex
	rand *rand.Rand
	sent map[string]time.Time
	t    *testing.T
}

func (c *chaos) Run(ctx context.Context, _ string, keys, _ []string) (any, error) {
	c.mu.Lock()
	kind, latency := c.rand.IntN(300), time.Duration(c.rand.IntN(30_000))*time.Microsecond
	for _, k := range keys {
		if _, ok := c.sent[k]; ok {
			c.t.Errorf("%s was sent twice", k)
		}
		c.sent[k] = time.Now()
	}
	c.mu.Unlock()
	switch {
	case kind == 0:
		<-ctx.Done()
		return nil, ctx.Err()
	case kind == 1:
		time.Sleep(latency)
		panic("a hook")
	case kind == 2:
		time.Sleep(latency)
		runtime.Goexit()
	case kind < 30:
		time.Sleep(latency)
		return nil, replyError{errReply}
	case kind < 120:
		time.Sleep(latency)
	case kind < 210:
		time.Sleep(latency / 100)
	}
	reply := make([]any, 0, 2*len(keys))
	for range keys {
		reply = append(reply, int64(1), int64(0))
	}
	return reply, nil
}

// Whatever happens to calls, no caller waits longer than the timeout, or is charged after it has
// left, or is charged twice, or gets a decision without a charge.
func TestCallersInChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			c := &chaos{rand: rand.New(rand.NewPCG(seed, 1)), sent: make(map[string]time.Time), t: t}
			l := redislimit.NewRunner(c, nil)
			var wg sync.WaitGroup
			decided := 0
			for i := range 2000 {
				if r.IntN(10) == 0 {
					time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
				}
				charges := make([]ratelimit.Charge, 1+r.IntN(3)*r.IntN(60))
				for k := range charges {
					charges[k] = perHour(fmt.Sprint(i, "-", k), 10)
				}
				leaves := time.Duration(r.IntN(200)) * time.Millisecond
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), leaves)
					defer cancel()
					called := time.Now()
					err := l.TakeAll(ctx, charges, make([]ratelimit.Decision, len(charges)))
					if time.Since(called) > 50*time.Millisecond {
						t.Errorf("a caller has waited %v", time.Since(called))
					}
					left := time.Now()
					time.Sleep(time.Second)
					c.mu.Lock()
					defer c.mu.Unlock()
					sent, ok := c.sent[l.RedisKey("default", charges[len(charges)-1].Key)]
					switch {
					case err == nil && !ok:
						t.Error("a decision without a charge")
					case ok && sent.After(left):
						t.Errorf("charged %v after it has left", sent.Sub(left))
					case err == nil:
						decided++
					}
				})
			}
			wg.Wait()
			require.Greater(t, decided, 50)
		})
	}
}

package modeltest_test

import (
	"context"
	"crypto/sha1" // Redis names scripts by their SHA-1 hash
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// lossyModel is storeModel for calls that may have no reply. Such a call has taken effect, or not.
var lossyModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{record{}} },
	Step: func(state, input, output any) (next []any) {
		if lost(output.(result).err) {
			_, after := state.(record).step(input.(call))
			return []any{state, after}
		}
		if ok, after := storeModel.Step(state, input, output); ok {
			next = append(next, after)
		}
		return next
	},
	DescribeOperation: storeModel.DescribeOperation,
}).ToModel()

// lost reports whether the error says nothing about the record.
func lost(err error) bool {
	return err != nil && !errors.Is(err, idempotent.ErrLost) && !errors.Is(err, idempotent.ErrNotUnknown)
}

// clock is the time of a Redis server. It stands still while calls are under way. It is a hook of
// go-redis that replaces TIME in the scripts.
type clock struct {
	calls   sync.RWMutex // held for reading by calls
	now     atomic.Int64 // in nanoseconds
	scripts sync.Map     // by the hash of the script with TIME
}

func (c *clock) time() time.Duration { return time.Duration(c.now.Load()) }

func (c *clock) sleep(d time.Duration) {
	c.calls.Lock()
	c.now.Add(int64(d))
	c.calls.Unlock()
	time.Sleep(time.Millisecond) // let others run
}

func (c *clock) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *clock) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *clock) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		args := cmd.Args()
		switch cmd.Name() {
		case "eval":
			script := args[1].(string)
			c.scripts.Store(hash(script), script)
			args[1] = c.replace(script)
		case "evalsha":
			if script, ok := c.scripts.Load(args[1]); ok {
				args[1] = hash(c.replace(script.(string)))
			}
		}
		return next(ctx, cmd)
	}
}

func (c *clock) replace(script string) string {
	us := c.time().Microseconds()
	return strings.ReplaceAll(script, "redis.call('TIME')", fmt.Sprintf("{'%d', '%d'}", us/1e6, us%1e6))
}

func hash(script string) string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}

// redisHistory returns the operations of several owners of one record in Redis, with a client each.
func redisHistory(t *testing.T, addr string, seed uint64) (ops []porcupine.Operation) {
	t.Helper()
	c := &clock{}
	c.now.Store(int64(time.Hour))
	r := &recorder{now: c.time, sleep: c.sleep, during: c.calls.RLocker()}
	var wg sync.WaitGroup
	for owner := range 4 {
		client := redis.NewClient(&redis.Options{
			Addr: addr, Protocol: 2 + owner%2, DialerRetries: 1, DialTimeout: time.Second, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 5 * time.Millisecond,
		})
		t.Cleanup(func() { _ = client.Close() })
		client.AddHook(c)
		store := redisstore.New(client, &redisstore.Options{Prefix: fmt.Sprintf("model%d:", seed)})
		random := rand.New(rand.NewPCG(seed, uint64(owner)))
		wg.Go(func() { play(t.Context(), r, store, owner, random) })
	}
	wg.Wait()
	ops = r.ops
	for i := range ops { // a call without a reply may take effect later
		if lost(ops[i].Output.(result).err) {
			ops[i].Return = 1 << 40
		}
	}
	return ops
}

// disturb causes a random fault from time to time, until done is closed.
func disturb(server *redistest.Server, proxy *redistest.Proxy, random *rand.Rand, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		case <-time.After(time.Duration(1+random.IntN(20)) * time.Millisecond):
		}
		switch random.IntN(12) {
		default:
			proxy.DropReply("eval")
		case 0, 1, 2:
			proxy.SetDown(true)
			proxy.SetDown(false)
		case 3:
			if _, err := server.Do("SCRIPT", "FLUSH"); err != nil {
				return err
			}
		case 4:
			server.Kill()
			if err := server.Run(); err != nil {
				return err
			}
		case 5:
			server.Pause()
			time.Sleep(5 * time.Millisecond)
			server.Resume()
		}
	}
}

// The server loses connections, scripts and replies, and is killed. It keeps all that it has
// confirmed.
func TestRedisFollowsTheModel(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes", "appendfsync always")
	proxy := redistest.NewProxy(t, server.Addr)
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- disturb(server, proxy, rand.New(rand.NewPCG(1, 1)), done) }()
	operations, losses := 0, 0
	end := time.Now().Add(5 * time.Second)
	for seed := uint64(0); seed < 50 && time.Now().Before(end); seed++ {
		ops := redisHistory(t, proxy.Addr, seed)
		operations += len(ops)
		for _, op := range ops {
			if lost(op.Output.(result).err) {
				losses++
			}
		}
		if !porcupine.CheckOperations(lossyModel, ops) {
			for _, op := range ops {
				t.Log(op.Call, op.Return, storeModel.DescribeOperation(op.Input, op.Output))
			}
			t.Fatalf("the model does not allow history %d", seed)
		}
	}
	close(done)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d operations, %d without a reply", operations, losses)
}

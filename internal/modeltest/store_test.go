package modeltest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/seawall-go/seawall/idempotent"
)

const (
	lease     = time.Minute
	retention = 10 * time.Minute
)

// storeModel allows exactly the histories of a store that keeps its rules.
var storeModel = porcupine.Model{
	Init: func() any { return record{} },
	Step: func(state, input, output any) (bool, any) {
		want, next := state.(record).step(input.(call))
		got := output.(result)
		return want.state == got.state && want.attempt == got.attempt && want.payload == got.payload && errors.Is(got.err, want.err), next
	},
	DescribeOperation: func(input, output any) string {
		c, r := input.(call), output.(result)
		return fmt.Sprintf("%s %s %s at %s: %s %d %q %v", c.op, c.claim.Token.String()[:4], c.outcome.State, c.at, r.state, r.attempt, r.payload, r.err)
	},
}

// history runs several owners against a store, in a bubble whose clock stands still while anyone runs, and returns what they
// did. All times would tie in it, so operations are stamped from a counter.
func history(t *testing.T, newStore func(now func() time.Duration) idempotent.Store, seed uint64) (ops []porcupine.Operation) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := func() time.Duration { return time.Since(start) }
		store := newStore(now)
		var mu sync.Mutex
		var stamp atomic.Int64
		do := func(owner int, c call) result {
			var r result
			c.at = now()
			called := stamp.Add(1)
			switch ctx := t.Context(); c.op {
			case "acquire":
				v, err := store.Acquire(ctx, c.claim)
				r = result{v.State, v.Attempt, string(v.Record), err}
			case "renew":
				r.err = store.Renew(ctx, c.claim.Own(), c.claim.Lease)
			case "mark":
				r.err = store.Mark(ctx, c.claim.Own())
			case "finish":
				c.outcome.Record = []byte(c.payload)
				r.err = store.Finish(ctx, c.claim.Own(), c.outcome)
			}
			returned := stamp.Add(1)
			mu.Lock()
			defer mu.Unlock()
			ops = append(ops, porcupine.Operation{ClientId: owner, Input: c, Call: called, Output: r, Return: returned})
			return r
		}
		var wg sync.WaitGroup
		for owner := range 4 {
			random := rand.New(rand.NewPCG(seed, uint64(owner)))
			wg.Go(func() { play(owner, random, do) })
		}
		wg.Go(func() {
			sweeper, ok := store.(idempotent.Sweeper)
			for range 30 {
				if ok {
					_, _ = sweeper.Sweep(t.Context(), 0)
				}
				time.Sleep(lease / 2)
			}
		})
		wg.Wait()
	})
	return ops
}

// play is one process: it asks, and goes on as an owner who may be slow, or dead, or hear no reply.
func play(owner int, random *rand.Rand, do func(int, call) result) {
	for range 8 {
		c := idempotent.Claim{Token: idempotent.NewToken(), Lease: lease, Retention: retention}
		if random.IntN(6) == 0 {
			c.Print[0] = 1
		}
		for range 1 + random.IntN(4) {
			do(owner, call{op: "acquire", claim: c})
			sleep(random)
			for range random.IntN(3) {
				do(owner, call{op: []string{"renew", "mark"}[random.IntN(2)], claim: c})
				sleep(random)
			}
		}
		for range random.IntN(3) {
			o := idempotent.Outcome{
				State:     []idempotent.State{idempotent.Done, idempotent.Sealed, idempotent.Unknown, idempotent.Released, idempotent.Released}[random.IntN(5)],
				Retention: retention,
			}
			payload := ""
			if o.State == idempotent.Done || o.State == idempotent.Sealed {
				payload = c.Token.String()
			}
			do(owner, call{op: "finish", claim: c, outcome: o, payload: payload})
			sleep(random)
		}
	}
}

// sleep lets others go first, or a lease, or a retention, run out.
func sleep(random *rand.Rand) {
	if d := []time.Duration{0, 0, 0, lease / 3, lease + 1, retention + 1}[min(random.IntN(7), 5)]; d > 0 {
		time.Sleep(d)
	}
}

// pause is long enough for others to come, on a bubble's clock.
func pause() { time.Sleep(lease / 4) }

func TestStoresFollowTheModel(t *testing.T) {
	t.Parallel()
	for name, newStore := range map[string]func(func() time.Duration) idempotent.Store{
		"Memory": func(func() time.Duration) idempotent.Store { return idempotent.NewMemory(nil) },
		"evicting": func(func() time.Duration) idempotent.Store {
			return idempotent.NewMemory(&idempotent.MemoryOptions{Evict: true})
		},
		"reference": func(now func() time.Duration) idempotent.Store { return newReference(now, pause) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			operations := 0
			for seed := range uint64(300) {
				ops := history(t, newStore, seed)
				operations += len(ops)
				if !porcupine.CheckOperations(storeModel, ops) {
					for _, op := range ops {
						t.Log(op.Call, op.Return, storeModel.DescribeOperation(op.Input, op.Output))
					}
					t.Fatalf("history %d is not what the model allows", seed)
				}
			}
			t.Logf("%d operations in 300 histories", operations)
		})
	}
}

func TestCheckerCatchesStoreBugs(t *testing.T) {
	t.Parallel()
	for name, wrap := range storeBugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(5000) {
				ops := history(t, func(now func() time.Duration) idempotent.Store { return wrap(newReference(now, pause)) }, seed)
				if !porcupine.CheckOperations(storeModel, ops) {
					t.Logf("caught in history %d", seed)
					return
				}
			}
			t.Fatal("not caught")
		})
	}
}

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
	"github.com/seawall-go/seawall/internal/idemtest"
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
		return want.verdict == got.verdict && want.attempt == got.attempt && want.payload == got.payload && errors.Is(got.err, want.err), next
	},
	DescribeOperation: func(input, output any) string {
		c, r := input.(call), output.(result)
		return fmt.Sprintf("%s %s %s at %s: %s %d %q %v", c.op, c.claim.Token.String()[:4], c.completion.State, c.at, r.verdict, r.attempt, r.payload, r.err)
	},
}

// history runs several owners against a store, in a bubble whose clock stands still while anyone
// runs, and returns what they did. All times would tie in it, so operations are stamped from a
// counter.
func history(t *testing.T, newStore func(now func() time.Duration) idempotent.Store, seed uint64) (ops []porcupine.Operation) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := func() time.Duration { return time.Since(start) }
		store := newStore(now)
		var mu sync.Mutex
		var stamp atomic.Int64
		do := func(owner int, c call) {
			var r result
			c.at = now()
			called := stamp.Add(1)
			switch ctx := t.Context(); c.op {
			case "acquire":
				d, err := store.Acquire(ctx, c.claim)
				r = result{d.Verdict, d.Attempt, string(d.Response), err}
			case "renew":
				r.err = store.Renew(ctx, c.claim.Owner(), c.claim.Lease)
			case "begin":
				r.err = store.BeginEffect(ctx, c.claim.Owner())
			case "finish":
				c.completion.Response = []byte(c.payload)
				r.err = store.Finish(ctx, c.claim.Owner(), c.completion)
			case "resolve":
				resolver, ok := store.(idempotent.Resolver)
				if !ok {
					return
				}
				c.completion.Response = []byte(c.payload)
				r.err = resolver.Resolve(ctx, c.claim.ID, c.completion)
			}
			returned := stamp.Add(1)
			mu.Lock()
			defer mu.Unlock()
			ops = append(ops, porcupine.Operation{ClientId: owner, Input: c, Call: called, Output: r, Return: returned})
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
func play(owner int, random *rand.Rand, do func(int, call)) {
	states := []idempotent.State{idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent}
	for range 8 {
		c := idempotent.Claim{Token: idempotent.NewToken(), Lease: lease, Retention: retention}
		if random.IntN(6) == 0 {
			c.Fingerprint[0] = 1
		}
		if random.IntN(4) == 0 {
			c.Retention = lease / 2 // the record lives for the lease all the same
		}
		end := func(op string, s idempotent.State) {
			payload := ""
			if s == idempotent.StateDone || s == idempotent.StateNotKept {
				payload = c.Token.String()
			}
			o := idempotent.Completion{State: s, Retention: retention}
			do(owner, call{op: op, claim: c, completion: o, payload: payload})
			sleep(random)
		}
		for range 1 + random.IntN(4) {
			do(owner, call{op: "acquire", claim: c})
			sleep(random)
			for range random.IntN(3) {
				do(owner, call{op: []string{"renew", "begin"}[random.IntN(2)], claim: c})
				sleep(random)
			}
		}
		for range random.IntN(3) {
			end("finish", states[min(random.IntN(5), 3)]) // more often absent
		}
		if random.IntN(3) == 0 {
			do(owner, call{op: "acquire", claim: c}) // a reply that was lost comes late
		}
		if random.IntN(4) == 0 {
			end("resolve", []idempotent.State{idempotent.StateDone, idempotent.StateNotKept, idempotent.StateAbsent}[random.IntN(3)])
		}
	}
}

// sleep lets others go first, or a lease, or a retention, run out.
func sleep(random *rand.Rand) {
	if d := []time.Duration{0, 0, 0, lease / 3, lease + 1, retention + 1}[min(random.IntN(7), 5)]; d > 0 {
		time.Sleep(d)
	}
}

func TestStoresFollowTheModel(t *testing.T) {
	t.Parallel()
	for name, newStore := range map[string]func(func() time.Duration) idempotent.Store{
		"Memory":    func(func() time.Duration) idempotent.Store { return idempotent.NewMemory(nil) },
		"reference": func(now func() time.Duration) idempotent.Store { return idemtest.NewReference(now) },
		"TxStore": func(now func() time.Duration) idempotent.Store {
			return idemtest.NewTxStore(idemtest.NewDatabase(8), now, time.Hour)
		},
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

func TestCheckerCatchesFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range idemtest.Faults() {
		if !fault.Modeled {
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(5000) {
				ops := history(t, func(now func() time.Duration) idempotent.Store {
					s := idemtest.NewReference(now)
					s.Pause = func() { time.Sleep(lease / 4) }
					return fault.Wrap(s)
				}, seed)
				if !porcupine.CheckOperations(storeModel, ops) {
					t.Logf("caught in history %d", seed)
					return
				}
			}
			t.Fatal("not caught")
		})
	}
}

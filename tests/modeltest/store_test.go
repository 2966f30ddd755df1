package modeltest_test

import (
	"context"
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

// storeModel allows the histories of a store that follows the rules.
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

// recorder performs operations on a store and records them. The clock of a synctest bubble stands
// still while calls run, so operations get numbers in place of times.
type recorder struct {
	now    func() time.Duration
	sleep  func(time.Duration)
	during sync.Locker // held during calls, if not nil
	stamp  atomic.Int64

	mu  sync.Mutex
	ops []porcupine.Operation
}

func (r *recorder) do(ctx context.Context, store idempotent.Store, owner int, c call) {
	if r.during != nil {
		r.during.Lock()
		defer r.during.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // as the middleware does
	defer cancel()
	c.at = r.now()
	called := r.stamp.Add(1)
	result := perform(ctx, store, c)
	returned := r.stamp.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: owner, Input: c, Call: called, Output: result, Return: returned})
}

func perform(ctx context.Context, store idempotent.Store, c call) (r result) {
	c.completion.Response = []byte(c.payload)
	switch c.op {
	case "acquire":
		d, err := store.Acquire(ctx, c.claim)
		r = result{d.Verdict, d.Attempt, string(d.Response), err}
	case "renew":
		r.err = store.Renew(ctx, c.claim.Owner(), c.claim.Lease)
	case "begin":
		r.err = store.BeginEffect(ctx, c.claim.Owner())
	case "finish":
		r.err = store.Finish(ctx, c.claim.Owner(), c.completion)
	case "resolve":
		r.err = store.(idempotent.Resolver).Resolve(ctx, c.claim.ID, c.completion)
	}
	return r
}

// history returns the operations of several owners of one record.
func history(t *testing.T, newStore func(now func() time.Duration) idempotent.Store, seed uint64) (ops []porcupine.Operation) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := &recorder{now: func() time.Duration { return time.Since(start) }, sleep: time.Sleep}
		store := newStore(r.now)
		var wg sync.WaitGroup
		for owner := range 4 {
			random := rand.New(rand.NewPCG(seed, uint64(owner)))
			wg.Go(func() { play(t.Context(), r, store, owner, random) })
		}
		if sweeper, ok := store.(idempotent.Sweeper); ok {
			wg.Go(func() {
				for range 30 {
					_, _ = sweeper.Sweep(t.Context(), 0)
					time.Sleep(lease / 2)
				}
			})
		}
		wg.Wait()
		ops = r.ops
	})
	return ops
}

// play performs the operations of a process that may be slow, die, or get no reply.
func play(ctx context.Context, r *recorder, store idempotent.Store, owner int, random *rand.Rand) {
	_, resolves := store.(idempotent.Resolver)
	for range 8 {
		c := idempotent.Claim{Token: idempotent.NewToken(), Lease: lease, Retention: retention}
		if random.IntN(6) == 0 {
			c.Fingerprint[0] = 1
		}
		if random.IntN(4) == 0 {
			c.Retention = lease / 2 // shorter than the lease
		}
		do := func(op string) { r.do(ctx, store, owner, call{op: op, claim: c}) }
		end := func(op string, states ...idempotent.State) {
			r.do(ctx, store, owner, ending(op, c, states[random.IntN(len(states))]))
			r.pause(random)
		}
		for range 1 + random.IntN(4) {
			do("acquire")
			r.pause(random)
			for range random.IntN(3) {
				do([]string{"renew", "begin"}[random.IntN(2)])
				r.pause(random)
			}
		}
		for range random.IntN(3) {
			end("finish", idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent, idempotent.StateAbsent)
		}
		if random.IntN(3) == 0 {
			do("acquire") // again, after a lost reply
		}
		if random.IntN(4) == 0 && resolves {
			end("resolve", idempotent.StateDone, idempotent.StateNotKept, idempotent.StateAbsent)
		}
	}
}

// ending returns a finish or a resolve.
func ending(op string, c idempotent.Claim, s idempotent.State) call {
	payload := ""
	if s == idempotent.StateDone || s == idempotent.StateNotKept {
		payload = c.Token.String()
	}
	return call{op: op, claim: c, completion: idempotent.Completion{State: s, Retention: retention}, payload: payload}
}

// pause sleeps for no time, a part of a lease, a lease or a retention.
func (r *recorder) pause(random *rand.Rand) {
	if d := []time.Duration{0, 0, 0, lease / 3, lease + 1, retention + 1}[min(random.IntN(7), 5)]; d > 0 {
		r.sleep(d)
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
					t.Fatalf("the model does not allow history %d", seed)
				}
			}
			t.Logf("%d operations in 300 histories", operations)
		})
	}
}

func TestModelFindsFaults(t *testing.T) {
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
					t.Logf("found in history %d", seed)
					return
				}
			}
			t.Fatal("not found")
		})
	}
}

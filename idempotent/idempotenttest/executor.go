package idempotenttest

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/seawall-go/seawall/idempotent"
)

// RunExecutor tests the executors that newExecutor makes, one for each case, empty. The function effect does something in
// the transaction of the context that run was given, and effects tells how often that has been committed.
func RunExecutor(t *testing.T, newExecutor func(t *testing.T) (e idempotent.Executor, effect func(context.Context), effects func() int)) {
	t.Helper()
	for name, test := range map[string]func(*execution){
		"effect and record are committed": func(x *execution) {
			c := newClaim()
			x.run(c, done("response"), idempotent.Acquired)
			x.wantEffects(1)
			for range 2 {
				if v := x.run(rival(c), done("another"), idempotent.Done); string(v.Record) != "response" {
					x.Errorf("the record is %q", v.Record)
				}
			}
			x.run(other(c), done("another"), idempotent.Mismatch)
			x.wantEffects(1)
		},
		"a sealed record too": func(x *execution) {
			c := newClaim()
			x.run(c, sealed, idempotent.Acquired)
			x.run(rival(c), done("another"), idempotent.Sealed)
			x.wantEffects(1)
		},
		"released is rolled back": func(x *execution) {
			c := newClaim()
			x.run(c, released, idempotent.Acquired)
			x.wantEffects(0)
			x.run(other(c), done("response"), idempotent.Acquired)
			x.wantEffects(1)
		},
		"panic and Goexit are rolled back and go on up": func(x *execution) {
			for _, end := range []func(){func() { panic("boom") }, runtime.Goexit} {
				c := newClaim()
				returned := false
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }()
					_, _ = x.executor.Execute(x.Context(), c, func(ctx context.Context, _ int) idempotent.Outcome {
						x.effect(ctx)
						end()
						return released
					})
					returned = true
				})
				wg.Wait()
				if returned {
					x.Error("Execute returned")
				}
				x.wantEffects(0)
				x.run(rival(c), released, idempotent.Acquired)
			}
		},
		"one of many runs": func(x *execution) {
			c := newClaim()
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for {
						v, err := x.executor.Execute(x.Context(), rival(c), x.once(done("response")))
						if err == nil && v.State == idempotent.InFlight {
							continue
						}
						if err != nil || v.State != idempotent.Acquired && v.State != idempotent.Done {
							x.Errorf("Execute: %s, %v", v.State, err)
						}
						return
					}
				})
			}
			wg.Wait()
			x.wantEffects(1)
		},
		"cancelled context leaves no half": func(x *execution) {
			ctx, cancel := context.WithCancel(x.Context())
			c := newClaim()
			_, err := x.executor.Execute(ctx, c, func(ctx context.Context, attempt int) idempotent.Outcome {
				x.effect(ctx)
				cancel()
				return done("response")
			})
			if err == nil {
				x.wantEffects(1)
				return
			}
			x.wantEffects(0)
			x.run(rival(c), done("response"), idempotent.Acquired)
			x.wantEffects(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, effect, effects := newExecutor(t)
			test(&execution{T: t, executor: e, effect: effect, effects: effects})
		})
	}
}

// execution is an executor and shorthands that fail the test on what they don't expect.
type execution struct {
	*testing.T
	executor idempotent.Executor
	effect   func(context.Context)
	effects  func() int
}

// once has one effect, and ends with the outcome.
func (x *execution) once(o idempotent.Outcome) func(context.Context, int) idempotent.Outcome {
	return func(ctx context.Context, attempt int) idempotent.Outcome {
		if attempt != 1 {
			x.Errorf("attempt %d, want 1", attempt)
		}
		x.effect(ctx)
		for range 100 {
			runtime.Gosched() // others come in the middle
		}
		return o
	}
}

func (x *execution) run(c idempotent.Claim, o idempotent.Outcome, want idempotent.State) idempotent.Verdict {
	x.Helper()
	v, err := x.executor.Execute(x.Context(), c, x.once(o))
	if err != nil || v.State != want {
		x.Fatalf("Execute: %s, %v; want %s", v.State, err, want)
	}
	return v
}

func (x *execution) wantEffects(n int) {
	x.Helper()
	if got := x.effects(); got != n {
		x.Errorf("%d effects are committed, want %d", got, n)
	}
}

package idempotenttest

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/seawall-go/seawall/idempotent"
)

// execution is a fixture with helpers that fail the test if the executor breaks a rule.
type execution struct {
	*testing.T
	ExecutorFixture
}

func (x *execution) effect(ctx context.Context) {
	if err := x.Effect(ctx); err != nil {
		x.Errorf("Effect returned the error %q", err)
	}
}

// once returns a run with one effect.
func (x *execution) once(o idempotent.Completion) func(context.Context, int) idempotent.Completion {
	return func(ctx context.Context, attempt int) idempotent.Completion {
		if attempt != 1 {
			x.Errorf("run was called with attempt %d, want 1", attempt)
		}
		x.effect(ctx)
		for range 100 {
			runtime.Gosched() // so that others come in between
		}
		return o
	}
}

// never is a run that must not be called.
func (x *execution) never(context.Context, int) idempotent.Completion {
	x.Error("Execute called run")
	return released
}

// failing returns a run with an effect and a statement that fails.
func (x *execution) failing(o idempotent.Completion) func(context.Context, int) idempotent.Completion {
	return func(ctx context.Context, _ int) idempotent.Completion {
		x.effect(ctx)
		if err := x.FailStatement(ctx); err == nil {
			x.Error("FailStatement returned no error")
		}
		return o
	}
}

func (x *execution) want(c idempotent.Claim, o idempotent.Completion, v idempotent.Verdict) idempotent.Decision {
	x.Helper()
	run := x.once(o)
	if v != idempotent.VerdictAcquired {
		run = x.never
	}
	d, err := x.Executor.Execute(x.Context(), c, run)
	if err != nil || d.Verdict != v {
		x.Fatalf("Execute returned %s, %v; want %s", d.Verdict, err, v)
	}
	if v == idempotent.VerdictAcquired && d.Attempt != 1 || v != idempotent.VerdictAcquired && d.Attempt != 0 {
		x.Errorf("Execute returned %s with Attempt %d", v, d.Attempt)
	}
	return d
}

// wantReplay makes a duplicate call, and expects the result of a completion.
func (x *execution) wantReplay(c idempotent.Claim, o idempotent.Completion) {
	x.Helper()
	if d := x.want(rival(c), released, verdicts[o.State]); !bytes.Equal(d.Response, o.Response) {
		x.Fatalf("Execute returned the response %q, want %q", short(d.Response), short(o.Response))
	}
}

func (x *execution) wantEffects(n int) {
	x.Helper()
	if got := x.Effects(); got != n {
		x.Errorf("%d effects are committed, want %d", got, n)
	}
}

// wantRunsAfresh expects no record and no effect of a first call.
func (x *execution) wantRunsAfresh(c idempotent.Claim) {
	x.Helper()
	x.wantEffects(0)
	x.want(other(c), answer(201, "afresh"), idempotent.VerdictAcquired)
	x.wantEffects(1)
}

// wantWhole expects the record and the effect of a call, or neither if it returned an error.
func (x *execution) wantWhole(c idempotent.Claim, o idempotent.Completion, err error) {
	x.Helper()
	if err != nil {
		x.wantRunsAfresh(c)
		return
	}
	x.wantEffects(1)
	x.wantReplay(c, o)
}

// wantFate makes a call whose commit goes wrong. If the commit takes effect, an error is wrong.
func (x *execution) wantFate(prepare func(), takesEffect bool) {
	x.Helper()
	prepare()
	c := newClaim()
	runs := 0
	var last idempotent.Completion
	d, err := x.Executor.Execute(x.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
		runs++
		x.effect(ctx)
		last = answer(201, fmt.Sprint("run ", runs))
		return last
	})
	switch {
	case err != nil && takesEffect:
		x.Fatalf("Execute returned the error %q, but the commit took effect", err)
	case err == nil && d.Verdict != idempotent.VerdictAcquired:
		x.Errorf("Execute returned %s, want %s", d.Verdict, idempotent.VerdictAcquired)
	}
	x.wantWhole(c, last, err)
}

// wantLastRun makes calls that meet a conflict, with a handler that checks the error of its
// statement and with one that does not.
func (x *execution) wantLastRun(conflict func()) {
	x.Helper()
	effects := 0
	for _, notices := range []bool{true, false} {
		conflict()
		c := newClaim()
		runs := 0
		var last idempotent.Completion
		d, err := x.Executor.Execute(x.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
			runs++
			last = answer(201, fmt.Sprint("run ", runs))
			if err := x.Effect(ctx); err != nil && notices {
				last = released // as after a 500
			}
			return last
		})
		switch {
		case err != nil || last.State == idempotent.StateAbsent:
			x.wantEffects(effects)
			x.want(other(c), answer(201, "afresh"), idempotent.VerdictAcquired)
		case d.Verdict != idempotent.VerdictAcquired:
			x.Errorf("Execute returned %s, want %s", d.Verdict, idempotent.VerdictAcquired)
		default:
			x.wantReplay(c, last)
		}
		effects++
		x.wantEffects(effects)
	}
}

// executeBounded makes a call that must return in time, and not run.
func (x *execution) executeBounded(what string, c idempotent.Claim) (idempotent.Decision, error) {
	x.Helper()
	r := bounded(x.T, what, x.Patience, func() (r executeResult) {
		r.d, r.err = x.Executor.Execute(x.Context(), c, func(context.Context, int) idempotent.Completion {
			r.ran = true
			return released
		})
		return r
	})
	if r.ran {
		x.Error("Execute called run")
	}
	return r.d, r.err
}

// isHeldUp reports whether a result says that another owner runs. With one writer, an error may
// say it.
func (x *execution) isHeldUp(d idempotent.Decision, err error) bool {
	if err != nil {
		return x.OneWriter
	}
	return d.Verdict == idempotent.VerdictRunning
}

func (x *execution) wantHeldUp(d idempotent.Decision, err error) {
	x.Helper()
	if !x.isHeldUp(d, err) {
		x.Errorf("Execute while another owner runs returned %s, %v; want %s", d.Verdict, err, idempotent.VerdictRunning)
	}
}

type executeResult struct {
	d   idempotent.Decision
	err error
	ran bool
}

// whileRunning calls f while the owner of c runs. The run ends with o.
func (x *execution) whileRunning(c idempotent.Claim, o idempotent.Completion, f func()) {
	x.Helper()
	begun, end, ended := make(chan error, 8), make(chan struct{}), make(chan executeResult, 1)
	finish := sync.OnceFunc(func() { close(end) })
	defer finish() // f may end the test
	go func() {
		var r executeResult
		r.d, r.err = x.Executor.Execute(x.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
			begun <- x.Effect(ctx)
			<-end
			return o
		})
		ended <- r
	}()
	if err := bounded(x.T, "the first run", x.Patience, func() error { return <-begun }); err != nil {
		x.Errorf("Effect returned the error %q", err)
	}
	f()
	finish()
	r := bounded(x.T, "the end of the first run", x.Patience, func() executeResult { return <-ended })
	if r.err != nil || r.d.Verdict != idempotent.VerdictAcquired {
		x.Errorf("Execute returned %s, %v; want %s", r.d.Verdict, r.err, idempotent.VerdictAcquired)
	}
}

// race calls f n times concurrently.
func (x *execution) race(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

package idempotenttest

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// An ExecutorFixture has an executor, and functions with which the suite uses its database.
// Every function except Effect and Effects may be nil: the suite then leaves out the cases
// that need it. Provide as many as the database and its driver allow.
type ExecutorFixture struct {
	// Executor is tested. It must wait at most a few seconds each for a connection, for another
	// owner's transaction, and to learn whether a commit took effect. It must serve 16 calls at
	// the same time. With OneWriter, it may serve some of them with errors.
	Executor idempotent.Executor

	// Effect writes a row in the transaction of ctx, the context of run. It returns the error
	// of the database. Each effect writes another row.
	Effect func(ctx context.Context) error

	// Effects returns the number of committed effects.
	Effects func() int

	// OneWriter reports that only one transaction can write at a time, as in SQLite. The
	// executor then cannot know which key another transaction is about. So after its bounded
	// wait for the writer it may return an error, such as "database is locked", in place of
	// VerdictRunning. Each fixture needs its own database, because the cases run in parallel.
	OneWriter bool

	// Patience bounds a call that has to wait for something. If zero, 30 seconds.
	Patience time.Duration

	// Advance advances the clock of the store. Optional.
	Advance func(time.Duration)

	// Transactions returns the number of transactions that the store has begun. Optional.
	Transactions func() int

	// Exhaust takes all connections of the pool until release is called. Optional.
	Exhaust func() (release func())

	// FailStatement runs a statement that fails in the transaction of ctx, and returns the
	// error of the database. The statement must abort the transaction: leave FailStatement nil
	// for a database that goes on after a failed statement, such as SQLite.
	FailStatement func(ctx context.Context) error

	// FailAndRecover does the same after a savepoint, and rolls back to it. Optional.
	FailAndRecover func(ctx context.Context) error

	// ConflictStatement makes the next Effect fail once, with a serialization failure or a
	// deadlock. Optional.
	ConflictStatement func()

	// The following functions are about the next commit of a transaction with an Effect. All are
	// optional. A proxy between the store and its database can break the connection.

	// ConflictCommit makes the commit fail with a serialization failure.
	ConflictCommit func()

	// RefuseCommit makes the commit fail for another reason, such as a deferred constraint.
	// The database rolls back, and its reply says so.
	RefuseCommit func()

	// LoseReply breaks the connection after the commit has taken effect.
	LoseReply func()

	// LoseCommit breaks the connection before the commit reaches the database, which rolls back.
	LoseCommit func()

	// DelayCommit breaks the connection before the database commits. The database commits a
	// moment later, or when another transaction waits for this one.
	DelayCommit func()
}

// RunExecutor checks an executor against the rules of [idempotent.Executor]. newFixture returns
// an executor without records and effects. RunExecutor calls it once with t, to see which
// functions the fixture has, and once in each case with the t of the case, on which it may
// register a cleanup. The cases run in parallel.
func RunExecutor(t *testing.T, newFixture func(t *testing.T) ExecutorFixture) {
	t.Helper()
	which := newFixture(t)
	for _, c := range executorCases {
		if c.needs != nil && !c.needs(which) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := &execution{T: t, ExecutorFixture: newFixture(t)}
			if x.Patience == 0 {
				x.Patience = 30 * time.Second
			}
			c.test(x)
		})
	}
}

type executorCase struct {
	name  string
	needs func(ExecutorFixture) bool // nil if it needs no optional function
	test  func(*execution)
}

// answer returns the completion of a handler that answers with a status.
func answer(status int, body string) idempotent.Completion {
	return idempotent.Response{Status: status, Body: []byte(body)}.Completion(keep)
}

// unkept returns the completion of a handler whose response is not kept.
func unkept(status int) idempotent.Completion {
	c := answer(status, "")
	c.State = idempotent.StateNotKept
	return c
}

var executorCases = []executorCase{
	{"the effect and the record are committed together", nil, func(x *execution) {
		for i, o := range []idempotent.Completion{answer(201, "response"), answer(422, "refused"), unkept(201)} {
			c := newClaim()
			x.want(c, o, idempotent.VerdictAcquired)
			x.wantEffects(i + 1)
			for range 2 {
				x.wantReplay(c, o)
			}
			x.want(other(c), answer(201, "another"), idempotent.VerdictMismatch)
			x.wantEffects(i + 1)
		}
	}},
	{"a response comes back byte for byte", nil, func(x *execution) {
		all := make([]byte, 1<<20)
		for i := range all {
			all[i] = byte(i ^ i>>8)
		}
		c := newClaim()
		x.want(c, answer(200, string(all)), idempotent.VerdictAcquired)
		x.wantReplay(c, answer(200, string(all)))
	}},
	{"a released run leaves no trace", nil, func(x *execution) {
		c := newClaim()
		x.want(c, released, idempotent.VerdictAcquired)
		x.wantEffects(0)
		x.want(other(c), answer(201, "response"), idempotent.VerdictAcquired)
		x.wantEffects(1)
	}},
	{"Execute can be repeated", nil, func(x *execution) {
		c := newClaim()
		x.want(c, answer(201, "response"), idempotent.VerdictAcquired)
		x.want(c, answer(201, "another"), idempotent.VerdictDone)
		x.wantEffects(1)
	}},
	{"the context of run derives from the caller's", nil, func(x *execution) {
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(x.Context(), key{}, "value"))
		defer cancel()
		_, _ = x.Executor.Execute(ctx, newClaim(), func(ctx context.Context, _ int) idempotent.Completion {
			if ctx.Value(key{}) != "value" {
				x.Error("the context of run has not the values of the caller's context")
			}
			cancel()
			if ctx.Err() == nil {
				x.Error("the context of run is not canceled with the caller's")
			}
			return released
		})
		x.wantEffects(0)
	}},
	{"a canceled call takes effect completely or not at all", nil, func(x *execution) {
		ctx, cancel := context.WithCancel(x.Context())
		c := newClaim()
		_, err := x.Executor.Execute(ctx, c, func(ctx context.Context, _ int) idempotent.Completion {
			x.effect(ctx)
			cancel()
			return answer(201, "response")
		})
		x.wantWhole(c, answer(201, "response"), err)
	}},
	{"a call with a canceled context runs completely or not at all", nil, func(x *execution) {
		ctx, cancel := context.WithCancel(x.Context())
		cancel()
		c := newClaim()
		_, err := x.Executor.Execute(ctx, c, func(ctx context.Context, _ int) idempotent.Completion {
			if x.Effect(ctx) != nil {
				return released
			}
			return answer(201, "response")
		})
		if err != nil {
			x.wantRunsAfresh(c)
		}
	}},
	{"a panic rolls back and is re-panicked", nil, func(x *execution) {
		c := newClaim()
		recovered := func() (v any) {
			defer func() { v = recover() }()
			_, err := x.Executor.Execute(x.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
				x.effect(ctx)
				panic("boom")
			})
			x.Errorf("Execute returned %v, want a panic", err)
			return nil
		}()
		if recovered != "boom" {
			x.Errorf("Execute panicked with %v, want the value of run's panic", recovered)
		}
		x.wantRunsAfresh(c)
	}},
	{"runtime.Goexit rolls back and ends the goroutine", nil, func(x *execution) {
		c := newClaim()
		returned := false
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = x.Executor.Execute(x.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
				x.effect(ctx)
				runtime.Goexit()
				return released
			})
			returned = true
		})
		wg.Wait()
		if returned {
			x.Error("Execute returned, want the end of the goroutine")
		}
		x.wantRunsAfresh(c)
	}},
	{"only one of many concurrent calls runs", nil, func(x *execution) {
		c := newClaim()
		var ran atomic.Int64
		ctx, cancel := context.WithTimeout(x.Context(), x.Patience)
		defer cancel()
		x.race(16, func(int) {
			for {
				d, err := x.Executor.Execute(x.Context(), rival(c), x.once(answer(201, "response")))
				switch {
				case x.isHeldUp(d, err) && ctx.Err() == nil:
					continue
				case err == nil && d.Verdict == idempotent.VerdictAcquired:
					ran.Add(1)
				case err != nil || d.Verdict != idempotent.VerdictDone:
					x.Errorf("Execute returned %s, %v", d.Verdict, err)
				}
				return
			}
		})
		if ran.Load() != 1 {
			x.Errorf("%d of 16 concurrent calls have run, want 1", ran.Load())
		}
		x.wantEffects(1)
	}},
	{"concurrent replays never get VerdictRunning", nil, func(x *execution) {
		c := newClaim()
		x.want(c, answer(201, "response"), idempotent.VerdictAcquired)
		x.race(16, func(int) {
			for range 20 {
				d, err := x.Executor.Execute(x.Context(), rival(c), x.never)
				if err != nil || d.Verdict != idempotent.VerdictDone {
					x.Errorf("Execute returned %s, %v", d.Verdict, err)
				}
			}
		})
		x.wantEffects(1)
	}},
	{"another owner gets VerdictRunning after a bounded wait", nil, func(x *execution) {
		c := newClaim()
		x.whileRunning(c, answer(201, "response"), func() {
			d, err := x.executeBounded("Execute while another owner runs", rival(c))
			x.wantHeldUp(d, err)
			x.wantEffects(0)
		})
		x.wantReplay(c, answer(201, "response"))
		x.wantEffects(1)
	}},
	{
		"other keys can run at the same time", func(f ExecutorFixture) bool { return !f.OneWriter },
		func(x *execution) {
			x.whileRunning(newClaim(), answer(201, "response"), func() {
				x.want(newClaim(), answer(201, "response"), idempotent.VerdictAcquired)
				x.wantEffects(1)
			})
			x.wantEffects(2)
		},
	},
	{"an uncommitted fingerprint causes no mismatch", nil, func(x *execution) {
		c := newClaim()
		x.whileRunning(c, released, func() {
			d, err := x.executeBounded("Execute while another owner runs", other(c))
			x.wantHeldUp(d, err)
		})
		x.want(other(c), answer(201, "response"), idempotent.VerdictAcquired)
		x.wantEffects(1)
	}},
	{
		"a record is absent after its retention", func(f ExecutorFixture) bool { return f.Advance != nil },
		func(x *execution) {
			c := newClaim()
			x.want(c, answer(201, "response"), idempotent.VerdictAcquired)
			x.Advance(keep - slack)
			x.wantReplay(c, answer(201, "response"))
			x.Advance(2 * slack)
			x.want(other(c), answer(201, "next"), idempotent.VerdictAcquired)
			x.wantEffects(2)
		},
	},
	{
		"a replay begins no transaction", func(f ExecutorFixture) bool { return f.Transactions != nil },
		func(x *execution) {
			c := newClaim()
			x.want(c, answer(201, "response"), idempotent.VerdictAcquired)
			before := x.Transactions()
			x.wantReplay(c, answer(201, "response"))
			x.want(c, released, idempotent.VerdictDone)
			x.want(other(c), released, idempotent.VerdictMismatch)
			if n := x.Transactions() - before; n != 0 {
				x.Errorf("three replays have begun %d transactions, want 0", n)
			}
		},
	},
	{
		"the wait for a connection is bounded", func(f ExecutorFixture) bool { return f.Exhaust != nil },
		func(x *execution) {
			c := newClaim()
			release := x.Exhaust()
			defer release()
			if d, err := x.executeBounded("Execute without a connection", c); err == nil {
				x.Errorf("Execute without a connection returned %s, want an error", d.Verdict)
			}
			release()
			x.wantRunsAfresh(c)
		},
	},
	{"a refusal after a failed statement is recorded without effects", failsStatement, func(x *execution) {
		for _, o := range []idempotent.Completion{answer(400, "refused"), answer(409, "refused"), unkept(422)} {
			c := newClaim()
			d, err := x.Executor.Execute(x.Context(), c, x.failing(o))
			if err != nil || d.Verdict != idempotent.VerdictAcquired {
				x.Fatalf("Execute returned %s, %v; want %s", d.Verdict, err, idempotent.VerdictAcquired)
			}
			x.wantReplay(c, o)
			x.wantEffects(0)
		}
	}},
	{"a success after a failed statement is an error", failsStatement, func(x *execution) {
		for i, o := range []idempotent.Completion{answer(201, "created"), answer(303, ""), unkept(200)} {
			c := newClaim()
			if d, err := x.Executor.Execute(x.Context(), c, x.failing(o)); err == nil {
				x.Errorf("Execute returned %s, want an error", d.Verdict)
			}
			x.wantEffects(i)
			x.want(rival(c), answer(201, "response"), idempotent.VerdictAcquired)
		}
	}},
	{"a release after a failed statement leaves no trace", failsStatement, func(x *execution) {
		c := newClaim()
		d, err := x.Executor.Execute(x.Context(), c, x.failing(released))
		if err != nil || d.Verdict != idempotent.VerdictAcquired {
			x.Errorf("Execute returned %s, %v", d.Verdict, err)
		}
		x.wantRunsAfresh(c)
	}},
	{
		"a run may recover from a failed statement with a savepoint",
		func(f ExecutorFixture) bool { return f.FailAndRecover != nil },
		func(x *execution) {
			for i, o := range []idempotent.Completion{answer(201, "response"), answer(409, "refused")} {
				c := newClaim()
				d, err := x.Executor.Execute(x.Context(), c, func(ctx context.Context, _ int) idempotent.Completion {
					x.effect(ctx)
					if err := x.FailAndRecover(ctx); err == nil {
						x.Error("FailAndRecover returned no error")
					}
					return o
				})
				if err != nil || d.Verdict != idempotent.VerdictAcquired {
					x.Fatalf("Execute returned %s, %v; want %s", d.Verdict, err, idempotent.VerdictAcquired)
				}
				x.wantEffects(i + 1)
				x.wantReplay(c, o)
			}
		},
	},
	{
		"after a serialization failure of a statement the last run is recorded",
		func(f ExecutorFixture) bool { return f.ConflictStatement != nil },
		func(x *execution) { x.wantLastRun(x.ConflictStatement) },
	},
	{
		"after a serialization failure of the commit the last run is recorded",
		func(f ExecutorFixture) bool { return f.ConflictCommit != nil },
		func(x *execution) { x.wantLastRun(x.ConflictCommit) },
	},
	{
		"a refused commit leaves no trace", func(f ExecutorFixture) bool { return f.RefuseCommit != nil },
		func(x *execution) { x.wantFate(x.RefuseCommit, false) },
	},
	{
		"a commit whose reply is lost has taken effect", func(f ExecutorFixture) bool { return f.LoseReply != nil },
		func(x *execution) { x.wantFate(x.LoseReply, true) },
	},
	{
		"a lost commit leaves no trace", func(f ExecutorFixture) bool { return f.LoseCommit != nil },
		func(x *execution) { x.wantFate(x.LoseCommit, false) },
	},
	{
		"a late commit is awaited", func(f ExecutorFixture) bool { return f.DelayCommit != nil },
		func(x *execution) { x.wantFate(x.DelayCommit, true) },
	},
}

func failsStatement(f ExecutorFixture) bool { return f.FailStatement != nil }

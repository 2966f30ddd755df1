package idemtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// An ExecutorFault is a mistake in an executor.
type ExecutorFault struct {
	Name string
	// Case is the case of idempotenttest.RunExecutor that finds it.
	Case string
	// Wrap returns the store with the mistake.
	Wrap func(s *TxStore) idempotent.Executor
}

type (
	runFunc     = func(ctx context.Context, attempt int) idempotent.Completion
	executeFunc func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error)
)

// Execute implements [idempotent.Executor].
func (f executeFunc) Execute(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
	return f(ctx, c, run)
}

// wrongRun returns an executor that replaces the handler. It calls wrap once for each Execute.
func wrongRun(wrap func(s *TxStore, run runFunc) runFunc) func(*TxStore) idempotent.Executor {
	return func(s *TxStore) idempotent.Executor {
		return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
			return s.Execute(ctx, c, wrap(s, run))
		})
	}
}

// wrongEnd returns an executor that changes the transaction or the completion after the handler.
func wrongEnd(f func(t *Transaction, c *idempotent.Completion)) func(*TxStore) idempotent.Executor {
	return wrongRun(func(_ *TxStore, run runFunc) runFunc {
		return func(ctx context.Context, attempt int) idempotent.Completion {
			c := run(ctx, attempt)
			f(Tx(ctx).t, &c)
			return c
		}
	})
}

// wrongDecision returns an executor that changes the result of Execute.
func wrongDecision(f func(ctx context.Context, d *idempotent.Decision) error) func(*TxStore) idempotent.Executor {
	return func(s *TxStore) idempotent.Executor {
		return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
			d, err := s.Execute(ctx, c, run)
			return d, errors.Join(err, f(ctx, &d))
		})
	}
}

// wrongFate returns an executor that is wrong about the effect of a commit.
func wrongFate(f func(s *TxStore, c idempotent.Claim, err error) error) func(*TxStore) idempotent.Executor {
	return func(s *TxStore) idempotent.Executor {
		s.fate = func(_ context.Context, c idempotent.Claim, err error) error { return f(s, c, err) }
		return s
	}
}

func patient(s *TxStore) idempotent.Executor {
	s.wait = time.Hour
	return s
}

// Impatient returns the store as an executor that does not wait for another writer. This is
// allowed with one writer.
func Impatient(s *TxStore) idempotent.Executor {
	var writer sync.Mutex
	return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
		if s.db.Get(rowOf(c.ID)) == "" {
			if !writer.TryLock() {
				return idempotent.Decision{}, ErrBusy
			}
			defer writer.Unlock()
		}
		return s.Execute(ctx, c, run)
	})
}

// twice runs a duplicate under another key if it began before the first call's record was seen.
func twice(s *TxStore) idempotent.Executor {
	var unlocked sync.Map // the tokens that another one's record is hidden from
	return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
		if s.db.Get(rowOf(c.ID)) == "" {
			unlocked.Store(c.Token, true)
		}
		d, err := s.Execute(ctx, c, run)
		if _, ok := unlocked.Load(c.Token); ok && d.Verdict == idempotent.VerdictDone {
			copy(c.ID[:], c.Token[:])
			return s.Execute(ctx, c, run)
		}
		return d, err
	})
}

var errWrong = errors.New("idemtest: a mistake")

// ExecutorFaults returns mistakes that executors have had or could have.
func ExecutorFaults() []ExecutorFault {
	return []ExecutorFault{
		{"a released run keeps its effects", "a released run leaves no trace", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				released := false
				d, err := s.Execute(ctx, c, func(ctx context.Context, attempt int) idempotent.Completion {
					o := run(ctx, attempt)
					if released = o.State == idempotent.StateAbsent; released {
						o = idempotent.Completion{State: idempotent.StateNotKept, Retention: time.Hour}
					}
					return o
				})
				if released {
					err = errors.Join(err, s.step(ctx, c.ID, func(record, time.Duration) (record, error) { return absent, nil }))
				}
				return d, err
			})
		}},
		{"StateNotKept is not recorded", "the effect and the record are committed together",
			wrongEnd(func(_ *Transaction, c *idempotent.Completion) {
				if c.State == idempotent.StateNotKept {
					c.State = idempotent.StateAbsent
				}
			})},
		{"the fingerprint is not compared", "the effect and the record are committed together", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				c.Fingerprint = idempotent.Fingerprint{}
				return s.Execute(ctx, c, run)
			})
		}},
		{"the handler runs twice", "the effect and the record are committed together", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) idempotent.Completion {
				run(ctx, attempt)
				return run(ctx, attempt)
			}
		})},
		{"run gets no attempt", "the effect and the record are committed together",
			wrongDecision(func(_ context.Context, d *idempotent.Decision) error { d.Attempt = 0; return nil })},
		{"a response is cut at 64 KiB", "a response comes back byte for byte",
			wrongDecision(func(_ context.Context, d *idempotent.Decision) error {
				d.Response = d.Response[:min(len(d.Response), 1<<16)]
				return nil
			})},
		{"a repeated Execute gets VerdictRunning", "Execute can be repeated", func(s *TxStore) idempotent.Executor {
			seen := map[idempotent.Token]bool{}
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if seen[c.Token] {
					return running, nil
				}
				seen[c.Token] = true
				return s.Execute(ctx, c, run)
			})
		}},
		{"run gets another context", "the context of run derives from the caller's", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) idempotent.Completion {
				return run(context.WithValue(context.Background(), txKey{}, Tx(ctx)), attempt)
			}
		})},
		{"a canceled call returns an error after its commit", "a canceled call takes effect completely or not at all",
			wrongDecision(func(ctx context.Context, _ *idempotent.Decision) error { return ctx.Err() })},
		{"a panic becomes an error", "a panic rolls back and is re-panicked", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (d idempotent.Decision, err error) {
				defer func() {
					if v := recover(); v != nil {
						err = errWrong
					}
				}()
				return s.Execute(ctx, c, run)
			})
		}},
		{"a panic has another value", "a panic rolls back and is re-panicked", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (d idempotent.Decision, err error) {
				defer func() {
					if v := recover(); v != nil {
						panic(fmt.Sprintf("the handler has panicked: %v", v))
					}
				}()
				return s.Execute(ctx, c, run)
			})
		}},
		{"after a panic the effects are committed", "a panic rolls back and is re-panicked", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) idempotent.Completion {
				t := Tx(ctx).t
				defer func() { _ = t.Commit() }()
				return run(ctx, attempt)
			}
		})},
		{"run is called on another goroutine", "runtime.Goexit rolls back and ends the goroutine", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) (c idempotent.Completion) {
				var wg sync.WaitGroup
				c.State = idempotent.StateAbsent
				wg.Go(func() { c = run(ctx, attempt) })
				wg.Wait()
				return c
			}
		})},
		{"two calls run at the same time", "only one of many concurrent calls runs", twice},
		{"a replay locks the record", "concurrent replays never get VerdictRunning", func(s *TxStore) idempotent.Executor {
			var locks sync.Map
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if _, locked := locks.LoadOrStore(c.ID, true); locked {
					return running, nil
				}
				defer locks.Delete(c.ID)
				for range 100 {
					runtime.Gosched() // let others in
				}
				return s.Execute(ctx, c, run)
			})
		}},
		{"it waits for another owner forever", "another owner gets VerdictRunning after a bounded wait", patient},
		{"another owner gets an error", "another owner gets VerdictRunning after a bounded wait",
			wrongDecision(func(_ context.Context, d *idempotent.Decision) error {
				if d.Verdict == idempotent.VerdictRunning {
					return ErrBusy
				}
				return nil
			})},
		{"it runs one at a time", "other keys can run at the same time", func(s *TxStore) idempotent.Executor {
			var one sync.Mutex
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if !one.TryLock() {
					return running, nil
				}
				defer one.Unlock()
				return s.Execute(ctx, c, run)
			})
		}},
		{"a fingerprint is visible before its commit", "an uncommitted fingerprint causes no mismatch", func(s *TxStore) idempotent.Executor {
			var claims sync.Map
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if f, _ := claims.LoadOrStore(c.ID, c.Fingerprint); f != c.Fingerprint {
					return idempotent.Decision{Verdict: idempotent.VerdictMismatch}, nil
				}
				return s.Execute(ctx, c, run)
			})
		}},
		{"a record is kept forever", "a record is absent after its retention", func(s *TxStore) idempotent.Executor {
			s.now = func() time.Duration { return 0 }
			return s
		}},
		{"a replay begins a transaction", "a replay begins no transaction", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if t, err := s.db.Begin(ctx); err == nil {
					t.Rollback()
				}
				return s.Execute(ctx, c, run)
			})
		}},
		{"it waits for a connection forever", "the wait for a connection is bounded", patient},
		{"a refusal after a failed statement is not recorded", "a refusal after a failed statement is recorded without effects",
			wrongEnd(func(t *Transaction, c *idempotent.Completion) {
				if t.failure != nil && c.State != idempotent.StateAbsent {
					c.Response = idempotent.Response{Status: 200}.Completion(time.Hour).Response
				}
			})},
		{"a refusal after a failed statement keeps its effects", "a refusal after a failed statement is recorded without effects",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) { t.failure = nil })},
		{"a success after a failed statement is recorded", "a success after a failed statement is an error",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) {
				if t.failure != nil {
					_ = t.RollbackTo(beforeRun)
				}
			})},
		{"a StateNotKept success after a failed statement is recorded", "a success after a failed statement is an error",
			wrongEnd(func(t *Transaction, c *idempotent.Completion) {
				if t.failure != nil && c.State == idempotent.StateNotKept {
					_ = t.RollbackTo(beforeRun)
				}
			})},
		{"a release after a failed statement is an error", "a release after a failed statement leaves no trace",
			wrongEnd(func(t *Transaction, c *idempotent.Completion) {
				if t.failure != nil && c.State == idempotent.StateAbsent {
					c.State, c.Response = idempotent.StateDone, idempotent.Response{Status: 200}.Completion(time.Hour).Response
				}
			})},
		{"a failed statement fails the call after a savepoint, too", "a run may recover from a failed statement with a savepoint",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) {
				if t.failed {
					t.failure = ErrStatement
				}
			})},
		{"a conflict of a statement is ignored", "after a serialization failure of a statement the last run is recorded",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) { t.failure = nil })},
		{"the first run is recorded", "after a serialization failure of the commit the last run is recorded", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			var first *idempotent.Completion
			return func(ctx context.Context, attempt int) idempotent.Completion {
				c := run(ctx, attempt)
				if first == nil {
					first = &c
				}
				return *first
			}
		})},
		{"a second run keeps the writes of the first", "after a serialization failure of the commit the last run is recorded", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			var kept []write
			return func(ctx context.Context, attempt int) idempotent.Completion {
				t := Tx(ctx).t
				t.writes = append(t.writes, kept...)
				c := run(ctx, attempt)
				kept = t.writes
				return c
			}
		})},
		{"a conflict of the commit is ignored", "after a serialization failure of the commit the last run is recorded",
			wrongFate(func(_ *TxStore, _ idempotent.Claim, err error) error {
				if errors.Is(err, ErrSerialization) {
					return nil
				}
				return err
			})},
		{"a refused commit is a success", "a refused commit leaves no trace",
			wrongFate(func(*TxStore, idempotent.Claim, error) error { return nil })},
		{"the effects are committed without the record", "a refused commit leaves no trace", wrongRun(func(s *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) idempotent.Completion {
				t, err := s.db.Begin(ctx)
				if err != nil {
					panic(err)
				}
				defer func() { _ = t.Commit() }()
				return run(context.WithValue(ctx, txKey{}, &HandlerTx{t: t}), attempt)
			}
		})},
		{"a lost reply is a failure", "a commit whose reply is lost has taken effect",
			wrongFate(func(_ *TxStore, _ idempotent.Claim, err error) error { return err })},
		{"a lost reply is a success", "a lost commit leaves no trace",
			wrongFate(func(*TxStore, idempotent.Claim, error) error { return nil })},
		{"it does not wait for the old transaction", "a late commit is awaited",
			wrongFate(func(s *TxStore, c idempotent.Claim, err error) error {
				if s.parse(s.db.Get(rowOf(c.ID))).Token == c.Token {
					return nil
				}
				return err
			})},
	}
}

// OneWriterFaults returns mistakes that are found although an executor with one writer may return
// errors while others write.
func OneWriterFaults() []ExecutorFault {
	return []ExecutorFault{
		{"it waits for the writer forever", "another owner gets VerdictRunning after a bounded wait", patient},
		{"two calls run at the same time", "only one of many concurrent calls runs", twice},
		{"it is busy forever", "only one of many concurrent calls runs", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, _ runFunc) (idempotent.Decision, error) {
				time.Sleep(s.wait)
				return idempotent.Decision{}, ErrBusy
			})
		}},
		{"a call that took effect is busy", "only one of many concurrent calls runs",
			wrongDecision(func(_ context.Context, d *idempotent.Decision) error {
				if d.Verdict == idempotent.VerdictAcquired {
					return ErrBusy
				}
				return nil
			})},
	}
}

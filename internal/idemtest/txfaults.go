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

// wrongRun runs something else in place of the handler. It is called once for each Execute.
func wrongRun(wrap func(s *TxStore, run runFunc) runFunc) func(*TxStore) idempotent.Executor {
	return func(s *TxStore) idempotent.Executor {
		return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
			return s.Execute(ctx, c, wrap(s, run))
		})
	}
}

// wrongEnd changes the transaction, or the completion, once the handler has returned.
func wrongEnd(f func(t *Transaction, c *idempotent.Completion)) func(*TxStore) idempotent.Executor {
	return wrongRun(func(_ *TxStore, run runFunc) runFunc {
		return func(ctx context.Context, attempt int) idempotent.Completion {
			c := run(ctx, attempt)
			f(Tx(ctx).t, &c)
			return c
		}
	})
}

// wrongDecision changes what Execute returns.
func wrongDecision(f func(ctx context.Context, d *idempotent.Decision) error) func(*TxStore) idempotent.Executor {
	return func(s *TxStore) idempotent.Executor {
		return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
			d, err := s.Execute(ctx, c, run)
			return d, errors.Join(err, f(ctx, &d))
		})
	}
}

// wrongFate finds something else out about a commit.
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

var errWrong = errors.New("idemtest: a mistake")

// ExecutorFaults returns the mistakes.
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
		{"a response that is not kept is not recorded", "effect and record are committed together",
			wrongEnd(func(_ *Transaction, c *idempotent.Completion) {
				if c.State == idempotent.StateNotKept {
					c.State = idempotent.StateAbsent
				}
			})},
		{"the fingerprint is not compared", "effect and record are committed together", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				c.Fingerprint = idempotent.Fingerprint{}
				return s.Execute(ctx, c, run)
			})
		}},
		{"the handler runs twice", "effect and record are committed together", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) idempotent.Completion {
				run(ctx, attempt)
				return run(ctx, attempt)
			}
		})},
		{"an attempt is not told", "effect and record are committed together",
			wrongDecision(func(_ context.Context, d *idempotent.Decision) error { d.Attempt = 0; return nil })},
		{"a response is cut at 64 KiB", "a response comes back byte for byte",
			wrongDecision(func(_ context.Context, d *idempotent.Decision) error {
				d.Response = d.Response[:min(len(d.Response), 1<<16)]
				return nil
			})},
		{"a token is told that another one runs", "Execute can be repeated", func(s *TxStore) idempotent.Executor {
			seen := map[idempotent.Token]bool{}
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if seen[c.Token] {
					return running, nil
				}
				seen[c.Token] = true
				return s.Execute(ctx, c, run)
			})
		}},
		{"run's context is another one", "run's context derives from the caller's", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) idempotent.Completion {
				return run(context.WithValue(context.Background(), txKey{}, Tx(ctx)), attempt)
			}
		})},
		{"a canceled call is an error, whatever was committed", "a canceled context leaves no half",
			wrongDecision(func(ctx context.Context, _ *idempotent.Decision) error { return ctx.Err() })},
		{"a panic is an error", "a panic rolls back and continues", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (d idempotent.Decision, err error) {
				defer func() {
					if v := recover(); v != nil {
						err = errWrong
					}
				}()
				return s.Execute(ctx, c, run)
			})
		}},
		{"a panic is another one", "a panic rolls back and continues", func(s *TxStore) idempotent.Executor {
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (d idempotent.Decision, err error) {
				defer func() {
					if v := recover(); v != nil {
						panic(fmt.Sprintf("the handler has panicked: %v", v))
					}
				}()
				return s.Execute(ctx, c, run)
			})
		}},
		{"after a panic the effects are committed", "a panic rolls back and continues", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) idempotent.Completion {
				t := Tx(ctx).t
				defer func() { _ = t.Commit() }()
				return run(ctx, attempt)
			}
		})},
		{"the handler has a goroutine", "runtime.Goexit rolls back and continues", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			return func(ctx context.Context, attempt int) (c idempotent.Completion) {
				var wg sync.WaitGroup
				c.State = idempotent.StateAbsent
				wg.Go(func() { c = run(ctx, attempt) })
				wg.Wait()
				return c
			}
		})},
		{"two run together", "one of many runs", func(s *TxStore) idempotent.Executor {
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
		}},
		{"a replay locks the record", "parallel replays are never told that it runs", func(s *TxStore) idempotent.Executor {
			var locks sync.Map
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if _, locked := locks.LoadOrStore(c.ID, true); locked {
					return running, nil
				}
				defer locks.Delete(c.ID)
				for range 100 {
					runtime.Gosched() // others come
				}
				return s.Execute(ctx, c, run)
			})
		}},
		{"it waits for another owner forever", "another owner is told that it runs, after a bounded wait", patient},
		{"it runs one at a time", "other keys are free while one runs", func(s *TxStore) idempotent.Executor {
			var one sync.Mutex
			return executeFunc(func(ctx context.Context, c idempotent.Claim, run runFunc) (idempotent.Decision, error) {
				if !one.TryLock() {
					return running, nil
				}
				defer one.Unlock()
				return s.Execute(ctx, c, run)
			})
		}},
		{"a claim shows its fingerprint before it is committed", "what is not committed shows its fingerprint to nobody", func(s *TxStore) idempotent.Executor {
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
		{"a refusal after a failed statement is not recorded", "a refusal after a failed statement is recorded, without effects",
			wrongEnd(func(t *Transaction, c *idempotent.Completion) {
				if t.failure != nil && c.State != idempotent.StateAbsent {
					c.Response = idempotent.Response{Status: 200}.Completion(time.Hour).Response
				}
			})},
		{"a refusal after a failed statement keeps its effects", "a refusal after a failed statement is recorded, without effects",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) { t.failure = nil })},
		{"a success after a failed statement is recorded", "a success after a failed statement is an error",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) {
				if t.failure != nil {
					_ = t.RollbackTo(beforeRun)
				}
			})},
		{"a success that is not kept after a failed statement is recorded", "a success after a failed statement is an error",
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
		{"a failed statement is never forgiven", "a failed statement from which the handler recovers does no harm",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) {
				if t.failed {
					t.failure = ErrStatement
				}
			})},
		{"a conflict of a statement is ignored", "after a serialization failure of a statement the last run counts",
			wrongEnd(func(t *Transaction, _ *idempotent.Completion) { t.failure = nil })},
		{"the first run counts", "after a serialization failure of the commit the last run counts", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			var first *idempotent.Completion
			return func(ctx context.Context, attempt int) idempotent.Completion {
				c := run(ctx, attempt)
				if first == nil {
					first = &c
				}
				return *first
			}
		})},
		{"another run keeps what the first one wrote", "after a serialization failure of the commit the last run counts", wrongRun(func(_ *TxStore, run runFunc) runFunc {
			var kept []write
			return func(ctx context.Context, attempt int) idempotent.Completion {
				t := Tx(ctx).t
				t.writes = append(t.writes, kept...)
				c := run(ctx, attempt)
				kept = t.writes
				return c
			}
		})},
		{"a conflict of the commit is ignored", "after a serialization failure of the commit the last run counts",
			wrongFate(func(_ *TxStore, _ idempotent.Claim, err error) error {
				if errors.Is(err, ErrSerialization) {
					return nil
				}
				return err
			})},
		{"a commit that is refused is believed", "a commit that is refused leaves no trace",
			wrongFate(func(*TxStore, idempotent.Claim, error) error { return nil })},
		{"the effects are committed apart from the record", "a commit that is refused leaves no trace", wrongRun(func(s *TxStore, run runFunc) runFunc {
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
		{"a lost reply is a success", "a commit that is lost leaves no trace",
			wrongFate(func(*TxStore, idempotent.Claim, error) error { return nil })},
		{"it looks before the old transaction has ended", "a commit that is late is waited for",
			wrongFate(func(s *TxStore, c idempotent.Claim, err error) error {
				if s.parse(s.db.Get(rowOf(c.ID))).Token == c.Token {
					return nil
				}
				return err
			})},
	}
}

package idempotent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/idemtest"
)

// newExecutor returns a database and an Executor that runs handlers in its transactions.
func newExecutor() (*idemtest.Database, *idemtest.TxStore) {
	db := idemtest.NewDatabase(8)
	return db, idemtest.NewTxStore(db, sinceStart(), time.Second)
}

// transfer returns a handler that writes in the transaction of its context and then answers.
func transfer(answer func(n int64, w http.ResponseWriter, r *http.Request)) *counter {
	return &counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
		tx := idemtest.Tx(r.Context())
		balance, err := tx.Get("balance")
		if err == nil {
			err = tx.Set(r.Context(), "balance", balance+"+1")
		}
		if err != nil {
			apierror.Write(w, r, err)
			return
		}
		answer(n, w, r)
	}}
}

func created(_ int64, w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, "transferred")
}

func TestExecutorCommitsEffectAndRecordTogether(t *testing.T) {
	t.Parallel()
	db, store := newExecutor()
	mw := idempotent.New(store, idempotent.Global, nil)(transfer(created))

	first := call(mw, "k", "1")
	begun := db.Transactions()
	again, other := call(mw, "k", "1"), call(mw, "k", "2")

	require.Equal(t, http.StatusCreated, first.Status)
	require.False(t, first.replayed())
	require.True(t, again.replayed())
	require.Equal(t, "transferred", again.Body)
	require.Equal(t, http.StatusConflict, other.Status)
	require.Equal(t, "+1", db.Get("balance"))
	require.Equal(t, begun, db.Transactions(), "a replay begins no transaction")
}

func TestExecutorRollsBackWhatIsNotKept(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(w http.ResponseWriter, r *http.Request){
		"5xx":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"panic":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"goexit": func(http.ResponseWriter, *http.Request) { runtime.Goexit() },
		"forget": func(_ http.ResponseWriter, r *http.Request) { idempotent.Forget(r.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := newExecutor()
			h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					fail(w, r)
					return
				}
				created(n, w, r)
			})
			mw := idempotent.New(store, idempotent.Global, nil)(h)

			call(mw, "k", "1")
			require.Empty(t, db.Get("balance"))
			require.Equal(t, http.StatusCreated, call(mw, "k", "1").Status)
			require.Equal(t, "+1", db.Get("balance"))
		})
	}
}

func TestExecutorCommitFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   idemtest.CommitFault
		first   int
		balance string // after the first
	}{
		"fails":                     {idemtest.CommitRefused, http.StatusServiceUnavailable, ""},
		"reply lost, committed":     {idemtest.CommitReplyLost, http.StatusCreated, "+1"},
		"commits late":              {idemtest.CommitLate, http.StatusCreated, "+1"},
		"serialization failure":     {idemtest.CommitConflict, http.StatusCreated, "+1"},
		"reply lost, not committed": {idemtest.CommitNever, http.StatusServiceUnavailable, ""},
	} {
		runBubble(t, name, func(t *testing.T) {
			db, store := newExecutor()
			h := transfer(created)
			mw := idempotent.New(store, idempotent.Global, nil)(h)
			db.FailNextCommit(tt.fault)

			first := call(mw, "k", "1")

			require.Equal(t, tt.first, first.Status)
			require.Equal(t, tt.balance, db.Get("balance"))
			require.Equal(t, http.StatusCreated, call(mw, "k", "1").Status)
			require.Equal(t, "+1", db.Get("balance"))
		})
	}
}

// A statement that fails aborts the transaction. A refusal is recorded all the same. A success is
// not: its effects are rolled back.
func TestExecutorAfterAFailedStatement(t *testing.T) {
	t.Parallel()
	db, store := newExecutor()
	h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
		require.Error(t, idemtest.Tx(r.Context()).Fail()) // for example a unique constraint
		if strings.HasPrefix(r.Header.Get("Idempotency-Key"), "refused") {
			apierror.Write(w, r, apierror.ParameterInvalid("email", "is taken"))
			return
		}
		created(n, w, r)
	})
	mw := idempotent.New(store, idempotent.Global, nil)(h)

	for i := range 2 {
		refused := call(mw, "refused", "1")
		require.Equal(t, http.StatusBadRequest, refused.Status)
		require.Equal(t, i == 1, refused.replayed())
	}
	require.Equal(t, http.StatusServiceUnavailable, call(mw, "claims", "1").Status)
	require.EqualValues(t, 2, h.runs.Load())
	require.Empty(t, db.Get("balance"))
}

func TestExecutorRunsAgainAfterASerializationFailure(t *testing.T) {
	t.Parallel()
	answer := func(n int64, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Run", string(rune('0'+n)))
		if w.Header().Get("X-Earlier") != "" {
			panic("the header of the first run is still set")
		}
		w.Header().Set("X-Earlier", "run")
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Read", string(body))
		if err == nil {
			created(n, w, r)
		}
	}
	for name, f := range map[string]idempotent.FingerprintFunc{
		"loaded": idempotent.FingerprintBody,
		"unread": func(r *http.Request, _ func() ([]byte, error)) (idempotent.Fingerprint, error) {
			return idempotent.FingerprintOf(r, nil), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := newExecutor()
			h := &counter{}
			h.serve = func(n int64, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					db.ConflictNext()
				}
				answer(n, w, r) // reads the body before the conflict
				_ = idemtest.Tx(r.Context()).Set(r.Context(), "balance", "+1")
			}
			mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Fingerprint: f})(h)

			first := call(mw, "k", "the body")

			if name == "unread" { // the body cannot be read from the client again
				require.Equal(t, http.StatusServiceUnavailable, first.Status)
				require.EqualValues(t, 1, h.runs.Load())
				require.Empty(t, db.Get("balance"))
				return
			}
			require.Equal(t, http.StatusCreated, first.Status)
			require.Equal(t, []string{"2"}, first.Header["X-Run"])
			require.Equal(t, "transferred", first.Body)
			require.Equal(t, []string{"the body"}, first.Header["X-Read"])
			require.EqualValues(t, 2, h.runs.Load())
			require.True(t, call(mw, "k", "the body").replayed())
			require.Equal(t, "+1", db.Get("balance"))
		})
	}
}

// twice is an Executor that runs each task twice, as after a serialization failure.
type twice struct {
	idempotent.Store
	outer context.Context
}

func (e *twice) Execute(ctx context.Context, _ idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	e.outer = ctx
	run(ctx, 1)
	run(ctx, 1)
	return idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: 1}, nil
}

func TestExecutorContextEndsWithTheRun(t *testing.T) {
	t.Parallel()
	var before context.Context
	runs := 0
	store := &twice{Store: memory()}
	_, err := idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), func(ctx context.Context) (int, error) {
		if runs++; runs == 2 {
			require.ErrorIs(t, before.Err(), context.Canceled)
		}
		require.NoError(t, ctx.Err())
		before = ctx
		return runs, nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, runs)
	require.ErrorIs(t, store.outer.Err(), context.Canceled)
}

func TestExecutorDuplicates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, store := newExecutor()
		h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			created(n, w, r)
		})
		// Two processes share one database.
		a := idempotent.New(store, idempotent.Global, nil)(h)
		b := idempotent.New(store, idempotent.Global, nil)(h)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				r := call([]http.Handler{a, b}[i%2], "k", "1")
				require.Equal(t, http.StatusCreated, r.Status)
				require.Equal(t, "transferred", r.Body)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
		require.Equal(t, "+1", db.Get("balance"))
	})
}

// A call that waited for another one of its process does not run, also if that one has only waited
// for another process. Its body is no longer there.
func TestExecutorDoesNotRunCallThatFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, store := newExecutor()
		var bodies []string
		h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			bodies = append(bodies, string(body))
			if n == 1 {
				time.Sleep(5 * time.Second)
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			created(n, w, r)
		})
		var events eventLog
		elsewhere := idempotent.New(store, idempotent.Global, nil)(h)
		here := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(h)
		go call(elsewhere, "k", "the body")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go do(here, keyedRequest("k", strings.NewReader("the body")).WithContext(ctx)) // asks the store until its client leaves
		synctest.Wait()
		time.AfterFunc(time.Second, cancel)
		r := call(here, "k", "the body") // waits for the one before, and then asks the store
		require.Equal(t, http.StatusServiceUnavailable, r.Status)
		require.NotEmpty(t, r.Header.Get("Retry-After"))
		events.require(t, idempotent.OutcomeInProgress, idempotent.OutcomeLeaderFailed)

		require.Equal(t, http.StatusCreated, call(here, "k", "the body").Status)
		require.Equal(t, []string{"the body", "the body"}, bodies)
		require.Equal(t, "+1", db.Get("balance"))
	})
}

// A response is held until the commit, so its size is bounded.
func TestExecutorBoundsTheResponse(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"written": func(w http.ResponseWriter, _ *http.Request) error {
			chunk := strings.Repeat("x", 10)
			for range 1000 {
				if _, err := io.WriteString(w, chunk); err != nil {
					return err
				}
			}
			return errors.New("no write has failed")
		},
		"streamed": func(w http.ResponseWriter, r *http.Request) error {
			idempotent.Stream(r.Context())
			_, err := io.WriteString(w, strings.Repeat("x", 101))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := newExecutor()
			var err error
			h := transfer(func(_ int64, w http.ResponseWriter, r *http.Request) { err = write(w, r) })
			mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxResponse: 100})(h)

			first := call(mw, "k", "1")

			require.ErrorContains(t, err, "MaxResponse")
			require.Equal(t, http.StatusInternalServerError, first.Status)
			require.Contains(t, first.Body, "api_error")
			require.Empty(t, db.Get("balance"), "rolled back")
		})
	}
}

func TestExecutorErrorReplacesALongResponse(t *testing.T) {
	t.Parallel()
	_, store := newExecutor()
	mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxResponse: 1000})(apierror.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, strings.Repeat("x", 2000))
			require.Error(t, err)
			return apierror.CodePermissionDenied
		}))
	require.Equal(t, http.StatusForbidden, call(mw, "k", "").Status)
}

func TestBeginEffectIsUnsupportedInAnExecutor(t *testing.T) {
	t.Parallel()
	h := transfer(func(_ int64, _ http.ResponseWriter, r *http.Request) {
		begin := func(context.Context, idempotent.Owner) error { t.Error("called"); return nil }
		require.ErrorIs(t, idempotent.BeginEffect(r.Context()), errors.ErrUnsupported)
		require.ErrorIs(t, idempotent.BeginEffectWith(r.Context(), begin), errors.ErrUnsupported)
		finish := func(context.Context, idempotent.Owner, idempotent.Completion) error { t.Error("called"); return nil }
		require.ErrorIs(t, idempotent.FinishWith(r.Context(), idempotent.Response{Status: 200}, finish), errors.ErrUnsupported)
	})
	_, store := newExecutor()
	call(idempotent.New(store, idempotent.Global, nil)(h), "k", "1")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestExecutorPanicReachesEventsAndWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events eventLog
		_, store := newExecutor()
		h := transfer(func(int64, http.ResponseWriter, *http.Request) {
			time.Sleep(time.Second)
			panic("a bug")
		})
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(h)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { call(mw, "k", "") })
		}
		wg.Wait()
		require.ElementsMatch(t, []idempotent.Outcome{
			idempotent.OutcomeReleased, idempotent.OutcomeLeaderFailed, idempotent.OutcomeLeaderFailed,
		}, events.outcomes())
		require.EqualValues(t, 1, h.runs.Load())
	})
}

// idleExecutor is an Executor that runs the task only the first time, when its claim fails.
type idleExecutor struct {
	idempotent.Store
	n int
}

func (b *idleExecutor) Execute(ctx context.Context, _ idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	if b.n++; b.n == 1 {
		run(ctx, 1)
		return idempotent.Decision{Verdict: idempotent.VerdictRunning}, nil
	}
	return idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: 1}, nil
}

func TestExecutorThatDoesNotRunTheSecondTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		r := call(idempotent.New(&idleExecutor{Store: memory()}, idempotent.Global, nil)(&h), "k", "x")
		require.Equal(t, 503, r.Status, r.Body)
	})
}

// blocked is an Executor that waits for the end of its context, before or after the run.
type blocked struct {
	idempotent.Store
	before bool
}

func (b blocked) Execute(ctx context.Context, _ idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	if !b.before {
		run(ctx, 1)
	}
	<-ctx.Done()
	return idempotent.Decision{}, context.Cause(ctx)
}

func TestExecutorThatBlocksIsBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		store blocked
		after time.Duration
	}{
		"before the run": {blocked{before: true}, 10 * time.Second},
		"at the commit":  {blocked{}, 5 * time.Minute},
	} {
		runBubble(t, name, func(t *testing.T) {
			tt.store.Store = &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error {
				t.Error("Finish was called")
				return nil
			}}
			mw := idempotent.New(tt.store, idempotent.Global, nil)(&counter{})
			start := time.Now()
			require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
			require.Equal(t, tt.after, time.Since(start))
		})
	}
}

func TestDoInAnExecutor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do      func(ctx context.Context) (string, error)
		outcome idempotent.Outcome
		again   idempotent.Outcome
		row     string // after the call
	}{
		"a value":      {func(context.Context) (string, error) { return "v", nil }, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed, "written"},
		"a kept error": {func(context.Context) (string, error) { return "", cardDeclined }, idempotent.OutcomeExecuted, idempotent.OutcomeReplayed, "written"},
		"another":      {func(context.Context) (string, error) { return "", errDown }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"panic":        {func(context.Context) (string, error) { panic("boom") }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"Goexit":       {func(context.Context) (string, error) { runtime.Goexit(); return "", nil }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"BeginEffect":  {func(ctx context.Context) (string, error) { return "", idempotent.BeginEffect(ctx) }, idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"Forget": {func(ctx context.Context) (string, error) { idempotent.Forget(ctx); return "v", nil },
			idempotent.OutcomeReleased, idempotent.OutcomeReleased, ""},
		"too large": {func(context.Context) (string, error) { return string(make([]byte, 1000)), nil },
			idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable, "written"},
	} {
		runBubble(t, name, func(t *testing.T) {
			db := idemtest.NewDatabase(3)
			var events eventLog
			g := idempotent.NewGuard(idemtest.NewTxStore(db, sinceStart(), time.Second), &idempotent.Options{MaxResponse: 900, Observe: events.observe})
			for range 2 {
				isolated(func() {
					_, _ = idempotent.Do(t.Context(), g, callOf("k"), func(ctx context.Context) (string, error) {
						require.Equal(t, 1, idempotent.Attempt(ctx))
						require.NoError(t, idemtest.Tx(ctx).Set(ctx, "row", "written"))
						return test.do(ctx)
					})
				})
			}
			events.require(t, test.outcome, test.again)
			require.Equal(t, test.row, db.Get("row"))
		})
	}
	runBubble(t, "serialization failure", func(t *testing.T) {
		db := idemtest.NewDatabase(3)
		var events eventLog
		g := idempotent.NewGuard(idemtest.NewTxStore(db, sinceStart(), time.Second), &idempotent.Options{Observe: events.observe})
		db.ConflictNext()
		w := &work{do: func(ctx context.Context, n int) (string, error) {
			if err := idemtest.Tx(ctx).Set(ctx, "row", fmt.Sprint(n)); err != nil {
				return "", err
			}
			return fmt.Sprint("run ", n), nil
		}}
		v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.NoError(t, err)
		require.Equal(t, "run 2", v)
		require.Equal(t, "2", db.Get("row"))
		events.require(t, idempotent.OutcomeExecuted)
	})
}

package idempotent_test

import (
	"context"
	"errors"
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

// newExecutor returns a store in which the handler's effects and its record are one transaction.
func newExecutor() (*idemtest.Database, *idemtest.TxStore) {
	db := idemtest.NewDatabase(8)
	start := time.Now()
	return db, idemtest.NewTxStore(db, func() time.Duration { return time.Since(start) }, time.Second)
}

// transfer writes within the store's transaction, and then answers.
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

func TestExecutorAndCommits(t *testing.T) {
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
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
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
		})
	}
}

// A statement that fails aborts the transaction. A refusal is recorded all the same, or it would
// be 503 forever; a success would be a lie.
func TestExecutorAfterAFailedStatement(t *testing.T) {
	t.Parallel()
	db, store := newExecutor()
	h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
		require.Error(t, idemtest.Tx(r.Context()).Fail()) // a unique constraint, say
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
			panic("the header of the earlier run is still there")
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
				answer(n, w, r) // reads the body before the conflict is met
				_ = idemtest.Tx(r.Context()).Set(r.Context(), "balance", "+1")
			}
			mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Fingerprint: f})(h)

			first := call(mw, "k", "the body")

			if name == "unread" { // it has been read from the client, and cannot be read again
				require.Equal(t, http.StatusServiceUnavailable, first.Status)
				require.EqualValues(t, 1, h.runs.Load())
				require.Empty(t, db.Get("balance"))
				return
			}
			require.Equal(t, http.StatusCreated, first.Status)
			require.Equal(t, []string{"2"}, first.Header["X-Run"])
			require.Equal(t, "transferred", first.Body, "what the first run wrote is gone")
			require.Equal(t, []string{"the body"}, first.Header["X-Read"])
			require.EqualValues(t, 2, h.runs.Load())
			require.True(t, call(mw, "k", "the body").replayed())
			require.Equal(t, "+1", db.Get("balance"))
		})
	}
}

func TestExecutorDuplicates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, store := newExecutor()
		h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			created(n, w, r)
		})
		// Two processes on one database.
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

// Nothing goes out before the commit, so a response is held whole: its size is bounded.
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
			return errors.New("all of it was taken")
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

func TestExecutorRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	h := transfer(func(_ int64, _ http.ResponseWriter, r *http.Request) {
		require.ErrorIs(t, idempotent.BeginEffect(r.Context()), errors.ErrUnsupported)
		require.ErrorIs(t, idempotent.BeginEffectWith(r.Context(), func(context.Context, idempotent.Owner) error {
			t.Error("called")
			return nil
		}), errors.ErrUnsupported)
	})
	_, store := newExecutor()
	call(idempotent.New(store, idempotent.Global, nil)(h), "k", "1")
	for _, o := range []*idempotent.Options{{AtMostOnce: true}, {OnFailure: idempotent.FailOpen}} {
		require.Panics(t, func() { idempotent.New(store, idempotent.Global, o) })
		require.Panics(t, func() { idempotent.NewGuard(store, o) })
	}
}

func TestPanicInAnExecutorIsReportedAndToldToThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events seen
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
		}, events.results())
		require.EqualValues(t, 1, h.runs.Load())
	})
}

// blocked is an Executor that waits for as long as it is let.
type blocked struct {
	idempotent.Store
	before, after bool
}

func (b blocked) Execute(ctx context.Context, _ idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	if b.before {
		<-ctx.Done()
		return idempotent.Decision{}, context.Cause(ctx)
	}
	run(ctx, 1)
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
		"at the commit":  {blocked{after: true}, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tt.store.Store = &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error {
					t.Error("an Executor is asked for Execute only")
					return nil
				}}
				mw := idempotent.New(tt.store, idempotent.Global, nil)(&counter{})
				start := time.Now()
				require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
				require.Equal(t, tt.after, time.Since(start))
			})
		})
	}
}

package idempotent_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
)

// database is a toy with transactions: they commit all or nothing, and a row that one is writing makes others wait.
type database struct {
	mu        sync.Mutex
	committed map[string]string
	locked    map[string]chan struct{}
	failNext  error // of the next commit
}

type tx struct {
	*database
	writes map[string]string
	locks  []string
}

func newDatabase() *database {
	return &database{committed: map[string]string{}, locked: map[string]chan struct{}{}}
}

func (d *database) begin() *tx { return &tx{database: d, writes: map[string]string{}} }

func (d *database) get(key string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.committed[key]
}

// lock waits until no other transaction has the row, for a while.
func (t *tx) lock(ctx context.Context, row string, patience time.Duration) bool {
	timeout := time.After(patience)
	for {
		t.mu.Lock()
		free, taken := t.locked[row]
		if !taken {
			t.locked[row] = make(chan struct{})
			t.locks = append(t.locks, row)
			t.mu.Unlock()
			return true
		}
		t.mu.Unlock()
		select {
		case <-free:
		case <-timeout:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// end commits or rolls back; after the first call it does nothing.
func (t *tx) end(commit bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if commit {
		if err, t.failNext = t.failNext, nil; err == nil {
			maps.Copy(t.committed, t.writes)
		}
	}
	for _, row := range t.locks {
		close(t.locked[row])
		delete(t.locked, row)
	}
	t.locks, t.writes = nil, map[string]string{}
	return err
}

// txStore is an Executor on the database: the claim is a row in the handler's transaction.
type txStore struct {
	idempotent.Store // never called
	*database
}

type txKey struct{}

func (s txStore) Execute(ctx context.Context, c idempotent.Claim, run func(context.Context, int) idempotent.Outcome) (idempotent.Verdict, error) {
	t := s.begin()
	defer t.end(false)
	if !t.lock(ctx, c.ID.String(), time.Second) {
		return idempotent.Verdict{State: idempotent.InFlight}, nil
	}
	if row := s.get(c.ID.String()); row != "" {
		fingerprint, rest, _ := strings.Cut(row, " ")
		state, record, _ := strings.Cut(rest, " ")
		if fingerprint != c.Print.String() {
			return idempotent.Verdict{State: idempotent.Mismatch}, nil
		}
		n, _ := strconv.Atoi(state)
		return idempotent.Verdict{State: idempotent.State(n), Record: []byte(record)}, nil
	}
	o := run(context.WithValue(ctx, txKey{}, t), 1)
	t.writes[c.ID.String()] = c.Print.String() + " " + strconv.Itoa(int(o.State)) + " " + string(o.Record)
	if o.State == idempotent.Released {
		return idempotent.Verdict{State: idempotent.Acquired, Attempt: 1}, t.end(false)
	}
	return idempotent.Verdict{State: idempotent.Acquired, Attempt: 1}, t.end(true)
}

func TestToyIsAnExecutor(t *testing.T) {
	t.Parallel()
	idempotenttest.RunExecutor(t, func(*testing.T) (idempotent.Executor, func(context.Context), func() int) {
		db := newDatabase()
		effect := func(ctx context.Context) {
			ctx.Value(txKey{}).(*tx).writes["effect "+idempotent.NewToken().String()] = "done"
		}
		effects := func() (n int) {
			db.mu.Lock()
			defer db.mu.Unlock()
			for row := range db.committed {
				if strings.HasPrefix(row, "effect ") {
					n++
				}
			}
			return n
		}
		return txStore{database: db}, effect, effects
	})
}

// transfer writes within the store's transaction, and then answers.
func transfer(answer func(n int64, w http.ResponseWriter, r *http.Request)) *counter {
	return &counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
		t := r.Context().Value(txKey{}).(*tx)
		t.writes["balance"] = t.get("balance") + "+1"
		answer(n, w, r)
	}}
}

func created(_ int64, w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, "transferred")
}

func TestExecutorCommitsEffectAndRecordTogether(t *testing.T) {
	t.Parallel()
	db := newDatabase()
	mw := idempotent.New(txStore{database: db}, idempotent.Global, nil)(transfer(created))

	first, again, other := call(mw, "k", "1"), call(mw, "k", "1"), call(mw, "k", "2")

	require.Equal(t, http.StatusCreated, first.Status)
	require.False(t, first.replayed())
	require.True(t, again.replayed())
	require.Equal(t, "transferred", again.Body)
	require.Equal(t, http.StatusConflict, other.Status)
	require.Equal(t, "+1", db.get("balance"))
}

func TestExecutorRollsBackFailures(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(w http.ResponseWriter){
		"5xx":   func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"panic": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		db := newDatabase()
		h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				fail(w)
				return
			}
			created(n, w, r)
		})
		mw := idempotent.New(txStore{database: db}, idempotent.Global, nil)(h)

		call(mw, "k", "1")
		require.Empty(t, db.get("balance"), name)
		require.Equal(t, http.StatusCreated, call(mw, "k", "1").Status, name)
		require.Equal(t, "+1", db.get("balance"), name)
	}
}

func TestExecutorWhoseCommitFails(t *testing.T) {
	t.Parallel()
	db := newDatabase()
	h := transfer(created)
	mw := idempotent.New(txStore{database: db}, idempotent.Global, &idempotent.Options{FailOpen: true})(h)
	db.failNext = errors.New("serialization failure")

	first := call(mw, "k", "1")

	require.Equal(t, http.StatusServiceUnavailable, first.Status, "what was rolled back is not answered as done, nor run unprotected")
	require.Empty(t, db.get("balance"))
	require.Equal(t, http.StatusCreated, call(mw, "k", "1").Status)
	require.Equal(t, "+1", db.get("balance"))
}

func TestExecutorDuplicates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		h := transfer(func(n int64, w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			created(n, w, r)
		})
		// Two processes on one database.
		a := idempotent.New(txStore{database: db}, idempotent.Global, nil)(h)
		b := idempotent.New(txStore{database: db}, idempotent.Global, nil)(h)
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
		require.Equal(t, "+1", db.get("balance"))
	})
}

func TestExecutorKeepsWhatIsSealed(t *testing.T) {
	t.Parallel()
	db := newDatabase()
	h := transfer(func(_ int64, w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	})
	mw := idempotent.New(txStore{database: db}, idempotent.Global, &idempotent.Options{MaxResponse: 10})(h)

	require.Len(t, call(mw, "k", "1").Body, 100, "the client gets all of it, after the commit")
	require.Contains(t, call(mw, "k", "1").Body, "idempotency_response_unavailable")
	require.Equal(t, "+1", db.get("balance"))
}

func TestExecutorHasNoPointOfNoReturn(t *testing.T) {
	t.Parallel()
	h := transfer(func(_ int64, _ http.ResponseWriter, r *http.Request) {
		require.ErrorIs(t, idempotent.BeginEffect(r.Context()), errors.ErrUnsupported)
	})
	call(idempotent.New(txStore{database: newDatabase()}, idempotent.Global, nil)(h), "k", "1")
	require.Panics(t, func() {
		idempotent.New(txStore{database: newDatabase()}, idempotent.Global, &idempotent.Options{AtMostOnce: true})
	})
}

func TestPanicInAnExecutorIsReported(t *testing.T) {
	t.Parallel()
	var events seen
	h := transfer(func(int64, http.ResponseWriter, *http.Request) { panic("a bug") })
	mw := idempotent.New(txStore{database: newDatabase()}, idempotent.Global, &idempotent.Options{Observe: events.observe})(h)
	call(mw, "k", "")
	require.Equal(t, []idempotent.Result{idempotent.RanReleased}, events.results())
}

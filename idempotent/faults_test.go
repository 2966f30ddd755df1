package idempotent_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

var errDown = errors.New("connection refused")

// faulty is a store whose operations pass through hooks. Call the next to have the operation done.
type faulty struct {
	idempotent.Store
	acquire func(next func() (idempotent.Decision, error)) (idempotent.Decision, error)
	renew   func(next func() error) error
	mark    func(next func() error) error
	finish  func(o idempotent.Completion, next func() error) error
}

func (f *faulty) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	next := func() (idempotent.Decision, error) { return f.Store.Acquire(ctx, c) }
	if f.acquire == nil {
		return next()
	}
	return f.acquire(next)
}

func (f *faulty) Renew(ctx context.Context, l idempotent.Owner, d time.Duration) error {
	next := func() error { return f.Store.Renew(ctx, l, d) }
	if f.renew == nil {
		return next()
	}
	return f.renew(next)
}

func (f *faulty) BeginEffect(ctx context.Context, l idempotent.Owner) error {
	next := func() error { return f.Store.BeginEffect(ctx, l) }
	if f.mark == nil {
		return next()
	}
	return f.mark(next)
}

func (f *faulty) Finish(ctx context.Context, l idempotent.Owner, o idempotent.Completion) error {
	next := func() error { return f.Store.Finish(ctx, l, o) }
	if f.finish == nil {
		return next()
	}
	return f.finish(o, next)
}

// seen collects events.
type seen struct {
	mu     sync.Mutex
	events []idempotent.Event
}

func (s *seen) observe(_ context.Context, e idempotent.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *seen) results() (results []idempotent.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		results = append(results, e.Outcome)
	}
	return results
}

func TestLostRepliesAreNoticedByNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		lose := func(err error) error { // every other reply is lost, after the store has done what it was told
			if err == nil && n.Add(1)%2 == 1 {
				return errDown
			}
			return err
		}
		store := &faulty{
			Store: memory(),
			acquire: func(next func() (idempotent.Decision, error)) (idempotent.Decision, error) {
				v, err := next()
				return v, lose(err)
			},
			mark:   func(next func() error) error { return lose(next()) },
			finish: func(_ idempotent.Completion, next func() error) error { return lose(next()) },
		}
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			require.NoError(t, idempotent.BeginEffect(r.Context()))
			require.Equal(t, 1, idempotent.Attempt(r.Context()))
			w.WriteHeader(http.StatusCreated)
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)

		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.True(t, call(mw, "k", "").replayed())
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestStoreDownBeforeTheRun(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() (idempotent.Decision, error){
		"error":         func() (idempotent.Decision, error) { return idempotent.Decision{}, errDown },
		"panic":         func() (idempotent.Decision, error) { panic("driver bug") },
		"no verdict":    func() (idempotent.Decision, error) { return idempotent.Decision{}, nil },
		"wrong verdict": func() (idempotent.Decision, error) { return idempotent.Decision{Verdict: 77}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var h counter
				var events seen
				store := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) { return fail() }}
				mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)

				r := call(mw, "k", "")

				require.GreaterOrEqual(t, r.Status, 500)
				if r.Status == http.StatusServiceUnavailable {
					require.NotEmpty(t, r.Header.Get("Retry-After"))
				}
				require.NotContains(t, r.Body, "driver bug")
				require.NotContains(t, r.Body, "refused")
				require.Equal(t, []idempotent.Outcome{idempotent.OutcomeStoreFailed}, events.results())
				require.Zero(t, h.runs.Load())
			})
		})
	}
}

func TestStoreThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		mw := idempotent.New(hanging{memory()}, idempotent.Global, nil)(&h)
		start := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
		require.LessOrEqual(t, time.Since(start), 2*time.Second)

		start = time.Now()
		call(idempotent.New(hanging{memory()}, idempotent.Global, &idempotent.Options{Lease: 300 * time.Millisecond})(&h), "k", "")
		require.LessOrEqual(t, time.Since(start), 200*time.Millisecond, "a call must not take as long as the lease")
		require.Zero(t, h.runs.Load())
	})
}

// hanging is a store that accepts and never answers.
type hanging struct{ idempotent.Store }

func (hanging) Acquire(ctx context.Context, _ idempotent.Claim) (idempotent.Decision, error) {
	<-ctx.Done()
	return idempotent.Decision{}, ctx.Err()
}

func (hanging) Finish(ctx context.Context, _ idempotent.Owner, _ idempotent.Completion) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestClaimOfAnUnansweredAcquireIsFreedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		down := true
		store := &faulty{Store: memory(), acquire: func(next func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			v, err := next()
			if down {
				return idempotent.Decision{}, errDown
			}
			return v, err
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)
		require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "").Status)
		down = false
		start := time.Now()
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.Zero(t, time.Since(start))
	})
}

func TestFailOpenRunsUnprotected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		var events seen
		var err error
		store := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			return idempotent.Decision{}, err
		}}
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{OnFailure: idempotent.FailOpen, Observe: events.observe})(&h)

		err = errDown
		require.Equal(t, "run 1: body", call(mw, "k", "body").Body)
		err = idempotent.ErrFull // has not failed: who fills the store must not disable it
		require.Equal(t, http.StatusServiceUnavailable, call(mw, "k", "body").Status)

		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeBypassed, idempotent.OutcomeStoreFull}, events.results())
	})
}

func TestStoreDownAfterTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Second)
			w.WriteHeader(http.StatusCreated)
		}}
		var events seen
		down := true
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if down {
				return errDown
			}
			return next()
		}}
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)
		var duplicate reply
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			duplicate = call(mw, "k", "")
		})

		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status, "the handler's answer goes out")
		wg.Wait()
		require.Equal(t, http.StatusCreated, duplicate.Status, "to those who waited for it, too")
		require.Contains(t, events.results(), idempotent.OutcomeUnrecorded)
		require.EqualValues(t, 1, h.runs.Load())

		down = false
		require.Equal(t, http.StatusTooManyRequests, call(mw, "k", "").Status, "the claim stays until its lease is over")
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.EqualValues(t, 2, h.runs.Load())
	})
}

func TestFinishIsRepeatedUntilTheStoreIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		start := time.Now()
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if time.Since(start) < 2*time.Second {
				return errDown
			}
			return next()
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.True(t, call(mw, "k", "").replayed())
	})
}

func TestResponseWithoutRoomIsSealed(t *testing.T) {
	t.Parallel()
	var h counter
	store := &faulty{Store: memory(), finish: func(o idempotent.Completion, next func() error) error {
		if o.State == idempotent.StateDone {
			return idempotent.ErrFull
		}
		return next()
	}}
	mw := idempotent.New(store, idempotent.Global, nil)(&h)

	require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
	again := call(mw, "k", "")

	require.Equal(t, http.StatusConflict, again.Status)
	require.Contains(t, again.Body, "idempotency_response_unavailable")
	require.Equal(t, "/v1/resources/1", again.Header.Get("Location"))
	require.EqualValues(t, 1, h.runs.Load())
}

func TestFullStoreAndUsedUpShare(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		http.StatusServiceUnavailable: idempotent.ErrFull,
		http.StatusTooManyRequests:    idempotent.ErrQuota,
	} {
		var h counter
		asked := 0
		store := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			asked++
			return idempotent.Decision{}, err
		}}
		r := call(idempotent.New(store, idempotent.Global, nil)(&h), "k", "")
		require.Equal(t, want, r.Status)
		require.NotEmpty(t, r.Header.Get("Retry-After"))
		require.Zero(t, h.runs.Load())
		require.Equal(t, 1, asked, "a refusal is an answer")
	}
}

func TestMarkThatFailsForbidsTheEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := true
		store := &faulty{Store: memory(), mark: func(next func() error) error {
			if down {
				return errDown
			}
			return next()
		}}
		for _, o := range []*idempotent.Options{nil, {AtMostOnce: true}} {
			down = true
			effects := 0
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				if err := idempotent.BeginEffect(r.Context()); err != nil {
					require.ErrorIs(t, err, errDown)
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				effects++
			}}
			mw := idempotent.New(store, idempotent.Global, o)(&h)
			key := "k"
			if o != nil {
				key = "at-most-once"
			}

			require.Equal(t, http.StatusServiceUnavailable, call(mw, key, "").Status)
			require.Zero(t, effects)
			down = false
			require.Equal(t, http.StatusOK, call(mw, key, "").Status)
			require.Equal(t, 1, effects)
		}
	})
}

func TestPanicOfADriverLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		store := &faulty{
			Store:  memory(),
			finish: func(idempotent.Completion, func() error) error { panic("driver bug") },
			renew:  func(func() error) error { panic("driver bug") },
		}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)
		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestStoreThatForgetsMakesNoBusyLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h counter
		var events seen
		asked := 0
		store := &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error {
			if asked++; asked > 1000 {
				panic("a busy loop")
			}
			return idempotent.ErrLost
		}}
		mw := idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)

		require.Equal(t, http.StatusCreated, call(mw, "k", "").Status, "the handler's answer goes out")
		require.Less(t, asked, 50)
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeUnrecorded}, events.results())
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestFailOpenDoesNotRunBesideOneThatItHasSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(8 * time.Second) }}
		var down atomic.Bool
		store := &faulty{Store: memory(), acquire: func(next func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			if down.Load() {
				return idempotent.Decision{}, errDown
			}
			return next()
		}}
		o := &idempotent.Options{OnFailure: idempotent.FailOpen}
		var wg sync.WaitGroup
		wg.Go(func() { call(idempotent.New(store, idempotent.Global, o)(&h), "k", "") })
		synctest.Wait()
		time.AfterFunc(time.Second, func() { down.Store(true) })
		require.Equal(t, http.StatusServiceUnavailable, call(idempotent.New(store, idempotent.Global, o)(&h), "k", "").Status)
		wg.Wait()
		require.EqualValues(t, 1, h.runs.Load())
	})
}

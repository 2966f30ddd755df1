package redislimit_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// runner is a Runner in memory. It allows every charge.
type runner struct {
	latency time.Duration // of a call
	hang    atomic.Bool   // whether calls end only with their context

	mu       sync.Mutex
	calls    [][]string // their keys
	requests []any      // the values of their contexts
}

var errReply = errors.New("an error that the server answers with")

type replyError struct{ error }

func (replyError) RedisError() {}

func (e replyError) Unwrap() error { return e.error }

func (r *runner) Run(ctx context.Context, _ string, keys, _ []string) (any, error) {
	r.mu.Lock()
	r.calls = append(r.calls, slices.Clone(keys))
	r.requests = append(r.requests, ctx.Value(requestKey{}))
	r.mu.Unlock()
	if r.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(r.latency)
	reply := make([]any, 0, 2*len(keys))
	for range keys {
		reply = append(reply, int64(1), int64(0))
	}
	return reply, nil
}

func (r *runner) sizes() (sizes []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, keys := range r.calls {
		sizes = append(sizes, len(keys))
	}
	return sizes
}

func TestWaitingCallersShareTheNextCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{latency: 5 * time.Millisecond}
		l := redislimit.NewRunner(r, nil)
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				_, err := l.Take(t.Context(), perHour(fmt.Sprint(i), 10))
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// A second call begins when enough callers wait. All others wait until one of the two ends.
		require.Equal(t, []int{1, 32, 128, 128, 11}, r.sizes())
		began := time.Now()
		take(t, l, perHour("k", 10))
		require.Equal(t, 5*time.Millisecond, time.Since(began), "a lone caller does not wait for others")
	})
}

func TestGroupsAreNotSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{latency: time.Millisecond}
		l := redislimit.NewRunner(r, nil)
		sizes := []int{1, 100, 20, 200, 28, 1}
		var wg sync.WaitGroup
		for i, n := range sizes {
			charges := make([]ratelimit.Charge, n)
			for k := range charges {
				charges[k] = perHour(fmt.Sprint(i, k), 10)
			}
			wg.Go(func() {
				if err := l.TakeAll(t.Context(), charges, make([]ratelimit.Decision, n)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		require.Equal(t, []int{1, 120, 200, 29}, r.sizes())
	})
}

// A call to a server in another region may take most of the timeout. Callers do not wait for two.
func TestSlowServerAnswersAllCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{latency: 40 * time.Millisecond}
		l := redislimit.NewRunner(r, nil)
		var wg sync.WaitGroup
		for i := range 1000 {
			time.Sleep(100 * time.Microsecond)
			wg.Go(func() {
				if _, err := l.Take(t.Context(), perHour(fmt.Sprint(i), 10)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Less(t, len(r.sizes()), 25, "and callers still share calls")
	})
}

// Many callers at the same moment do not flood a server that is slow.
func TestCallsUnderWayAreFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{latency: 40 * time.Millisecond}
		l := redislimit.NewRunner(r, nil)
		var wg sync.WaitGroup
		for i := range 5000 {
			wg.Go(func() { _, _ = l.Take(t.Context(), perHour(fmt.Sprint(i), 10)) })
		}
		time.Sleep(39 * time.Millisecond)
		require.Len(t, r.sizes(), 8)
		wg.Wait()
		time.Sleep(time.Second) // until the last call has ended
	})
}

// Each caller has its own deadline, whatever happens to the call before.
func TestOutageCostsOneTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := new(runner)
		r.hang.Store(true)
		l := redislimit.NewRunner(r, nil)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				called := time.Now()
				_, err := l.Take(t.Context(), perHour(fmt.Sprint(i), 10))
				if err == nil || time.Since(called) > 50*time.Millisecond {
					t.Errorf("caller %d: %v after %v", i, err, time.Since(called))
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		asked := len(r.sizes())
		require.LessOrEqual(t, asked, 3)

		at := time.Now()
		for range 1000 {
			_, err := l.Take(t.Context(), perHour("k", 10))
			require.ErrorContains(t, err, "again soon")
		}
		require.Equal(t, at, time.Now(), "no caller waits")
		require.Len(t, r.sizes(), asked)

		time.Sleep(time.Until(began.Add(52*time.Millisecond + time.Second)))
		synctest.Wait()
		for range 3 { // one of them probes
			wg.Go(func() { _, _ = l.Take(t.Context(), perHour("k", 10)) })
		}
		wg.Wait()
		require.Len(t, r.sizes(), asked+1)
		r.hang.Store(false)
		time.Sleep(time.Second + 1)
		require.True(t, take(t, l, perHour("k", 10)).Allowed)
		require.True(t, take(t, l, perHour("k", 10)).Allowed)
	})
}

func TestCallersDoNotWaitForAProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := new(runner)
		r.hang.Store(true)
		l := redislimit.NewRunner(r, nil)
		_, err := l.Take(t.Context(), perHour("k", 10))
		require.Error(t, err)
		time.Sleep(time.Second + 1)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = l.Take(t.Context(), perHour("k", 10)) })
		synctest.Wait()
		require.Len(t, r.sizes(), 2, "it probes")
		at := time.Now()
		_, err = l.Take(t.Context(), perHour("k", 10))
		require.ErrorContains(t, err, "soon")
		require.Equal(t, at, time.Now())
		wg.Wait()
	})
}

// A server that answers with errors is not down: it is asked each time.
func TestErrorReplyIsNotAnOutage(t *testing.T) {
	t.Parallel()
	r := runnerFunc(func() (any, error) { return nil, replyError{errReply} })
	l := redislimit.NewRunner(r, nil)
	for range 10 {
		_, err := l.Take(t.Context(), perHour("k", 10))
		require.ErrorIs(t, err, errReply)
	}
}

func TestCallerThatHasLeftIsNotCharged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{latency: 10 * time.Millisecond}
		l := redislimit.NewRunner(r, nil)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = l.Take(t.Context(), perHour("first", 10)) })
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		wg.Go(func() {
			_, err := l.Take(ctx, perHour("leaves", 10))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
		})
		wg.Go(func() { _, _ = l.Take(t.Context(), perHour("stays", 10)) })
		synctest.Wait()
		cancel(errors.New("gone"))
		wg.Wait()
		require.Equal(t, []int{1, 1}, r.sizes())
		require.Equal(t, l.RedisKey("default", "stays"), r.calls[1][0])
	})
}

// The call of a caller that leaves goes on, since others may share it, and is no failure.
func TestCallIsNotInterruptedByACaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{latency: 10 * time.Millisecond}
		l := redislimit.NewRunner(r, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _ = l.Take(ctx, perHour("k", 10))
		require.True(t, take(t, l, perHour("k", 10)).Allowed)
	})
}

type requestKey struct{}

// A hook of the client, such as one for traces, sees the request of a lone caller. A shared call
// belongs to no request, least of all to one that has ended.
func TestContextOfCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{latency: time.Millisecond}
		l := redislimit.NewRunner(r, nil)
		var wg sync.WaitGroup
		for i := range 3 {
			ctx := context.WithValue(t.Context(), requestKey{}, i)
			wg.Go(func() { _, _ = l.Take(ctx, perHour("k", 10)) })
			synctest.Wait()
		}
		wg.Wait()
		require.Equal(t, []any{0, nil}, r.requests)
	})
}

type runnerFunc func() (any, error)

func (f runnerFunc) Run(context.Context, string, []string, []string) (any, error) { return f() }

func TestWrongReplies(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]any{
		"nil":               nil,
		"text":              "OK",
		"too few numbers":   []any{int64(1)},
		"too many numbers":  []any{int64(1), int64(0), int64(0)},
		"text for a number": []any{"1", "0"},
		"nil for a number":  []any{int64(1), nil},
	} {
		l := redislimit.NewRunner(runnerFunc(func() (any, error) { return reply, nil }), nil)
		_, err := l.Take(t.Context(), perHour("k", 10))
		require.ErrorContains(t, err, "redislimit: the reply", name)
	}
}

// A hook of the client may panic. That must not end the process, or the calls of others.
func TestPanicOfTheClientIsAnError(t *testing.T) {
	t.Parallel()
	panics := true
	l := redislimit.NewRunner(runnerFunc(func() (any, error) {
		if panics {
			panic("a hook")
		}
		return []any{int64(1), int64(0)}, nil
	}), nil)
	synctest.Test(t, func(t *testing.T) {
		_, err := l.Take(t.Context(), perHour("k", 10))
		require.ErrorContains(t, err, "panicked: a hook")
		panics = false
		time.Sleep(time.Second + 1)
		require.True(t, take(t, l, perHour("k", 10)).Allowed)
	})
}

// A goroutine that ends in the middle of a call must not leave others waiting forever.
func TestGoexitOfTheClientIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		exits := true
		l := redislimit.NewRunner(runnerFunc(func() (any, error) {
			if exits {
				time.Sleep(time.Millisecond)
				runtime.Goexit()
			}
			return []any{int64(1), int64(0)}, nil
		}), nil)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _, _ = l.Take(t.Context(), perHour("k", 10)) })
		}
		wg.Wait()
		exits = false
		time.Sleep(time.Second + 1)
		require.True(t, take(t, l, perHour("k", 10)).Allowed)
	})
}

func TestInvalidOptionsPanic(t *testing.T) {
	t.Parallel()
	require.PanicsWithValue(t, "redislimit: New with a nil client", func() { redislimit.New(nil, nil) })
	require.PanicsWithValue(t, "redislimit: NewRunner with a nil Runner", func() { redislimit.NewRunner(nil, nil) })
	require.PanicsWithValue(t, "redislimit: Options.Timeout is negative", func() {
		redislimit.NewRunner(new(runner), &redislimit.Options{Timeout: -1})
	})
	require.PanicsWithValue(t, "redislimit: Options.HashTag has a brace", func() {
		redislimit.NewRunner(new(runner), &redislimit.Options{HashTag: "{limits}"})
	})
}

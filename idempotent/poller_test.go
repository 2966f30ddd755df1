package idempotent_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// backEnd is what a Poller asks. It fails the test if a look breaks a rule.
type backEnd struct {
	t    *testing.T
	take time.Duration // that a look takes
	hook func(ctx context.Context) error

	mu      sync.Mutex
	running map[idempotent.ID]bool
	looking bool
	looks   [][]idempotent.ID
}

// newBackEnd returns a back end in which some records are running.
func newBackEnd(t *testing.T, running ...idempotent.ID) *backEnd {
	t.Helper()
	b := &backEnd{t: t, running: make(map[idempotent.ID]bool)}
	for _, id := range running {
		b.running[id] = true
	}
	return b
}

func (b *backEnd) look(ctx context.Context, ids []idempotent.ID) (running []idempotent.ID, err error) {
	b.mu.Lock()
	if b.looking {
		b.t.Error("two looks at the same time")
	}
	if len(ids) == 0 || len(ids) > 1000 {
		b.t.Errorf("a look at %d records", len(ids))
	}
	seen := make(map[idempotent.ID]bool)
	for _, id := range ids {
		if seen[id] {
			b.t.Errorf("a look at %s twice", id)
		}
		seen[id] = true
		if b.running[id] {
			running = append(running, id)
		}
	}
	b.looking = true
	b.looks = append(b.looks, ids)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.looking = false
	}()
	if b.take > 0 {
		time.Sleep(b.take)
	}
	if b.hook != nil {
		err = b.hook(ctx)
	}
	return running, err
}

func (b *backEnd) begin(id idempotent.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running[id] = true
}

func (b *backEnd) end(id idempotent.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.running, id)
}

// seen returns the looks since the last call of seen.
func (b *backEnd) seen() [][]idempotent.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	looks := b.looks
	b.looks = nil
	return looks
}

// pollerTest runs a test in a bubble. Time stands still after the end of f, so it waits until
// looks and Watch have ended.
func pollerTest(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(3 * time.Second)
		f(t)
	})
}

func runPollerTest(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		pollerTest(t, f)
	})
}

func record(n int) idempotent.ID { return idempotent.ID{byte(n), byte(n >> 8), 31: 1} }

// waiters starts n calls of Wait and returns a function that waits for their results.
func waiters(ctx context.Context, p *idempotent.Poller, n int, id idempotent.ID) (results func() []error) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = p.Wait(ctx, id) })
	}
	return func() []error { wg.Wait(); return errs }
}

func TestPollerLooksImmediately(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t, record(1))
		p := idempotent.NewPoller(b.look, nil)
		start := time.Now()
		require.NoError(t, p.Wait(t.Context(), record(2)))
		require.Zero(t, time.Since(start))
		require.Equal(t, [][]idempotent.ID{{record(2)}}, b.seen())

		results := waiters(t.Context(), p, 1, record(1))
		synctest.Wait()
		start = time.Now()
		require.NoError(t, p.Wait(t.Context(), record(2)), "while another call waits")
		require.Zero(t, time.Since(start))
		require.Equal(t, [][]idempotent.ID{{record(1)}, {record(2)}}, b.seen())
		b.end(record(1))
		require.Equal(t, []error{nil}, results())
	})
}

func TestPollerLooksAgainAtRandomTimes(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*idempotent.PollerOptions{
		"default": nil,
		"Every":   {Every: 8 * time.Second},
	} {
		every := 500 * time.Millisecond
		if o != nil {
			every = o.Every
		}
		runPollerTest(t, name, func(t *testing.T) {
			b := newBackEnd(t, record(1))
			var times []time.Time
			b.hook = func(context.Context) error { times = append(times, time.Now()); return nil }
			p := idempotent.NewPoller(b.look, o)
			results := waiters(t.Context(), p, 3, record(1))
			time.Sleep(200 * every)
			b.end(record(1))
			ended := time.Now()
			require.Equal(t, []error{nil, nil, nil}, results())
			require.LessOrEqual(t, time.Since(ended), every*3/2)

			synctest.Wait()
			distances := make(map[time.Duration]bool)
			times = times[2:] // the first ones are those of the calls that came
			for i, now := range times[1:] {
				d := now.Sub(times[i])
				distances[d] = true
				require.True(t, every/2 <= d && d < every*3/2, "%s", d)
			}
			require.InDelta(t, 200, len(times), 40)
			require.Greater(t, len(distances), 100, "the times are random")
		})
	}
}

func TestManyCallsShareFewLooks(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t, record(1))
		b.take = 10 * time.Millisecond
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Every: time.Minute})
		results := waiters(t.Context(), p, 10_000, record(1))
		time.Sleep(time.Second)
		require.LessOrEqual(t, len(b.seen()), 3)
		b.end(record(1))
		p.Wake(record(1))
		for _, err := range results() {
			require.NoError(t, err)
		}
		require.Len(t, b.seen(), 1)
	})
}

func TestLookIsAtAThousandRecordsAtMost(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t)
		b.take = time.Millisecond
		p := idempotent.NewPoller(b.look, nil)
		var all []func() []error
		for i := range 3500 {
			b.begin(record(i))
			all = append(all, waiters(t.Context(), p, 2, record(i)))
		}
		time.Sleep(10 * time.Second)
		b.seen()
		time.Sleep(800 * time.Millisecond) // in which all are looked at one or more times
		looked := make(map[idempotent.ID]bool)
		for _, ids := range b.seen() {
			for _, id := range ids {
				looked[id] = true
			}
		}
		require.Len(t, looked, 3500)
		for i := range 3500 {
			b.end(record(i))
		}
		for _, results := range all {
			require.Equal(t, []error{nil, nil}, results())
		}
	})
}

// Calls that keep coming must not delay the looks for those that wait.
func TestNewCallsDoNotDelayOldOnes(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t, record(1))
		b.take = time.Millisecond
		p := idempotent.NewPoller(b.look, nil)
		results := waiters(t.Context(), p, 1, record(1))
		ctx, cancel := context.WithCancel(t.Context())
		var others sync.WaitGroup
		for i := range 10 {
			others.Go(func() {
				for ctx.Err() == nil {
					_ = p.Wait(ctx, record(2+i))
				}
			})
		}
		time.Sleep(time.Second)
		b.end(record(1))
		ended := time.Now()
		require.Equal(t, []error{nil}, results())
		require.Less(t, time.Since(ended), time.Second)
		cancel()
		others.Wait()
	})
}

func TestCallIsNotAnsweredByAnEarlierLook(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"an answer": nil, "an error": errDown} {
		runPollerTest(t, name, func(t *testing.T) {
			b := newBackEnd(t)
			proceed := make(chan error)
			b.hook = func(context.Context) error { return <-proceed }
			p := idempotent.NewPoller(b.look, nil)
			first := waiters(t.Context(), p, 1, record(1))
			synctest.Wait() // the look has read the record
			b.begin(record(1))
			second := waiters(t.Context(), p, 5, record(1))
			synctest.Wait()
			proceed <- failure
			require.Equal(t, []error{failure}, first())
			synctest.Wait()
			require.Len(t, b.seen(), 2, "the others share the next look")
			b.end(record(1))
			proceed <- nil
			time.Sleep(time.Second)
			proceed <- nil
			require.Equal(t, make([]error, 5), second())
		})
	}
}

func TestFailedLookFailsItsCallsOnly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail func(ctx context.Context) error
		want string
		in   time.Duration
	}{
		"an error":  {func(context.Context) error { return errDown }, errDown.Error(), 0},
		"a panic":   {func(context.Context) error { panic("boom") }, "idempotent: the store panicked: boom", 0},
		"a timeout": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "context deadline exceeded", 5 * time.Second},
	} {
		runPollerTest(t, name, func(t *testing.T) {
			b := newBackEnd(t, record(1), record(2))
			b.hook = test.fail
			p := idempotent.NewPoller(b.look, nil)
			start := time.Now()
			results := waiters(t.Context(), p, 2, record(1))
			for _, err := range results() {
				require.EqualError(t, err, test.want)
			}
			require.LessOrEqual(t, time.Since(start), 2*test.in)
			require.GreaterOrEqual(t, time.Since(start), test.in)

			b.hook = nil
			require.NoError(t, p.Wait(t.Context(), record(3)), "a later call")
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t, record(1))
		p := idempotent.NewPoller(b.look, nil)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.Wait(ended, record(1)), context.Canceled)
		require.Empty(t, b.seen())

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.Equal(t, []error{context.DeadlineExceeded, context.DeadlineExceeded}, waiters(ctx, p, 2, record(1))())
		require.Equal(t, 10*time.Second, time.Since(start))

		b.seen()
		time.Sleep(time.Hour)
		require.Empty(t, b.seen(), "no look without a call")
	})
}

func TestLookEndsWithItsLastCall(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t)
		var ends []time.Duration
		start := time.Now()
		b.hook = func(ctx context.Context) error {
			<-ctx.Done()
			ends = append(ends, time.Since(start))
			time.Sleep(time.Second) // it is slow to return
			return ctx.Err()
		}
		p := idempotent.NewPoller(b.look, nil)
		early, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		results := waiters(early, p, 1, record(1))
		synctest.Wait()
		require.Equal(t, []error{context.DeadlineExceeded}, results())

		time.Sleep(500 * time.Millisecond) // the look has not returned yet
		require.Equal(t, []error{context.DeadlineExceeded}, waiters(late, p, 1, record(1))(), "not the error of the old look")
		require.Equal(t, 3*time.Second, time.Since(start))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{time.Second, 3 * time.Second}, ends)
		require.Len(t, b.seen(), 2)
	})
}

func TestNoLookForACallThatHasLeft(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t, record(1), record(2))
		b.take = time.Second
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Every: time.Hour})
		one := waiters(t.Context(), p, 1, record(1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		require.Equal(t, []error{context.DeadlineExceeded}, waiters(ctx, p, 1, record(2))())
		p.Wake(record(2))
		time.Sleep(time.Minute)
		require.Equal(t, [][]idempotent.ID{{record(1)}}, b.seen())
		b.end(record(1))
		p.Wake(record(1))
		require.Equal(t, []error{nil}, one())
	})
}

func TestWakeLooksNow(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t, record(1), record(2))
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Every: time.Hour})
		p.Wake(record(1))
		one, two := waiters(t.Context(), p, 1, record(1)), waiters(t.Context(), p, 1, record(2))
		synctest.Wait()
		b.seen()
		p.Wake(record(3))
		synctest.Wait()
		require.Empty(t, b.seen(), "no call waits for it")

		p.Wake(record(1))
		synctest.Wait()
		require.Equal(t, [][]idempotent.ID{{record(1)}}, b.seen())

		b.take = time.Millisecond
		for range 1000 {
			p.Wake(record(1))
		}
		time.Sleep(time.Minute)
		require.LessOrEqual(t, len(b.seen()), 2)

		start := time.Now()
		b.end(record(1))
		b.end(record(2))
		p.Wake(record(1))
		require.Equal(t, []error{nil}, one())
		p.Wake(record(2))
		require.Equal(t, []error{nil}, two())
		require.Equal(t, 2*time.Millisecond, time.Since(start))
	})
}

func TestWakeDuringALookCausesAnother(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		b := newBackEnd(t, record(1))
		b.take = time.Second
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Every: time.Hour})
		start := time.Now()
		results := waiters(t.Context(), p, 1, record(1))
		synctest.Wait() // the look has read the record
		b.end(record(1))
		p.Wake(record(1))
		require.Equal(t, []error{nil}, results())
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

// watcher has the Watch of a Poller.
type watcher struct {
	start time.Time

	mu           sync.Mutex
	serve        func(ctx context.Context, ready func()) error
	begun, ended []time.Duration
}

func newWatcher(serve func(ctx context.Context, ready func()) error) *watcher {
	return &watcher{start: time.Now(), serve: serve}
}

func (w *watcher) watch(ctx context.Context, ready func()) error {
	w.mu.Lock()
	serve := w.serve
	w.begun = append(w.begun, time.Since(w.start))
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = append(w.ended, time.Since(w.start))
	}()
	return serve(ctx, ready)
}

// set replaces what Watch does, and forgets the calls so far.
func (w *watcher) set(serve func(ctx context.Context, ready func()) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serve, w.begun, w.ended = serve, nil, nil
}

// readyAfter returns a Watch that is ready after a while.
func readyAfter(d time.Duration) func(ctx context.Context, ready func()) error {
	return func(ctx context.Context, ready func()) error {
		time.Sleep(d)
		ready()
		<-ctx.Done()
		return ctx.Err()
	}
}

func TestWatchRunsWhileCallsWait(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		var log logBuffer
		w := newWatcher(readyAfter(0))
		b := newBackEnd(t, record(1))
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Watch: w.watch, Logger: log.logger()})
		wait := func(d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			require.ErrorIs(t, p.Wait(ctx, record(1)), context.DeadlineExceeded)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.Wait(ended, record(1)), context.Canceled)
		p.Wake(record(1))
		time.Sleep(time.Second)
		require.Empty(t, w.begun, "no call waits")

		wait(10 * time.Second)              // until 11 s
		time.Sleep(1900 * time.Millisecond) // a short pause
		wait(100 * time.Millisecond)        // until 13 s
		time.Sleep(7 * time.Second)
		wait(time.Second) // from 20 to 21 s
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []time.Duration{time.Second, 20 * time.Second}, w.begun)
		require.Equal(t, []time.Duration{15 * time.Second, 23 * time.Second}, w.ended)
		require.Empty(t, log.String())
	})
}

// A report that comes before Watch is ready is lost.
func TestEveryRecordIsLookedAtWhenWatchIsReady(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		w := newWatcher(readyAfter(time.Second))
		b := newBackEnd(t, record(1), record(2))
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Every: time.Hour, Watch: w.watch})
		one, two := waiters(t.Context(), p, 2, record(1)), waiters(t.Context(), p, 1, record(2))
		synctest.Wait()
		b.end(record(1))
		require.Equal(t, []error{nil, nil}, one())
		require.Equal(t, time.Second, time.Since(w.start))

		b.end(record(2))
		p.Wake(record(2))
		require.Equal(t, []error{nil}, two())
		require.Equal(t, time.Second, time.Since(w.start))
	})
}

func TestWatchIsCalledAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail func() error
		log  string
	}{
		"an error": {func() error { return errDown }, errDown.Error()},
		"a return": {func() error { return nil }, "PollerOptions.Watch has returned"},
		"a panic":  {func() error { panic("boom") }, "the store panicked: boom"},
	} {
		runPollerTest(t, name, func(t *testing.T) {
			var log logBuffer
			fail := func(context.Context, func()) error { return test.fail() }
			w := newWatcher(fail)
			b := newBackEnd(t, record(1))
			p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Watch: w.watch, Logger: log.logger()})
			results := waiters(t.Context(), p, 1, record(1))
			wantPauses := func() {
				t.Helper()
				synctest.Wait()
				w.mu.Lock()
				defer w.mu.Unlock()
				require.Greater(t, len(w.begun), 10)
				for i, begun := range w.begun[1:] {
					want, pause := min(time.Second<<min(i, 5), 30*time.Second), begun-w.ended[i]
					require.True(t, want/2 <= pause && pause < want*3/2, "pause %d: %s", i+1, pause)
				}
			}
			time.Sleep(10 * time.Minute)
			wantPauses()
			require.Contains(t, log.Take(), test.log)

			w.set(func(ctx context.Context, ready func()) error {
				ready()
				w.set(fail)
				w.begun = []time.Duration{time.Since(w.start)}
				return fail(ctx, ready)
			})
			time.Sleep(10 * time.Minute)
			wantPauses() // from the start, because it was ready

			w.set(readyAfter(0))
			time.Sleep(time.Minute)
			log.Take()
			time.Sleep(time.Hour)
			require.Empty(t, log.String(), "it watches")
			b.end(record(1))
			p.Wake(record(1))
			require.Equal(t, []error{nil}, results())
		})
	}
}

// Calls that come and go must not make Watch connect more often than one call would.
func TestPauseAfterAFailureOfWatchOutlivesTheCalls(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		w := newWatcher(func(context.Context, func()) error { return errDown })
		b := newBackEnd(t)
		logger := slog.New(panicHandler{}) // does not end the process
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Watch: w.watch, Logger: logger})
		for range 100 {
			require.NoError(t, p.Wait(t.Context(), record(1)))
			time.Sleep(3 * time.Second) // Watch has ended
		}
		synctest.Wait()
		require.InDelta(t, 14, len(w.begun), 6)
	})
}

func TestRandomCallsOfAPoller(t *testing.T) {
	t.Parallel()
	pollerTest(t, func(t *testing.T) {
		const records = 20
		b := newBackEnd(t)
		b.take = 3 * time.Millisecond
		w := newWatcher(readyAfter(10 * time.Millisecond))
		p := idempotent.NewPoller(b.look, &idempotent.PollerOptions{Watch: w.watch})
		var wg sync.WaitGroup
		var ends [records]time.Time // when each record stops running
		for i := range records {
			b.begin(record(i))
			d := rand.N(time.Minute)
			ends[i] = time.Now().Add(d)
			wg.Go(func() {
				time.Sleep(d)
				b.end(record(i))
				if i%2 == 0 {
					p.Wake(record(i))
				}
			})
		}
		for range 500 {
			wg.Go(func() {
				time.Sleep(rand.N(time.Minute))
				i := rand.N(records)
				timeout := 20*time.Millisecond + rand.N(20*time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				start := time.Now()
				err := p.Wait(ctx, record(i))
				late := time.Since(ends[i])
				switch {
				case err == nil && late < 0:
					t.Errorf("Wait returned %s before the end", -late)
				case err == nil && late > time.Second && time.Since(start) > 10*time.Millisecond:
					t.Errorf("Wait returned %s after the end", late)
				case err != nil && (!errors.Is(err, context.DeadlineExceeded) || time.Since(start) != timeout || late > time.Second):
					t.Errorf("Wait returned %v after %s of %s", err, time.Since(start), timeout)
				}
			})
		}
		wg.Wait()
	})
}

func TestNewPollerPanicsOnMistakes(t *testing.T) {
	t.Parallel()
	look := newBackEnd(t).look
	require.Panics(t, func() { idempotent.NewPoller(nil, nil) })
	require.Panics(t, func() { idempotent.NewPoller(look, &idempotent.PollerOptions{Every: -1}) })
}

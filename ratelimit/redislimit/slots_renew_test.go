package redislimit_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// recorder is a Runner without a server. It answers that a slot is free.
type recorder struct {
	mu    sync.Mutex
	fails map[string]error // by script, such as "leave"
	calls []call
}

type call struct {
	script string
	keys   int
	same   bool // whether all keys are the same
}

func (r *recorder) Run(_ context.Context, script string, keys, args []string) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, _, _ := strings.Cut(strings.TrimPrefix(script, "-- slots_"), ",")
	c := call{script: name, keys: len(keys), same: true}
	for _, k := range keys {
		c.same = c.same && k == keys[0]
	}
	r.calls = append(r.calls, c)
	if err := r.fails[name]; err != nil {
		return nil, err
	}
	return int64(1), nil
}

func (r *recorder) fail(script string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = map[string]error{script: err}
}

// drain returns the calls of a script since the last drain.
func (r *recorder) drain(script string) (calls []call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if c.script == script {
			calls = append(calls, c)
		}
	}
	r.calls = nil
	return calls
}

// answer is an error reply of a server.
type answer string

func (a answer) Error() string { return string(a) }

func (answer) RedisError() {}

var errLost = errors.New("connection reset")

func entry(key string) ratelimit.Entry {
	return ratelimit.Entry{Rule: "concurrent", Key: key, Max: 1000}
}

func enter(t *testing.T, s ratelimit.Slots, key string) (leave func()) {
	t.Helper()
	leave, free, err := s.Enter(t.Context(), entry(key))
	require.NoError(t, err)
	require.True(t, free)
	return leave
}

func TestSlotsAreRenewedWhileTheyAreHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		s := redislimit.NewSlotsRunner(&r, nil)
		for range 3 { // the timer starts again
			leave := enter(t, s, "k")
			time.Sleep(10*time.Second - 1)
			require.Empty(t, r.drain("renew"))
			time.Sleep(50 * time.Second)
			n := len(r.drain("renew"))
			require.Contains(t, []int{4, 5}, n, "calls in a minute: a third of the lease is 10 seconds, and the timer has steps of a second")
			leave()
			leave() // has no effect
			require.Len(t, r.drain("leave"), 1)
			time.Sleep(time.Hour)
			require.Empty(t, r.calls)
			require.False(t, s.StopTimer(), "no slot is held")
		}
	})
}

func TestShortLeaseIsRenewedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		s := redislimit.NewSlotsRunner(&r, &redislimit.SlotsOptions{Lease: 300 * time.Millisecond})
		leave := enter(t, s, "k")
		for range 10 {
			time.Sleep(151 * time.Millisecond) // half of the lease
			require.NotEmpty(t, r.drain("renew"))
		}
		leave()
	})
}

func TestShortRequestsAreNotRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		s := redislimit.NewSlotsRunner(&r, nil)
		for range 100 {
			leave := enter(t, s, "k")
			time.Sleep(5 * time.Second)
			leave()
		}
		require.Empty(t, r.drain("renew"))
	})
}

func TestRenewalsShareCalls(t *testing.T) {
	t.Parallel()
	for _, cluster := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var r recorder
			s := redislimit.NewSlotsRunner(&r, &redislimit.SlotsOptions{Cluster: cluster})
			var leaves []func()
			for i := range 150 {
				leaves = append(leaves, enter(t, s, "busy"), enter(t, s, strconv.Itoa(i/10)))
			}
			time.Sleep(12 * time.Second)
			calls, slots := r.drain("renew"), 0
			for _, c := range calls {
				slots += c.keys
				require.LessOrEqual(t, c.keys, 128)
				require.True(t, c.same || !cluster, "keys of a Cluster may have different hash slots")
			}
			require.Equal(t, 300, slots)
			require.Len(t, calls, map[bool]int{false: 3, true: 2 + 15}[cluster])
			for _, leave := range leaves {
				leave()
			}
			time.Sleep(time.Hour)
			require.Empty(t, r.drain("renew"))
		})
	}
}

// Many long requests, each with another key, and a network with a delay: on a Cluster, each slot
// needs a call.
func TestManySlotsAreRenewedBeforeTheirLeasesEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := distant{delay: 10 * time.Millisecond, renewed: make(map[string]time.Time)}
		s := redislimit.NewSlotsRunner(&r, &redislimit.SlotsOptions{Cluster: true})
		var wg sync.WaitGroup
		for i := range 4000 {
			wg.Go(func() {
				leave := enter(t, s, strconv.Itoa(i))
				time.Sleep(time.Minute)
				leave()
			})
		}
		wg.Wait()
		require.Less(t, r.longestGap(), 30*time.Second, "without a renewal")
		require.Greater(t, r.longestGap(), 9*time.Second)
	})
}

// distant is a Runner whose calls take a while. It finds the longest time between the renewals of
// a key.
type distant struct {
	delay   time.Duration
	fails   bool // every second call has no answer
	timeout time.Duration

	mu      sync.Mutex
	renewed map[string]time.Time // by key
	longest time.Duration
	calls   atomic.Int64
}

func (d *distant) longestGap() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.longest
}

func (d *distant) Run(_ context.Context, _ string, keys, _ []string) (any, error) {
	if d.calls.Add(1)%2 == 0 && d.fails {
		time.Sleep(d.timeout)
		return nil, context.DeadlineExceeded
	}
	time.Sleep(d.delay)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range keys {
		if before, ok := d.renewed[key]; ok {
			d.longest = max(d.longest, time.Since(before))
		}
		d.renewed[key] = time.Now()
	}
	return int64(1), nil
}

func TestFailedRenewalIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		s := redislimit.NewSlotsRunner(&r, nil)
		leave := enter(t, s, "k")
		r.fail("renew", errLost)
		time.Sleep(15 * time.Second)
		n := len(r.drain("renew"))
		require.GreaterOrEqual(t, n, 2)
		require.LessOrEqual(t, n, 6, "one call a second")
		r.fail("", nil)
		time.Sleep(3 * time.Second)
		require.Len(t, r.drain("renew"), 1)
		leave()
	})
}

func TestFailedLeaveIsRepeatedUntilTheLeaseIsOver(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"no answer": errLost, "an error reply": answer("READONLY")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				s := redislimit.NewSlotsRunner(&r, nil)
				for range 2 {
					leave := enter(t, s, "k")
					time.Sleep(8500 * time.Millisecond)
					r.fail("leave", err)
					leave()
					leave()
					require.Len(t, r.drain("leave"), 1)
					time.Sleep(10 * time.Second)
					n := len(r.drain("leave"))
					require.GreaterOrEqual(t, n, 4)
					require.LessOrEqual(t, n, 10, "one call a second")
					r.fail("", nil)
					time.Sleep(3 * time.Second)
					require.Len(t, r.drain("leave"), 1)
				}
				leave := enter(t, s, "k")
				r.fail("leave", err)
				leave()
				time.Sleep(32 * time.Second)
				r.drain("leave")
				time.Sleep(time.Hour)
				require.Empty(t, r.calls, "also no renewal")
			})
		})
	}
}

// The memory that an outage costs does not grow with its length.
func TestSlotsThatCannotBeGivenBackAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		s := redislimit.NewSlotsRunner(runnerFunc(func() (any, error) {
			if down.Load() {
				return nil, errLost
			}
			return int64(1), nil
		}), nil)
		var leaves []func()
		for range 100 {
			leaves = append(leaves, enter(t, s, "k"))
		}
		down.Store(true)
		for _, leave := range leaves {
			leave()
		}
		require.Equal(t, 100, s.Held())
		for range 2000 { // ten minutes
			_, _, err := s.Enter(t.Context(), entry("k"))
			require.Error(t, err)
			time.Sleep(300 * time.Millisecond)
		}
		require.Positive(t, s.Held())
		require.LessOrEqual(t, s.Held(), 32, "a probe each second of the lease")
		time.Sleep(32 * time.Second)
		require.Zero(t, s.Held())
		require.False(t, s.StopTimer())
	})
}

// Redis is not asked for a while after a call without an answer. That must not be too long for the
// leases.
func TestNoSlotIsLostIfACallIs(t *testing.T) {
	t.Parallel()
	for _, lease := range []time.Duration{300 * time.Millisecond, 3 * time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			const timeout = 50 * time.Millisecond
			r := distant{renewed: make(map[string]time.Time), fails: true, timeout: timeout}
			s := redislimit.NewSlotsRunner(&r, &redislimit.SlotsOptions{Lease: lease, Timeout: timeout})
			leave := enter(t, s, "k")
			time.Sleep(20 * lease)
			leave()
			require.Less(t, r.longestGap(), lease, "without a renewal")
			time.Sleep(2 * lease) // the call to give it back may be lost too
		})
	}
}

// If the reply to Enter was lost, a slot may be taken that nobody uses.
func TestSlotIsGivenBackAfterALostReply(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err    error
		leaves int
	}{
		"no answer":      {errLost, 1},
		"an error reply": {answer("OOM"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				s := redislimit.NewSlotsRunner(&r, nil)
				r.fail("enter", row.err)
				leave, free, err := s.Enter(t.Context(), entry("sk_secret"))
				require.Nil(t, leave)
				require.False(t, free)
				require.ErrorIs(t, err, row.err)
				require.NotContains(t, err.Error(), "sk_secret")
				time.Sleep(5 * time.Second)
				require.Len(t, r.drain("leave"), row.leaves)
				time.Sleep(time.Hour)
				require.Empty(t, r.calls)
			})
		})
	}
}

func TestOutageCostsOneCallASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		s := redislimit.NewSlotsRunner(&r, nil)
		r.fail("enter", errLost)
		for range 1000 {
			_, _, err := s.Enter(t.Context(), entry("k"))
			require.Error(t, err)
			time.Sleep(10 * time.Millisecond)
		}
		require.LessOrEqual(t, len(r.drain("enter")), 10)
		r.fail("", nil)
		time.Sleep(2 * time.Second)
		slots := 0
		for _, c := range r.drain("leave") {
			slots += c.keys
		}
		require.LessOrEqual(t, slots, 10, "only entries that were sent may have taken a slot")
		time.Sleep(time.Hour)
		require.Empty(t, r.calls)
	})
}

// A Runner of another client library may ignore the context.
func TestCanceledRequestTakesNoSlot(t *testing.T) {
	t.Parallel()
	var r recorder
	s := redislimit.NewSlotsRunner(&r, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Enter(ctx, entry("k"))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r.calls)
}

func TestUnknownReplyIsAnError(t *testing.T) {
	t.Parallel()
	for _, reply := range []any{nil, int64(2), "1", []any{}} {
		s := redislimit.NewSlotsRunner(replies{reply}, nil)
		leave, free, err := s.Enter(t.Context(), entry("k"))
		require.Error(t, err)
		require.False(t, free)
		require.Nil(t, leave)
	}
}

type replies struct{ reply any }

func (r replies) Run(context.Context, string, []string, []string) (any, error) { return r.reply, nil }

func TestInvalidSlotsOptionsPanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"no client":                func() { redislimit.NewSlots(nil, nil) },
		"no Runner":                func() { redislimit.NewSlotsRunner(nil, nil) },
		"a negative Timeout":       func() { redislimit.NewSlotsRunner(replies{}, &redislimit.SlotsOptions{Timeout: -1}) },
		"a negative Lease":         func() { redislimit.NewSlotsRunner(replies{}, &redislimit.SlotsOptions{Lease: -1}) },
		"a Lease of five timeouts": func() { redislimit.NewSlotsRunner(replies{}, &redislimit.SlotsOptions{Lease: 250 * time.Millisecond}) },
		"a Lease of a microsecond": func() { redislimit.NewSlotsRunner(replies{}, &redislimit.SlotsOptions{Lease: 1000, Timeout: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Panics(t, f)
		})
	}
}

package idempotent_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
)

var (
	_ idempotent.Store         = (*idempotent.Memory)(nil)
	_ idempotent.Waiter        = (*idempotent.Memory)(nil)
	_ idempotent.Sweeper       = (*idempotent.Memory)(nil)
	_ idempotent.Resolver      = (*idempotent.Memory)(nil)
	_ idempotent.UnknownLister = (*idempotent.Memory)(nil)
	_ idempotent.LocalStore    = (*idempotent.Memory)(nil)
)

// newMemory returns a store and a function that advances its clock, which otherwise stands still.
func newMemory(o *idempotent.MemoryOptions) (*idempotent.Memory, func(time.Duration)) {
	m := idempotent.NewMemory(o)
	var now atomic.Int64
	m.SetNow(func() time.Duration { return time.Duration(now.Load()) })
	return m, func(d time.Duration) { now.Add(int64(d)) }
}

func TestMemoryConforms(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*idempotent.MemoryOptions{
		"default":   nil,
		"one shard": {MaxRecords: 1000},
		"unbounded": {MaxRecords: -1, MaxBytes: -1},
		"evicting":  {EvictWhenFull: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) { return newMemory(o) })
		})
	}
}

func TestFullMemoryConforms(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*idempotent.MemoryOptions{
		"records":  {MaxRecords: 40},
		"bytes":    {MaxBytes: 20 << 10},
		"evicting": {MaxRecords: 40, MaxBytes: 40 << 10, EvictWhenFull: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idempotenttest.RunFull(t, func(*testing.T) (idempotent.Store, func(time.Duration)) { return newMemory(o) })
		})
	}
}

// claimOf returns a claim of the n-th key of a principal.
func claimOf(principal string, n int) idempotent.Claim {
	return idempotent.Claim{
		ID:        idOf("", principal, fmt.Sprint(n)),
		Scope:     idOf("scope", principal, ""),
		Token:     idempotent.NewToken(),
		Lease:     time.Minute,
		Retention: time.Hour,
	}
}

// global returns a claim of the n-th key in the global scope.
func global(n int) idempotent.Claim {
	c := claimOf(idempotent.GlobalPrincipal, n)
	c.Scope = idempotent.ID{}
	return c
}

// completion returns a completion without a response.
func completion(state idempotent.State) idempotent.Completion {
	return idempotent.Completion{State: state, Retention: time.Hour}
}

// done returns a completion with a response.
func done(response []byte) idempotent.Completion {
	return idempotent.Completion{State: idempotent.StateDone, Response: response, Retention: time.Hour}
}

// acquire makes a claim that must not be refused.
func acquire(t *testing.T, m *idempotent.Memory, c idempotent.Claim) {
	t.Helper()
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)
}

// keyedWrite does what the middleware does for a write: it claims, and records the response, or
// that it is not kept if there is no room for it. It returns the verdict and the error of the
// claim.
func keyedWrite(t *testing.T, m *idempotent.Memory, c idempotent.Claim, response []byte) (idempotent.Verdict, error) {
	t.Helper()
	d, err := m.Acquire(t.Context(), c)
	if err != nil || d.Verdict != idempotent.VerdictAcquired {
		return d.Verdict, err
	}
	if err := m.Finish(t.Context(), c.Owner(), done(response)); err != nil {
		require.ErrorIs(t, err, idempotent.ErrFull)
		require.NoError(t, m.Finish(t.Context(), c.Owner(), completion(idempotent.StateNotKept)))
	}
	return d.Verdict, nil
}

// recorded records a response. It returns the first error.
func recorded(t *testing.T, m *idempotent.Memory, c idempotent.Claim, response []byte) error {
	t.Helper()
	if _, err := m.Acquire(t.Context(), c); err != nil {
		return err
	}
	return m.Finish(t.Context(), c.Owner(), done(response))
}

// finished records a response of that size. It returns the first error.
func finished(t *testing.T, m *idempotent.Memory, c idempotent.Claim, size int) error {
	t.Helper()
	return recorded(t, m, c, make([]byte, size))
}

// verdictOf returns the verdict of another claim of the same key. It is 0 if the store is full.
func verdictOf(t *testing.T, m *idempotent.Memory, c idempotent.Claim) idempotent.Verdict {
	t.Helper()
	c.Token = idempotent.NewToken()
	d, err := m.Acquire(t.Context(), c)
	if err != nil {
		require.ErrorIs(t, err, idempotent.ErrFull)
		return 0
	}
	return d.Verdict
}

func TestUnboundedMemoryRefusesNothing(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: -1, MaxBytes: -1})
	for i := range 2000 {
		require.NoError(t, finished(t, m, claimOf("p", i), 100))
	}
}

func TestTinyMemoryHoldsARecord(t *testing.T) {
	t.Parallel()
	for _, o := range []idempotent.MemoryOptions{{MaxBytes: 1}, {MaxBytes: 512}, {MaxBytes: 1023}, {MaxRecords: 1}} {
		m, advance := newMemory(&o)
		c := claimOf("p", 0)
		require.NoError(t, finished(t, m, c, 0))
		require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, c))
		require.ErrorIs(t, finished(t, m, claimOf("p", 1), 0), idempotent.ErrFull)
		advance(time.Hour)
		require.NoError(t, finished(t, m, claimOf("p", 1), 0))
	}
}

func TestSweepEmptiesMemory(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(nil)
	states := []idempotent.State{idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent}
	for i := range 3000 {
		c := claimOf(fmt.Sprint(i%7), i)
		if i%7 == 0 {
			c.Scope = idempotent.ID{}
		}
		acquire(t, m, c)
		require.NoError(t, m.BeginEffect(t.Context(), c.Owner()))
		require.NoError(t, m.Finish(t.Context(), c.Owner(), idempotent.Completion{State: states[i%4], Response: make([]byte, 100), Retention: time.Hour}))
	}
	require.Equal(t, 2250, m.Stats().Records)
	require.NoError(t, m.Check())
	advance(time.Hour)
	n, err := m.Sweep(t.Context(), 50)
	require.NoError(t, err)
	require.Equal(t, 50, n)
	n, err = m.Sweep(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, 2200, n)
	require.Equal(t, idempotent.MemoryStats{}, m.Stats())
	require.Empty(t, m.Scopes())
}

// Spare capacity of a response would not count toward MaxBytes, so much of it is not kept.
func TestMemoryCopiesResponsesWithSpareCapacity(t *testing.T) {
	t.Parallel()
	for spare, copied := range map[int]bool{0: false, 100: false, 1000: true} {
		m := idempotent.NewMemory(nil)
		c := claimOf("p", 0)
		response := make([]byte, 1000, 1000+spare)
		acquire(t, m, c)
		require.NoError(t, m.Finish(t.Context(), c.Owner(), done(response)))
		c.Token = idempotent.NewToken()

		d, err := m.Acquire(t.Context(), c)

		require.NoError(t, err)
		require.Equal(t, response, d.Response)
		require.Equal(t, len(d.Response), cap(d.Response))
		require.Equal(t, copied, &response[0] != &d.Response[0])
	}
}

func TestNewRecordsRemoveExpiredOnes(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 1000})
	for i := range 400 {
		require.NoError(t, finished(t, m, claimOf("p", i), 0))
	}
	advance(time.Hour)
	for i := range 200 {
		require.NoError(t, finished(t, m, claimOf("q", i), 0))
	}
	require.Equal(t, 200, m.Stats().Records)
}

func TestMemoryWakesWaiters(t *testing.T) {
	t.Parallel()
	for _, state := range []idempotent.State{idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent} {
		for _, begun := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				m := idempotent.NewMemory(nil)
				c := claimOf("p", 1)
				acquire(t, m, c)
				if begun {
					require.NoError(t, m.BeginEffect(t.Context(), c.Owner()))
				}
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() { require.NoError(t, m.Wait(t.Context(), c.ID)) })
				}
				synctest.Wait() // they all wait
				require.NoError(t, m.Finish(t.Context(), c.Owner(), idempotent.Completion{State: state, Retention: time.Hour}))
				wg.Wait()
			})
		}
	}
}

func TestMemoryWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := idempotent.NewMemory(nil)
		c := claimOf("p", 1)
		require.NoError(t, m.Wait(t.Context(), c.ID), "there is no record")
		acquire(t, m, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, m.Wait(ctx, c.ID), context.DeadlineExceeded)
	})
}

// An effect that was begun in a transaction that was rolled back leaves no unknown outcome.
func TestUnknownWithoutAnEffectIsAbsent(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(nil)
	unknown := completion(idempotent.StateUnknown)
	c := claimOf("p", 0)
	acquire(t, m, c)

	require.NoError(t, m.Finish(t.Context(), c.Owner(), unknown))
	require.NoError(t, m.Finish(t.Context(), c.Owner(), unknown), "a retry")

	require.Zero(t, m.Stats())
	require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, c))
}

func TestUnknownRecordsAreListedAndResolved(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(nil)
	want := make(map[idempotent.ID]bool)
	for i := range 20 {
		c := claimOf(fmt.Sprint("p", i%3), i)
		c.Lease = time.Minute
		acquire(t, m, c)
		if i < 5 { // still running, without an effect
			continue
		}
		require.NoError(t, m.BeginEffect(t.Context(), c.Owner()))
		if i < 10 { // crashed
			want[c.ID] = true
			continue
		}
		state := idempotent.StateUnknown
		if i >= 15 {
			state = idempotent.StateDone
		}
		require.NoError(t, m.Finish(t.Context(), c.Owner(), idempotent.Completion{State: state, Retention: time.Hour}))
		want[c.ID] = i < 15
	}
	list, err := m.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Len(t, list, 5, "the leases of the others are not over")
	advance(time.Minute)

	list, err = m.ListUnknown(t.Context(), idempotent.ID{}, 0)

	require.NoError(t, err)
	require.Len(t, list, 10)
	for i, u := range list {
		require.True(t, want[u.ID])
		require.Equal(t, 1, u.Attempt)
		require.NotZero(t, u.Scope)
		require.Equal(t, 59*time.Minute, u.Left)
		rest, err := m.ListUnknown(t.Context(), u.ID, 100)
		require.NoError(t, err)
		require.Equal(t, list[i+1:], append([]idempotent.UnknownRecord{}, rest...))
		require.NoError(t, m.Resolve(t.Context(), u.ID, done([]byte("resolved"))))
		require.ErrorIs(t, m.Resolve(t.Context(), u.ID, done(nil)), idempotent.ErrNotUnknown)
	}
	list, err = m.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Empty(t, list)
	require.NoError(t, m.Check())
}

// Services use the longest duration for "forever".
func TestLongestDurations(t *testing.T) {
	t.Parallel()
	const forever = math.MaxInt64
	m, advance := newMemory(nil)
	advance(time.Hour)
	c := claimOf("p", 1)
	c.Lease, c.Retention = forever, forever
	acquire(t, m, c)
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
	acquire(t, m, c)
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
	require.NoError(t, m.Renew(t.Context(), c.Owner(), forever))
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
	require.NoError(t, m.Finish(t.Context(), c.Owner(), idempotent.Completion{State: idempotent.StateDone, Retention: forever}))
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, c))
}

func TestMemoryClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := idempotent.NewMemory(nil)
		require.True(t, m.Local())
		c := claimOf("p", 1)
		acquire(t, m, c)
		time.Sleep(time.Minute - time.Nanosecond)
		require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
		time.Sleep(time.Nanosecond)
		require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, c))
		time.Sleep(time.Hour)
		require.ErrorIs(t, m.BeginEffect(t.Context(), c.Owner()), idempotent.ErrLost)
	})
}

func TestInvalidArgumentsChangeNothing(t *testing.T) {
	t.Parallel()
	m := idempotent.NewMemory(nil)
	for _, spoil := range []func(c *idempotent.Claim){
		func(c *idempotent.Claim) { c.Lease = 0 },
		func(c *idempotent.Claim) { c.Retention = -1 },
	} {
		c := claimOf("p", 1)
		spoil(&c)
		_, err := m.Acquire(t.Context(), c)
		require.Error(t, err)
	}
	require.Zero(t, m.Stats())

	c := claimOf("p", 1)
	acquire(t, m, c)
	require.NoError(t, m.BeginEffect(t.Context(), c.Owner()))
	require.Error(t, m.Renew(t.Context(), c.Owner(), 0))
	for _, completion := range []idempotent.Completion{
		{},
		{State: idempotent.StateRunning, Retention: time.Hour},
		{State: 77, Retention: time.Hour},
		{State: idempotent.StateDone},
		{State: idempotent.StateUnknown, Retention: -1},
	} {
		require.Error(t, m.Finish(t.Context(), c.Owner(), completion))
	}
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
	unknown := completion(idempotent.StateUnknown)
	require.NoError(t, m.Finish(t.Context(), c.Owner(), unknown))
	require.Error(t, m.Resolve(t.Context(), c.ID, unknown))
	require.Equal(t, idempotent.VerdictUnknown, verdictOf(t, m, c))
}

func TestCanceledCallsChangeNothing(t *testing.T) {
	t.Parallel()
	m := idempotent.NewMemory(nil)
	c := claimOf("p", 1)
	acquire(t, m, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Acquire(ctx, claimOf("p", 2))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, m.Renew(ctx, c.Owner(), time.Hour), context.Canceled)
	require.ErrorIs(t, m.BeginEffect(ctx, c.Owner()), context.Canceled)
	require.ErrorIs(t, m.Finish(ctx, c.Owner(), done(nil)), context.Canceled)
	require.ErrorIs(t, m.Resolve(ctx, c.ID, done(nil)), context.Canceled)
	_, err = m.Sweep(ctx, 0)
	require.ErrorIs(t, err, context.Canceled)
	_, err = m.ListUnknown(ctx, idempotent.ID{}, 0)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, m.Running())
}

// A client that could choose keys of one shard would fill it long before the store is full. So
// keys of one shard are in different shards of another store.
func TestShardsAreSeeded(t *testing.T) {
	t.Parallel()
	known, attacked := idempotent.NewMemory(nil), idempotent.NewMemory(nil)
	perShard := make(map[int]int)
	for i, n := 0, 0; n < 1600; i++ {
		id := claimOf("p", i).ID
		if known.ShardOf(id) == 0 {
			perShard[attacked.ShardOf(id)]++
			n++
		}
	}
	require.Len(t, perShard, 16)
	for _, n := range perShard {
		require.Less(t, n, 200)
	}
}

package idempotent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
)

// newMemory returns a store whose clock stands still until it is advanced.
func newMemory(o *idempotent.MemoryOptions) (*idempotent.Memory, func(time.Duration)) {
	m := idempotent.NewMemory(o)
	var now atomic.Int64
	m.SetNow(func() time.Duration { return time.Duration(now.Load()) })
	return m, func(d time.Duration) { now.Add(int64(d)) }
}

func TestMemoryKeepsTheRules(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*idempotent.MemoryOptions{
		"default":   nil,
		"one shard": {MaxEntries: 1000},
		"unbounded": {MaxEntries: -1, MaxBytes: -1, ScopeEntries: -1, ScopeBytes: -1},
		"evicting":  {Evict: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) { return newMemory(o) })
		})
	}
}

// claimOf is a claim for the n-th key of a principal.
func claimOf(principal string, n int) idempotent.Claim {
	return idempotent.Claim{
		ID:        idempotent.NewID("", principal, fmt.Sprint(n)),
		Scope:     idempotent.NewID("scope", principal, ""),
		Token:     idempotent.NewToken(),
		Lease:     time.Minute,
		Retention: time.Hour,
	}
}

// finished records a response of the given size, and returns the store's first refusal.
func finished(t *testing.T, m *idempotent.Memory, c idempotent.Claim, size int) error {
	t.Helper()
	if _, err := m.Acquire(t.Context(), c); err != nil {
		return err
	}
	return m.Finish(t.Context(), c.Own(), idempotent.Outcome{State: idempotent.Done, Record: make([]byte, size), Retention: time.Hour})
}

func stateOf(t *testing.T, m *idempotent.Memory, c idempotent.Claim) idempotent.State {
	t.Helper()
	c.Token = idempotent.NewToken()
	v, err := m.Acquire(t.Context(), c)
	if err != nil {
		require.ErrorIs(t, err, idempotent.ErrFull)
		return 0
	}
	return v.State
}

func TestFullMemoryRefuses(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxEntries: 10, ScopeEntries: -1})
	for i := range 10 {
		require.NoError(t, finished(t, m, claimOf("p", i), 0))
	}

	err := finished(t, m, claimOf("p", 10), 0)

	require.ErrorIs(t, err, idempotent.ErrFull)
	require.NotErrorIs(t, err, idempotent.ErrQuota)
	for i := range 10 {
		require.Equal(t, idempotent.Done, stateOf(t, m, claimOf("p", i)))
	}
	advance(time.Hour)
	require.NoError(t, finished(t, m, claimOf("p", 10), 0), "what is over its retention makes room")
}

func TestMemoryBoundsBytes(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxEntries: 100, MaxBytes: 10_000, ScopeBytes: -1})
	require.NoError(t, finished(t, m, claimOf("p", 0), 8_500))
	c := claimOf("p", 1)
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)

	err = m.Finish(t.Context(), c.Own(), idempotent.Outcome{State: idempotent.Done, Record: make([]byte, 1000), Retention: time.Hour})

	require.ErrorIs(t, err, idempotent.ErrFull)
	require.Equal(t, idempotent.InFlight, stateOf(t, m, c), "it is still running")
	require.NoError(t, m.Finish(t.Context(), c.Own(), idempotent.Outcome{State: idempotent.Sealed, Record: make([]byte, 100), Retention: time.Hour}))
	require.Equal(t, idempotent.Sealed, stateOf(t, m, c))
}

func TestEvictingMemoryForgetsTheOldestAnswerAndNothingElse(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxEntries: 10, ScopeEntries: -1, Evict: true})
	running, unknown, sealed := claimOf("p", 100), claimOf("p", 101), claimOf("p", 102)
	for _, c := range []idempotent.Claim{running, unknown, sealed} {
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
	}
	require.NoError(t, m.Finish(t.Context(), unknown.Own(), idempotent.Outcome{State: idempotent.Unknown, Retention: time.Hour}))
	require.NoError(t, m.Finish(t.Context(), sealed.Own(), idempotent.Outcome{State: idempotent.Sealed, Retention: time.Hour}))

	for i := range 50 {
		require.NoError(t, finished(t, m, claimOf("p", i), 0))
		require.LessOrEqual(t, m.Stats().Entries, 10)
	}

	for i := 43; i < 50; i++ {
		require.Equal(t, idempotent.Done, stateOf(t, m, claimOf("p", i)))
	}
	require.EqualValues(t, 43, m.Stats().Evicted)
	require.Equal(t, idempotent.InFlight, stateOf(t, m, running))
	require.Equal(t, idempotent.Unknown, stateOf(t, m, unknown))
	require.Equal(t, idempotent.Sealed, stateOf(t, m, sealed))
}

func TestRunningRecordsAreNeverEvicted(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxEntries: 10, ScopeEntries: -1, Evict: true})
	for i := range 10 {
		_, err := m.Acquire(t.Context(), claimOf("p", i))
		require.NoError(t, err)
	}
	for range 2 {
		require.ErrorIs(t, finished(t, m, claimOf("p", 10), 0), idempotent.ErrFull)
		advance(30 * time.Minute) // their leases are over, their retention is not
	}
	require.Equal(t, idempotent.Acquired, stateOf(t, m, claimOf("p", 0)))
}

func TestOnePrincipalCannotStarveAnother(t *testing.T) {
	t.Parallel()
	for name, evict := range map[string]bool{"refusing": false, "evicting": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := newMemory(&idempotent.MemoryOptions{MaxEntries: 100, MaxBytes: 1 << 20, Evict: evict})
			require.NoError(t, finished(t, m, claimOf("victim", 0), 0))
			refused := 0
			for i := range 1000 {
				if err := finished(t, m, claimOf("flood", i), 2000); err != nil {
					require.ErrorIs(t, err, idempotent.ErrQuota)
					require.ErrorIs(t, err, idempotent.ErrFull)
					refused++
				}
			}
			if evict {
				require.Zero(t, refused)
			} else {
				require.Equal(t, 975, refused)
			}
			require.Equal(t, 26, m.Stats().Entries)
			require.Equal(t, idempotent.Done, stateOf(t, m, claimOf("victim", 0)))
			require.NoError(t, finished(t, m, claimOf("victim", 1), 0))
		})
	}
}

func TestFloodStaysWithinTheBounds(t *testing.T) {
	t.Parallel()
	const entries, bytes = 20_000, 64 << 20
	m, _ := newMemory(&idempotent.MemoryOptions{MaxEntries: entries, MaxBytes: bytes})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				_ = finished(t, m, claimOf(fmt.Sprint("principal ", g, " ", i%50), i), 4000)
			}
		})
	}
	wg.Wait()
	s := m.Stats()
	require.LessOrEqual(t, s.Entries, entries)
	require.LessOrEqual(t, s.Bytes, int64(bytes))
	require.Greater(t, s.Bytes, int64(bytes)*9/10, "the shards fill evenly")
}

func TestUnboundedMemoryHasNoQuota(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxEntries: -1, MaxBytes: -1})
	for i := range 100 {
		require.NoError(t, finished(t, m, claimOf("p", i), 100))
	}
}

func TestOversizedRecordDrivesOutNothing(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: 100_000, ScopeBytes: -1, Evict: true})
	for i := range 10 {
		require.NoError(t, finished(t, m, claimOf("p", i), 1000))
	}
	require.ErrorIs(t, finished(t, m, claimOf("p", 10), 200_000), idempotent.ErrFull)
	require.Zero(t, m.Stats().Evicted)
}

func TestRecordStaysInItsScope(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(nil)
	c := claimOf("p", 1)
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)
	advance(2 * time.Minute)
	c.Token, c.Scope = idempotent.NewToken(), idempotent.ID{9}
	require.NoError(t, finished(t, m, c, 100))
	advance(time.Hour)
	_, err = m.Sweep(t.Context(), 0)
	require.NoError(t, err)
	require.Zero(t, m.Stats())
}

func TestGlobalScopeHasNoQuota(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxEntries: 100})
	for i := range 100 {
		c := claimOf("", i)
		c.Scope = idempotent.ID{}
		require.NoError(t, finished(t, m, c, 0))
	}
}

func TestMemoryGivesBackWhatItHeld(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(nil)
	for i := range 3000 {
		c := claimOf(fmt.Sprint(i%7), i)
		if i%7 == 0 {
			c.Scope = idempotent.ID{} // of those without a principal
		}
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
		state := []idempotent.State{idempotent.Done, idempotent.Sealed, idempotent.Unknown, idempotent.Released}[i%4]
		require.NoError(t, m.Finish(t.Context(), c.Own(), idempotent.Outcome{State: state, Record: make([]byte, 100), Retention: time.Hour}))
	}
	require.Equal(t, 2250, m.Stats().Entries)
	advance(time.Hour)
	n, err := m.Sweep(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, 2250, n)
	require.Equal(t, idempotent.MemoryStats{}, m.Stats())
	require.Zero(t, m.Scopes())
}

func TestRefusedScopesLeaveNothing(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxEntries: 1})
	require.NoError(t, finished(t, m, claimOf("p", 0), 0))
	for i := range 10 {
		require.ErrorIs(t, finished(t, m, claimOf(fmt.Sprint("stranger ", i), 0), 0), idempotent.ErrFull)
	}
	require.Equal(t, 1, m.Scopes())
}

// The buffer of a response may have much room to spare, which no bound would count.
func TestMemoryKeepsNoMoreOfAResponseThanItCounts(t *testing.T) {
	t.Parallel()
	m := idempotent.NewMemory(nil)
	mw := idempotent.New(m, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = w.Write(make([]byte, 700))
		}
	}))
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Idempotency-Key", "k")
	mw.ServeHTTP(httptest.NewRecorder(), r)
	c := claimOf("", 0)
	c.ID, c.Print = idempotent.NewID("", "", "k"), idempotent.PrintOf(r, nil)

	v, err := m.Acquire(t.Context(), c)

	require.NoError(t, err)
	require.Equal(t, idempotent.Done, v.State)
	require.LessOrEqual(t, cap(v.Record), len(v.Record)*9/8)
}

// A claim in memory has no owner but this process, however long it was suspended.
func TestNobodyTakesOverInMemory(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(nil)
	o := &idempotent.Options{Wait: -1}
	started, end := make(chan struct{}), make(chan struct{})
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-end
		_, _ = io.WriteString(w, "once")
	}}
	first := make(chan reply)
	go func() { first <- call(idempotent.New(m, idempotent.Global, o)(&h), "k", "") }()
	<-started
	advance(48 * time.Hour)

	again := call(idempotent.New(m, idempotent.Global, o)(&h), "k", "")

	require.Equal(t, http.StatusTooManyRequests, again.Status)
	close(end)
	require.Equal(t, "once", (<-first).Body)
	require.Equal(t, "once", call(idempotent.New(m, idempotent.Global, o)(&h), "k", "").Body)
}

// reusing stores records in a buffer that it writes over, as one that encrypts or compresses them may.
type reusing struct{ idempotent.Store }

func (r reusing) Finish(ctx context.Context, l idempotent.Lease, o idempotent.Outcome) error {
	o.Record = bytes.Clone(o.Record)
	defer clear(o.Record)
	return r.Store.Finish(ctx, l, o)
}

func TestMemoryBehindAStoreThatReusesItsBuffers(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(reusing{memory()}, idempotent.Global, nil)(&h)
	require.Equal(t, "run 1: ", call(mw, "k", "").Body)
	require.Equal(t, "run 1: ", call(mw, "k", "").Body)
}

// appending is an outer layer that logs lines, in what room it finds behind them.
type appending struct{ http.ResponseWriter }

func (a appending) Write(p []byte) (int, error) {
	_ = fmt.Appendln(p, "logged")
	return a.ResponseWriter.Write(p)
}

func TestOuterLayerCannotReachWhatMemoryHolds(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mw.ServeHTTP(appending{w}, r) })
	body := strings.Repeat("body", 300) // written into a buffer that just holds it, which Memory keeps
	for range 3 {
		require.Equal(t, "run 1: "+body, call(outer, "k", body).Body)
	}
}

func TestNewRecordsPayForOldOnes(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxEntries: 1000, ScopeEntries: -1})
	for i := range 400 {
		require.NoError(t, finished(t, m, claimOf("p", i), 0))
	}
	advance(time.Hour)
	for i := range 200 {
		require.NoError(t, finished(t, m, claimOf("q", i), 0))
	}
	require.Equal(t, 200, m.Stats().Entries)
}

func TestWaitersOfMemoryAreWoken(t *testing.T) {
	t.Parallel()
	for _, state := range []idempotent.State{idempotent.Done, idempotent.Sealed, idempotent.Unknown, idempotent.Released} {
		synctest.Test(t, func(t *testing.T) {
			m := idempotent.NewMemory(nil)
			c := claimOf("p", 1)
			_, err := m.Acquire(t.Context(), c)
			require.NoError(t, err)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() { require.NoError(t, m.Wait(t.Context(), c.ID)) })
			}
			synctest.Wait() // all of them wait
			require.NoError(t, m.Finish(t.Context(), c.Own(), idempotent.Outcome{State: state, Retention: time.Hour}))
			wg.Wait()
		})
	}
}

func TestTombstones(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{Tombstones: 24 * time.Hour})
	c := claimOf("p", 1)
	require.NoError(t, finished(t, m, c, 1000))
	advance(time.Hour)

	require.Equal(t, idempotent.Expired, stateOf(t, m, c))
	other := c
	other.Print[0]++
	require.Equal(t, idempotent.Mismatch, stateOf(t, m, other), "the print comes first here, too")
	require.Equal(t, idempotent.MemoryStats{Entries: 1, Bytes: 512}, m.Stats())
	require.ErrorIs(t, m.Renew(t.Context(), c.Own(), time.Minute), idempotent.ErrLost)
	advance(24 * time.Hour)
	require.Equal(t, idempotent.Acquired, stateOf(t, m, c))
}

// The lease of a claim in memory does not end by itself; with its run it does.
func TestTombstoneOfARunEnds(t *testing.T) {
	t.Parallel()
	var h counter
	m, advance := newMemory(&idempotent.MemoryOptions{Tombstones: 24 * time.Hour})
	mw := idempotent.New(m, idempotent.Global, nil)(&h)
	call(mw, "k", "")
	advance(24 * time.Hour)
	require.Contains(t, call(mw, "k", "").Body, "idempotency_response_unavailable")
	advance(24 * time.Hour)
	require.Equal(t, "run 2: ", call(mw, "k", "").Body)
}

// Services write "for ever" as the longest duration.
func TestMemoryForEver(t *testing.T) {
	t.Parallel()
	const ever = math.MaxInt64
	m, advance := newMemory(&idempotent.MemoryOptions{Tombstones: ever})
	advance(time.Hour)
	c := claimOf("p", 1)
	c.Lease, c.Retention = ever, ever
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.InFlight, stateOf(t, m, c))
	_, err = m.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.InFlight, stateOf(t, m, c))
	require.NoError(t, m.Renew(t.Context(), c.Own(), ever))
	require.Equal(t, idempotent.InFlight, stateOf(t, m, c))
	require.NoError(t, m.Finish(t.Context(), c.Own(), idempotent.Outcome{State: idempotent.Done, Retention: ever}))
	require.Equal(t, idempotent.Done, stateOf(t, m, c))

	c = claimOf("p", 2)
	require.NoError(t, finished(t, m, c, 0))
	advance(time.Hour)
	require.Equal(t, idempotent.Expired, stateOf(t, m, c))
}

func TestMemoryWithItsOwnClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := idempotent.NewMemory(nil)
		c := claimOf("p", 1)
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
		time.Sleep(time.Minute - time.Nanosecond)
		require.Equal(t, idempotent.InFlight, stateOf(t, m, c))
		time.Sleep(time.Nanosecond)
		require.Equal(t, idempotent.Acquired, stateOf(t, m, c))
		time.Sleep(time.Hour)
		require.ErrorIs(t, m.Mark(t.Context(), c.Own()), idempotent.ErrLost)
	})
}

func TestInvalidClaimsAreErrors(t *testing.T) {
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
}

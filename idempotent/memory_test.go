package idempotent_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
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

var (
	_ idempotent.Store         = (*idempotent.Memory)(nil)
	_ idempotent.Waiter        = (*idempotent.Memory)(nil)
	_ idempotent.Sweeper       = (*idempotent.Memory)(nil)
	_ idempotent.Resolver      = (*idempotent.Memory)(nil)
	_ idempotent.UnknownLister = (*idempotent.Memory)(nil)
	_ idempotent.LocalStore    = (*idempotent.Memory)(nil)
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

func TestMemoryKeepsTheRulesWhenItIsFull(t *testing.T) {
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

// claimOf is a claim for the n-th key of a principal.
func claimOf(principal string, n int) idempotent.Claim {
	return idempotent.Claim{
		ID:        idOf("", principal, fmt.Sprint(n)),
		Scope:     idOf("scope", principal, ""),
		Token:     idempotent.NewToken(),
		Lease:     time.Minute,
		Retention: time.Hour,
	}
}

// global is a claim for the n-th key of all callers.
func global(n int) idempotent.Claim {
	c := claimOf(idempotent.GlobalPrincipal, n)
	c.Scope = idempotent.ID{}
	return c
}

func done(response []byte) idempotent.Completion {
	return idempotent.Completion{State: idempotent.StateDone, Response: response, Retention: time.Hour}
}

// keyedWrite does what a keyed write does: it claims, runs if it may, and records. Where the
// response finds no room it records that it ran. It returns the verdict and the store's refusal
// of the claim.
func keyedWrite(t *testing.T, m *idempotent.Memory, c idempotent.Claim, response []byte) (idempotent.Verdict, error) {
	t.Helper()
	d, err := m.Acquire(t.Context(), c)
	if err != nil || d.Verdict != idempotent.VerdictAcquired {
		return d.Verdict, err
	}
	if err := m.Finish(t.Context(), c.Owner(), done(response)); err != nil {
		require.ErrorIs(t, err, idempotent.ErrFull)
		notKept := idempotent.Completion{State: idempotent.StateNotKept, Retention: time.Hour}
		require.NoError(t, m.Finish(t.Context(), c.Owner(), notKept))
	}
	return d.Verdict, nil
}

// recorded records a response, and returns the store's first refusal.
func recorded(t *testing.T, m *idempotent.Memory, c idempotent.Claim, response []byte) error {
	t.Helper()
	if _, err := m.Acquire(t.Context(), c); err != nil {
		return err
	}
	return m.Finish(t.Context(), c.Owner(), done(response))
}

// finished records a response of that size.
func finished(t *testing.T, m *idempotent.Memory, c idempotent.Claim, size int) error {
	t.Helper()
	return recorded(t, m, c, make([]byte, size))
}

// verdictOf is what another claim of the same key is told. It is 0 if the store has no room.
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

// Records: what a scope can have, and what it is told.

func TestScopeAloneUsesHalfOfMemory(t *testing.T) {
	t.Parallel()
	for bound, want := range map[int]int{1: 1, 2: 1, 3: 2, 10: 5, 11: 6, 1000: 500} {
		m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: bound})
		for i := range want {
			require.NoError(t, finished(t, m, claimOf("p", i), 0), "record %d of %d", i, bound)
		}

		err := finished(t, m, claimOf("p", want), 0)

		require.ErrorIs(t, err, idempotent.ErrFull)
		require.Equal(t, bound == 1, err == idempotent.ErrFull, "%d: %v", bound, err) //nolint:errorlint // ErrQuota matches ErrFull
		require.Equal(t, want, m.Stats().Records)
		for i := range want {
			require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("p", i)))
		}
	}
}

func TestScopesShareMemoryEquallyAndLeaveRoom(t *testing.T) {
	t.Parallel()
	for _, scopes := range []int{1, 2, 4, 9, 99} {
		m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: 1000})
		for i := range 1000 { // all of them ask for all
			for s := range scopes {
				if err := finished(t, m, claimOf(fmt.Sprint("p", s), i), 0); err != nil {
					require.ErrorIs(t, err, idempotent.ErrQuota)
				}
			}
		}
		for _, use := range m.Scopes() {
			require.InDelta(t, 1000/(scopes+1), use.Entries, 1)
		}
		require.NoError(t, finished(t, m, claimOf("newcomer", 0), 0))
	}
}

func TestFirstRecordOfAScopeIsRefusedOnlyByAFullMemory(t *testing.T) {
	t.Parallel()
	for _, bound := range []int{1, 2, 3, 10} {
		m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: bound})
		for i := range bound {
			require.NoError(t, finished(t, m, claimOf(fmt.Sprint("p", i), 0), 0))
		}
		err := finished(t, m, claimOf("one more", 0), 0)
		require.ErrorIs(t, err, idempotent.ErrFull)
		require.NotErrorIs(t, err, idempotent.ErrQuota)
		require.Len(t, m.Scopes(), bound, "a refused scope leaves nothing")
	}
}

func TestGlobalScopeHasNoShare(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10})
	for i := range 10 {
		require.NoError(t, finished(t, m, global(i), 0))
	}

	err := finished(t, m, global(10), 0)

	require.ErrorIs(t, err, idempotent.ErrFull)
	require.NotErrorIs(t, err, idempotent.ErrQuota)
	advance(time.Hour)
	require.NoError(t, finished(t, m, global(10), 0), "what is over its retention makes room")
}

func TestExpiredRecordsMakeRoomFirst(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10, EvictWhenFull: true})
	long := claimOf("p", 0) // keeps the others from being the oldest finished record
	_, err := m.Acquire(t.Context(), long)
	require.NoError(t, err)
	require.NoError(t, m.Finish(t.Context(), long.Owner(), idempotent.Completion{State: idempotent.StateDone, Retention: 24 * time.Hour}))
	for i := range 4 {
		require.NoError(t, finished(t, m, claimOf("p", i+1), 0))
	}
	advance(time.Hour)

	require.NoError(t, finished(t, m, claimOf("p", 5), 0))

	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, long))
	require.Equal(t, 2, m.Stats().Records)
	require.Zero(t, m.Stats().Evicted)
}

func TestExpiredResponsesMakeRoomFirst(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxBytes: 100_000})
	long := claimOf("p", 0) // keeps the next one from being the oldest finished record
	_, err := m.Acquire(t.Context(), long)
	require.NoError(t, err)
	c := done(make([]byte, 30_000))
	c.Retention = 24 * time.Hour
	require.NoError(t, m.Finish(t.Context(), long.Owner(), c))
	require.NoError(t, finished(t, m, claimOf("p", 1), 60_000))
	advance(time.Hour)

	require.NoError(t, finished(t, m, claimOf("p", 2), 60_000))

	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, long))
	require.Zero(t, m.Stats().Dropped)
}

// A flood of refused claims must not look at all records each time.
func TestFullMemoryIsSweptAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10})
	for i := range 10 {
		_, err := m.Acquire(t.Context(), global(i))
		require.NoError(t, err)
	}
	advance(time.Hour - time.Millisecond)
	require.ErrorIs(t, finished(t, m, global(10), 0), idempotent.ErrFull, "nothing is over yet")
	advance(time.Second - time.Millisecond)
	require.ErrorIs(t, finished(t, m, global(10), 0), idempotent.ErrFull)
	advance(time.Millisecond)
	require.NoError(t, finished(t, m, global(10), 0))
	require.Equal(t, 1, m.Stats().Records)
}

func TestEvictingMemoryForgetsTheOldestOfTheSameScope(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: 20, EvictWhenFull: true})
	older := claimOf("other", 0)
	require.NoError(t, finished(t, m, older, 100))
	running, unknown, notKept := claimOf("p", 100), claimOf("p", 101), claimOf("p", 102)
	for _, c := range []idempotent.Claim{running, unknown, notKept} {
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
	}
	require.NoError(t, m.BeginEffect(t.Context(), unknown.Owner()))
	require.NoError(t, m.Finish(t.Context(), unknown.Owner(), idempotent.Completion{State: idempotent.StateUnknown, Retention: time.Hour}))
	require.NoError(t, m.Finish(t.Context(), notKept.Owner(), idempotent.Completion{State: idempotent.StateNotKept, Retention: time.Hour}))

	for i := range 50 {
		require.NoError(t, finished(t, m, claimOf("p", i), 0))
	}

	// Of 20, the other has 1. So p can have 10, of which two are not finished.
	require.Equal(t, 11, m.Stats().Records)
	require.EqualValues(t, 50+3-10, m.Stats().Evicted)
	for i := 42; i < 50; i++ {
		require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("p", i)))
	}
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, older))
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, running))
	require.Equal(t, idempotent.VerdictUnknown, verdictOf(t, m, unknown))
	require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, notKept), "it was the oldest finished one")
}

func TestNewcomerEvictsNobody(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: 10, EvictWhenFull: true})
	for i := range 100 {
		require.NoError(t, finished(t, m, global(i), 0), "the scope of all callers evicts its own, too")
	}
	require.EqualValues(t, 90, m.Stats().Evicted)
	require.ErrorIs(t, finished(t, m, claimOf("newcomer", 0), 0), idempotent.ErrFull)
	require.EqualValues(t, 90, m.Stats().Evicted)
}

func TestRunningRecordsAreNeverEvicted(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10, EvictWhenFull: true})
	for i := range 10 {
		_, err := m.Acquire(t.Context(), global(i))
		require.NoError(t, err)
	}
	for range 2 {
		require.ErrorIs(t, finished(t, m, global(10), 0), idempotent.ErrFull)
		advance(30 * time.Minute) // their leases are over, their retention is not
	}
	require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, claimOf("p", 0)), "what is over its retention makes room")
}

// Bytes: whose responses are dropped.

func TestResponseThatIsDroppedLeavesItsStatusAndLocation(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: 10_000})
	first := claimOf("p", 0)
	_, err := keyedWrite(t, m, first, encoded(5000, true))
	require.NoError(t, err)
	_, err = keyedWrite(t, m, claimOf("p", 1), encoded(5000, true))
	require.NoError(t, err)

	again := first
	again.Token = idempotent.NewToken()
	d, err := m.Acquire(t.Context(), again)

	require.NoError(t, err)
	require.Equal(t, idempotent.VerdictNotKept, d.Verdict, "it must not run again")
	rest, err := idempotent.DecodeResponse(d.Response)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, rest.Status)
	require.Equal(t, http.Header{"Location": {"/v1/resources/1"}}, rest.Header)
	require.Equal(t, "req_1", rest.RequestID)
	require.Empty(t, rest.Body)
	again.Fingerprint[0]++
	require.Equal(t, idempotent.VerdictMismatch, verdictOf(t, m, again), "the fingerprint stays")
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("p", 1)))
	require.EqualValues(t, 1, m.Stats().Dropped)
	require.NoError(t, m.Finish(t.Context(), first.Owner(), done(nil)), "its owner's retry")
}

func TestWhatIsLeftOfAResponseIsSmall(t *testing.T) {
	t.Parallel()
	long := idempotent.Response{Status: http.StatusOK, Header: http.Header{"Location": {strings.Repeat("/", 4000)}}, Body: make([]byte, 5000)}
	for name, c := range map[string]struct{ response, rest []byte }{
		"a long Location":     {long.Encode(), idempotent.Response{Status: http.StatusOK}.Encode()},
		"not of this package": {make([]byte, 5000), nil},
		"already small":       {encoded(0, true), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const maxBytes, missing = 20_000, 10
			m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: maxBytes})
			require.NoError(t, recorded(t, m, claimOf("p", 0), c.response))
			require.NoError(t, recorded(t, m, claimOf("p", 1), make([]byte, maxBytes-2*512-len(c.response)+missing)))

			state, rest := m.Peek(claimOf("p", 0).ID)

			require.Equal(t, idempotent.StateNotKept, state)
			require.Equal(t, c.rest, rest)
		})
	}
}

func TestRoomIsTakenFromTheScopeThatUsesMost(t *testing.T) {
	t.Parallel()
	const kib = 1024
	type use struct {
		scope string
		sizes []int
	}
	for name, c := range map[string]struct {
		stored  []use
		by      string
		size    int
		dropped map[string]int // how many responses of each scope
		refused bool
	}{
		"there is room": {
			stored: []use{{"a", []int{40}}, {"b", []int{20}}},
			by:     "c", size: 30,
		},
		"from the biggest": {
			stored: []use{{"a", []int{20, 20, 20}}, {"b", []int{25}}},
			by:     "c", size: 20, dropped: map[string]int{"a": 1},
		},
		"from several, the biggest first": {
			stored: []use{{"a", []int{15, 15, 15}}, {"b", []int{20, 20}}},
			by:     "c", size: 30, dropped: map[string]int{"a": 1, "b": 1},
		},
		"from itself, if it is the biggest": {
			stored: []use{{"a", []int{20, 20, 20}}, {"b", []int{25}}},
			by:     "a", size: 20, dropped: map[string]int{"a": 1},
		},
		"from itself, if it would be the biggest": {
			stored: []use{{"a", []int{40}}, {"b", []int{20, 10}}},
			by:     "b", size: 30, dropped: map[string]int{"b": 1},
		},
		"from itself and from a bigger one": {
			stored: []use{{"a", []int{20, 20, 20}}, {"b", []int{10, 10}}},
			by:     "b", size: 45, dropped: map[string]int{"a": 1, "b": 2},
		},
		"an equal one keeps its own": {
			stored: []use{{"a", []int{40}}, {"b", []int{15, 10}}, {"c", []int{20}}},
			by:     "b", size: 15, dropped: map[string]int{"b": 1},
		},
		"a little from many": {
			stored: []use{{"a", []int{8, 17}}, {"b", []int{7, 17}}, {"c", []int{6, 17}}, {"d", []int{17}}},
			by:     "e", size: 17, dropped: map[string]int{"a": 1, "b": 1, "c": 1},
		},
		"nothing from smaller ones": {
			stored: []use{{"a", []int{20}}, {"b", []int{20}}, {"c", []int{20}}, {"d", []int{20}}},
			by:     "e", size: 25, refused: true,
		},
		"nothing from itself either, if that is not enough": {
			stored: []use{{"a", []int{20}}, {"b", []int{20}}, {"c", []int{20}}, {"d", []int{5, 5, 5}}},
			by:     "d", size: 45, refused: true,
		},
		"nothing from bigger ones, if that is not enough": {
			stored: []use{{"a", []int{20, 15}}, {"b", []int{25}}, {"c", []int{25}}},
			by:     "d", size: 34, refused: true,
		},
		"more than there is": {
			stored: []use{{"a", []int{20, 20, 20}}, {"b", []int{5}}},
			by:     "b", size: 200, refused: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			records := 1
			for _, u := range c.stored {
				records += len(u.sizes)
			}
			m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: int64(90*kib + 512*records)})
			for _, u := range c.stored {
				for i, size := range u.sizes {
					require.NoError(t, finished(t, m, claimOf(u.scope, i), size*kib))
				}
			}

			err := finished(t, m, claimOf(c.by, 99), c.size*kib)

			require.NoError(t, m.Check())
			if c.refused {
				require.ErrorIs(t, err, idempotent.ErrFull)
				require.NotErrorIs(t, err, idempotent.ErrQuota)
				require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, claimOf(c.by, 99)), "it is still running")
			} else {
				require.NoError(t, err)
			}
			for _, u := range c.stored {
				for i := range u.sizes {
					want := idempotent.StateDone
					if i < c.dropped[u.scope] {
						want = idempotent.StateNotKept
					}
					state, _ := m.Peek(claimOf(u.scope, i).ID)
					require.Equal(t, want, state, "response %d of %s", i, u.scope)
				}
			}
		})
	}
}

func TestCompletionWithoutAResponseIsNeverRefused(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: 10_000})
	require.NoError(t, finished(t, m, claimOf("p", 0), 8_900))
	c := claimOf("q", 1)
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.ErrorIs(t, m.Finish(t.Context(), c.Owner(), done(make([]byte, 8_990))), idempotent.ErrFull)
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))

	notKept := idempotent.Completion{State: idempotent.StateNotKept, Response: make([]byte, 9_000), Retention: time.Hour}
	require.NoError(t, m.Finish(t.Context(), c.Owner(), notKept))

	require.Equal(t, idempotent.VerdictNotKept, verdictOf(t, m, c))
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("p", 0)))
	require.NoError(t, m.Check())
}

func TestRecordsAloneNeverUseUpTheBytes(t *testing.T) {
	t.Parallel()
	for _, o := range []idempotent.MemoryOptions{
		{MaxBytes: 100_000},
		{MaxRecords: -1, MaxBytes: 100_000},
		{MaxRecords: 1000, MaxBytes: 100_000},
	} {
		m, _ := newMemory(&o)
		n := 0
		for ; verdictOf(t, m, global(n)) != 0; n++ {
		}
		require.Equal(t, 97, n)
		require.LessOrEqual(t, m.Stats().Bytes, int64(50_000))
	}
}

func TestNewRecordFindsRoomAmongResponses(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: 100_000})
	for i := range 9 {
		require.NoError(t, finished(t, m, claimOf("big", i), 10_000))
	}
	require.NoError(t, finished(t, m, claimOf("small", 0), 1_000))
	for i := range 40 {
		require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, claimOf("running", i)))
	}
	require.NoError(t, m.Check())
	require.EqualValues(t, 2, m.Stats().Dropped)
	require.Equal(t, idempotent.VerdictNotKept, verdictOf(t, m, claimOf("big", 1)))
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("big", 2)))
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("small", 0)))
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

// Attacks.

// Each account held a quarter of the bytes, and none was left for another tenant.
func TestFewTenantsWithBigResponsesHarmNobody(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(nil)
	small := encoded(2000, true)
	big := encoded(1<<20-200, false)
	victims := 0
	victim := func() {
		v, err := keyedWrite(t, m, claimOf("victim", victims), small)
		require.NoError(t, err, "write %d is refused", victims)
		require.Equal(t, idempotent.VerdictAcquired, v)
		victims++
	}
	for i := range 1408 {
		for account := range 4 {
			_, err := keyedWrite(t, m, claimOf(fmt.Sprint("account ", account), i), big)
			require.NoError(t, err, "they are not refused either: their oldest responses make room")
		}
		if i%4 == 0 {
			victim()
		}
	}

	for i := range victims {
		require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("victim", i)), "the response of write %d", i)
	}
	for i := range 1408 {
		for account := range 4 {
			require.NotEqual(t, idempotent.VerdictAcquired, verdictOf(t, m, claimOf(fmt.Sprint("account ", account), i)), "ran twice")
		}
	}
	require.NoError(t, m.Check())
	require.Greater(t, m.Stats().Bytes, int64(200<<20), "what there is is used")
}

// With EvictWhenFull, the oldest record of anyone was forgotten.
func TestFewTenantsDoNotEvictAnother(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]idempotent.MemoryOptions{
		"by bytes":   {EvictWhenFull: true},
		"by records": {MaxRecords: 100, EvictWhenFull: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, _ := newMemory(&o)
			big := encoded(1<<20-200, false)
			for i := range 10 {
				_, err := keyedWrite(t, m, claimOf("victim", i), encoded(2000, true))
				require.NoError(t, err)
			}
			for i := range 90 {
				for account := range 5 {
					_, err := keyedWrite(t, m, claimOf(fmt.Sprint("account ", account), i), big)
					require.NoError(t, err)
				}
			}
			for i := range 10 {
				require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("victim", i)))
			}
			v, err := keyedWrite(t, m, claimOf("victim", 10), encoded(2000, true))
			require.NoError(t, err)
			require.Equal(t, idempotent.VerdictAcquired, v)
			require.NoError(t, m.Check())
		})
	}
}

// A shard that gets all of a client's keys would refuse new ones long before the store is full.
// The hash is seeded, so what meets in one shard of a store does not in another one's.
func TestKeysCannotBeAimedAtAShard(t *testing.T) {
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

func TestFloodStaysWithinTheBounds(t *testing.T) {
	t.Parallel()
	const entries, bytes = 20_000, 64 << 20
	m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: entries, MaxBytes: bytes})
	response := encoded(4000, false)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				_, _ = keyedWrite(t, m, claimOf(fmt.Sprint("principal ", g, " ", i%50), i), response)
			}
		})
	}
	wg.Wait()
	s := m.Stats()
	require.LessOrEqual(t, s.Records, entries)
	require.LessOrEqual(t, s.Bytes, int64(bytes))
	require.Greater(t, s.Bytes, int64(bytes)*9/10, "the shards fill evenly")
	require.NoError(t, m.Check())
}

// What the store gives back, wakes and keeps.

func TestUnboundedMemoryRefusesNothing(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: -1, MaxBytes: -1})
	for i := range 2000 {
		require.NoError(t, finished(t, m, claimOf("p", i), 100))
	}
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
	require.NoError(t, m.Check())
	require.NotContains(t, m.Scopes(), c.Scope)
	advance(time.Hour)
	_, err = m.Sweep(t.Context(), 0)
	require.NoError(t, err)
	require.Zero(t, m.Stats())
}

func TestMemoryGivesBackWhatItHeld(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(nil)
	states := []idempotent.State{idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent}
	for i := range 3000 {
		c := claimOf(fmt.Sprint(i%7), i)
		if i%7 == 0 {
			c.Scope = idempotent.ID{}
		}
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
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

// The buffer of a response may have much room to spare, which no bound would count. Otherwise
// the bytes are not copied: nobody changes them.
func TestMemoryKeepsNoMoreOfAResponseThanItCounts(t *testing.T) {
	t.Parallel()
	for spare, copied := range map[int]bool{0: false, 100: false, 1000: true} {
		m := idempotent.NewMemory(nil)
		c := claimOf("p", 0)
		response := make([]byte, 1000, 1000+spare)
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, m.Finish(t.Context(), c.Owner(), done(response)))
		c.Token = idempotent.NewToken()

		d, err := m.Acquire(t.Context(), c)

		require.NoError(t, err)
		require.Equal(t, response, d.Response)
		require.Equal(t, len(d.Response), cap(d.Response), "an append cannot reach what others read")
		require.Equal(t, copied, &response[0] != &d.Response[0])
	}
}

func TestNewRecordsPayForOldOnes(t *testing.T) {
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

func TestWaitersOfMemoryAreWoken(t *testing.T) {
	t.Parallel()
	for _, state := range []idempotent.State{idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent} {
		for _, begun := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				m := idempotent.NewMemory(nil)
				c := claimOf("p", 1)
				_, err := m.Acquire(t.Context(), c)
				require.NoError(t, err)
				if begun {
					require.NoError(t, m.BeginEffect(t.Context(), c.Owner()))
				}
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() { require.NoError(t, m.Wait(t.Context(), c.ID)) })
				}
				synctest.Wait() // all of them wait
				require.NoError(t, m.Finish(t.Context(), c.Owner(), idempotent.Completion{State: state, Retention: time.Hour}))
				wg.Wait()
			})
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := idempotent.NewMemory(nil)
		c := claimOf("p", 1)
		require.NoError(t, m.Wait(t.Context(), c.ID), "nothing runs")
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, m.Wait(ctx, c.ID), context.DeadlineExceeded)
	})
}

// A mark that was rolled back together with its effect must not leave an unknown outcome.
func TestUnknownWithoutAnEffectIsAbsent(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(nil)
	unknown := idempotent.Completion{State: idempotent.StateUnknown, Retention: time.Hour}
	c := claimOf("p", 0)
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)

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
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
		if i < 5 { // runs on, without an effect
			continue
		}
		require.NoError(t, m.BeginEffect(t.Context(), c.Owner()))
		if i < 10 { // its process is gone
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
	require.Len(t, list, 5, "leases are still alive")
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

// Services write "forever" as the longest duration.
func TestMemoryForever(t *testing.T) {
	t.Parallel()
	const forever = math.MaxInt64
	m, advance := newMemory(nil)
	advance(time.Hour)
	c := claimOf("p", 1)
	c.Lease, c.Retention = forever, forever
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
	_, err = m.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
	require.NoError(t, m.Renew(t.Context(), c.Owner(), forever))
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
	require.NoError(t, m.Finish(t.Context(), c.Owner(), idempotent.Completion{State: idempotent.StateDone, Retention: forever}))
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, c))
}

func TestMemoryWithItsOwnClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := idempotent.NewMemory(nil)
		require.True(t, m.Local())
		c := claimOf("p", 1)
		_, err := m.Acquire(t.Context(), c)
		require.NoError(t, err)
		time.Sleep(time.Minute - time.Nanosecond)
		require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))
		time.Sleep(time.Nanosecond)
		require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, c))
		time.Sleep(time.Hour)
		require.ErrorIs(t, m.BeginEffect(t.Context(), c.Owner()), idempotent.ErrLost)
	})
}

func TestInvalidArgumentsAreErrorsAndChangeNothing(t *testing.T) {
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
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)
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
	unknown := idempotent.Completion{State: idempotent.StateUnknown, Retention: time.Hour}
	require.NoError(t, m.Finish(t.Context(), c.Owner(), unknown))
	require.Error(t, m.Resolve(t.Context(), c.ID, unknown))
	require.Equal(t, idempotent.VerdictUnknown, verdictOf(t, m, c))
}

func TestCanceledCallsChangeNothing(t *testing.T) {
	t.Parallel()
	m := idempotent.NewMemory(nil)
	c := claimOf("p", 1)
	_, err := m.Acquire(t.Context(), c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Acquire(ctx, claimOf("p", 2))
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

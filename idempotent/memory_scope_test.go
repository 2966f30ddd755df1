package idempotent_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestOneScopeUsesHalfOfTheRecords(t *testing.T) {
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

func TestScopesShareRecordsEqually(t *testing.T) {
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
		require.Len(t, m.Scopes(), bound, "a refused scope is not kept")
	}
}

func TestGlobalScopeHasNoQuota(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10})
	for i := range 10 {
		require.NoError(t, finished(t, m, global(i), 0))
	}

	err := finished(t, m, global(10), 0)

	require.ErrorIs(t, err, idempotent.ErrFull)
	require.NotErrorIs(t, err, idempotent.ErrQuota)
	advance(time.Hour)
	require.NoError(t, finished(t, m, global(10), 0), "an expired record makes room")
}

func TestRecordStaysInItsScope(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(nil)
	c := claimOf("p", 1)
	acquire(t, m, c)
	advance(2 * time.Minute)
	c.Token, c.Scope = idempotent.NewToken(), idempotent.ID{9}
	require.NoError(t, finished(t, m, c, 100))
	require.NoError(t, m.Check())
	require.NotContains(t, m.Scopes(), c.Scope)
	advance(time.Hour)
	_, err := m.Sweep(t.Context(), 0)
	require.NoError(t, err)
	require.Zero(t, m.Stats())
}

func TestExpiredRecordsMakeRoomFirst(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10, EvictWhenFull: true})
	long := claimOf("p", 0) // the oldest record does not expire
	acquire(t, m, long)
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
	long := claimOf("p", 0) // the oldest record does not expire
	acquire(t, m, long)
	c := done(make([]byte, 30_000))
	c.Retention = 24 * time.Hour
	require.NoError(t, m.Finish(t.Context(), long.Owner(), c))
	require.NoError(t, finished(t, m, claimOf("p", 1), 60_000))
	advance(time.Hour)

	require.NoError(t, finished(t, m, claimOf("p", 2), 60_000))

	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, long))
	require.Zero(t, m.Stats().Dropped)
}

// Refused claims must not search all records each time.
func TestFullMemoryIsSweptAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10})
	for i := range 10 {
		acquire(t, m, global(i))
	}
	advance(time.Hour - time.Millisecond)
	require.ErrorIs(t, finished(t, m, global(10), 0), idempotent.ErrFull, "nothing has expired")
	advance(time.Second - time.Millisecond)
	require.ErrorIs(t, finished(t, m, global(10), 0), idempotent.ErrFull)
	advance(time.Millisecond)
	require.NoError(t, finished(t, m, global(10), 0))
	require.Equal(t, 1, m.Stats().Records)
}

func TestEvictionTakesTheOldestOfTheSameScope(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: 20, EvictWhenFull: true})
	older := claimOf("other", 0)
	require.NoError(t, finished(t, m, older, 100))
	running, unknown, notKept := claimOf("p", 100), claimOf("p", 101), claimOf("p", 102)
	for _, c := range []idempotent.Claim{running, unknown, notKept} {
		acquire(t, m, c)
	}
	require.NoError(t, m.BeginEffect(t.Context(), unknown.Owner()))
	require.NoError(t, m.Finish(t.Context(), unknown.Owner(), completion(idempotent.StateUnknown)))
	require.NoError(t, m.Finish(t.Context(), notKept.Owner(), completion(idempotent.StateNotKept)))

	for i := range 50 {
		require.NoError(t, finished(t, m, claimOf("p", i), 0))
	}

	// The other scope has 1 of 20, so p can have 10. Two of these are not finished.
	require.Equal(t, 11, m.Stats().Records)
	require.EqualValues(t, 50+3-10, m.Stats().Evicted)
	for i := 42; i < 50; i++ {
		require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("p", i)))
	}
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, older))
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, running))
	require.Equal(t, idempotent.VerdictUnknown, verdictOf(t, m, unknown))
	require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, notKept), "the oldest finished one was evicted")
}

func TestNewScopeEvictsNoOther(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxRecords: 10, EvictWhenFull: true})
	for i := range 100 {
		require.NoError(t, finished(t, m, global(i), 0), "the global scope evicts its own records")
	}
	require.EqualValues(t, 90, m.Stats().Evicted)
	require.ErrorIs(t, finished(t, m, claimOf("newcomer", 0), 0), idempotent.ErrFull)
	require.EqualValues(t, 90, m.Stats().Evicted)
}

func TestRunningRecordsAreNeverEvicted(t *testing.T) {
	t.Parallel()
	m, advance := newMemory(&idempotent.MemoryOptions{MaxRecords: 10, EvictWhenFull: true})
	for i := range 10 {
		acquire(t, m, global(i))
	}
	for range 2 {
		require.ErrorIs(t, finished(t, m, global(10), 0), idempotent.ErrFull)
		advance(30 * time.Minute) // their leases are over, but not their retention
	}
	require.Equal(t, idempotent.VerdictAcquired, verdictOf(t, m, claimOf("p", 0)), "an expired record makes room")
}

func TestDroppedResponseLeavesItsStatusAndLocation(t *testing.T) {
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
	require.NoError(t, m.Finish(t.Context(), first.Owner(), done(nil)), "a retry of its owner")
}

func TestRestOfADroppedResponseIsSmall(t *testing.T) {
	t.Parallel()
	long := idempotent.Response{Status: http.StatusOK, Header: http.Header{"Location": {strings.Repeat("/", 4000)}}, Body: make([]byte, 5000)}
	for name, c := range map[string]struct{ response, rest []byte }{
		"a long Location":     {encode(long), encode(idempotent.Response{Status: http.StatusOK})},
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
		"nothing from itself, if that is not enough": {
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
				require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, claimOf(c.by, 99)), "the record is still running")
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
	acquire(t, m, c)
	require.ErrorIs(t, m.Finish(t.Context(), c.Owner(), done(make([]byte, 8_990))), idempotent.ErrFull)
	require.Equal(t, idempotent.VerdictRunning, verdictOf(t, m, c))

	notKept := idempotent.Completion{State: idempotent.StateNotKept, Response: make([]byte, 9_000), Retention: time.Hour}
	require.NoError(t, m.Finish(t.Context(), c.Owner(), notKept))

	require.Equal(t, idempotent.VerdictNotKept, verdictOf(t, m, c))
	require.Equal(t, idempotent.VerdictDone, verdictOf(t, m, claimOf("p", 0)))
	require.NoError(t, m.Check())
}

func TestResolutionWithoutRoomIsRefused(t *testing.T) {
	t.Parallel()
	m, _ := newMemory(&idempotent.MemoryOptions{MaxBytes: 10_000})
	require.NoError(t, finished(t, m, claimOf("p", 0), 8_900))
	c := claimOf("q", 1)
	acquire(t, m, c)
	require.NoError(t, m.BeginEffect(t.Context(), c.Owner()))
	require.NoError(t, m.Finish(t.Context(), c.Owner(), completion(idempotent.StateUnknown)))

	require.ErrorIs(t, m.Resolve(t.Context(), c.ID, done(make([]byte, 8_990))), idempotent.ErrFull)
	require.Equal(t, idempotent.VerdictUnknown, verdictOf(t, m, c))
	require.NoError(t, m.Resolve(t.Context(), c.ID, completion(idempotent.StateNotKept)))
	require.Equal(t, idempotent.VerdictNotKept, verdictOf(t, m, c))
}

func TestRecordsLeaveBytesForResponses(t *testing.T) {
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

func TestNewRecordTakesRoomFromResponses(t *testing.T) {
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

func TestBigResponsesDoNotHarmOtherScopes(t *testing.T) {
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
			require.NoError(t, err, "their own oldest responses make room")
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
			require.NotEqual(t, idempotent.VerdictAcquired, verdictOf(t, m, claimOf(fmt.Sprint("account ", account), i)), "it would run twice")
		}
	}
	require.NoError(t, m.Check())
	require.Greater(t, m.Stats().Bytes, int64(200<<20), "the room is used")
}

func TestScopesDoNotEvictOneAnother(t *testing.T) {
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

func TestMemoryStaysWithinItsBounds(t *testing.T) {
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

package idempotent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// modelRecord is what the documentation of Store says of one record.
type modelRecord struct {
	claim    idempotent.Claim
	state    idempotent.State
	begun    bool
	attempt  int
	lease    time.Duration
	expires  time.Duration
	response []byte
	finished int // its place in the order in which records were finished
}

// at is the record at a time, nil when it is gone.
func (r *modelRecord) at(now time.Duration) *modelRecord {
	if r == nil || now < r.expires || r.state == idempotent.StateRunning && now < r.lease {
		return r
	}
	return nil
}

func (r *modelRecord) acquire(c idempotent.Claim, now time.Duration) (*modelRecord, idempotent.Decision) {
	switch {
	case r == nil:
		r = &modelRecord{claim: c, state: idempotent.StateRunning}
	case r.claim.Fingerprint != c.Fingerprint:
		return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch}
	case r.state == idempotent.StateDone:
		return r, idempotent.Decision{Verdict: idempotent.VerdictDone, Response: r.response}
	case r.state == idempotent.StateNotKept:
		return r, idempotent.Decision{Verdict: idempotent.VerdictNotKept, Response: r.response}
	case r.unknown(now) && (r.state == idempotent.StateUnknown || r.claim.Token != c.Token):
		return r, idempotent.Decision{Verdict: idempotent.VerdictUnknown}
	case r.claim.Token == c.Token:
		r.lease = now + c.Lease
		return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.attempt}
	case now < r.lease:
		return r, idempotent.Decision{Verdict: idempotent.VerdictRunning, LeaseLeft: r.lease - now}
	}
	r.claim.Token = c.Token
	r.attempt++
	r.lease, r.expires = now+c.Lease, now+c.Retention
	return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.attempt}
}

func (r *modelRecord) unknown(now time.Duration) bool {
	return r != nil && (r.state == idempotent.StateUnknown || r.state == idempotent.StateRunning && r.begun && now >= r.lease)
}

func (r *modelRecord) isFinished() bool {
	return r.state == idempotent.StateDone || r.state == idempotent.StateNotKept
}

// finish ends a run, or an unknown state.
func (r *modelRecord) finish(c idempotent.Completion, now time.Duration, n int) *modelRecord {
	if c.State == idempotent.StateAbsent || c.State == idempotent.StateUnknown && !r.begun {
		return nil
	}
	r.state, r.response, r.expires, r.finished = c.State, c.Response, now+c.Retention, n
	return r
}

const (
	modelEntries = 12
	modelBytes   = 12 * 1024
)

func TestMemoryAgainstAModel(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]idempotent.MemoryOptions{
		"refusing":        {MaxRecords: modelEntries, MaxBytes: modelBytes},
		"evicting":        {MaxRecords: modelEntries, MaxBytes: modelBytes, EvictWhenFull: true},
		"unbounded":       {MaxRecords: -1, MaxBytes: -1},
		"bytes unbounded": {MaxRecords: modelEntries, MaxBytes: -1, EvictWhenFull: true},
	} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				t.Parallel()
				againstAModel(t, o, rand.New(rand.NewPCG(seed, 0)))
			})
		}
	}
}

// modelScope is the scope of the n-th key. The first is that of all callers.
func modelScope(n int) (scope idempotent.ID) {
	if n%4 != 0 {
		scope[0] = byte(n % 4)
	}
	return scope
}

func againstAModel(t *testing.T, o idempotent.MemoryOptions, random *rand.Rand) {
	t.Helper()
	m := idempotent.NewMemory(&o)
	now := time.Duration(0)
	m.SetNow(func() time.Duration { return now })
	model := make(map[idempotent.ID]*modelRecord)
	durations := []time.Duration{time.Second, time.Minute, time.Hour, 100 * 365 * 24 * time.Hour}
	states := []idempotent.State{
		idempotent.StateDone, idempotent.StateDone, idempotent.StateDone,
		idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent,
	}
	var refused, dropped, evicted int

	for step := range 1500 {
		n := random.IntN(20)
		c := claimOf("p", n)
		c.Scope = modelScope(n)
		c.Fingerprint[0] = byte(random.IntN(8) / 7)
		c.Lease, c.Retention = durations[random.IntN(4)], durations[random.IntN(3)]
		completion := idempotent.Completion{State: states[random.IntN(len(states))], Retention: durations[random.IntN(3)]}
		switch completion.State {
		case idempotent.StateDone:
			completion.Response = encoded(random.IntN(5000), random.IntN(2) == 0)
		case idempotent.StateNotKept:
			completion.Response = encoded(0, true)
		}
		r := model[c.ID].at(now)
		if r != nil && r.claim.Token != (idempotent.Token{}) && random.IntN(4) > 0 {
			c.Token = r.claim.Token
		}
		owned := r != nil && r.claim.Token == c.Token
		runs := owned && r.state == idempotent.StateRunning
		op := opOf{state: map[idempotent.ID]modelRecord{}, claim: c, before: m.Scopes(), entries: m.Stats().Records}
		for id, r := range model {
			op.state[id] = *r
		}

		var err, want error
		switch random.IntN(12) {
		case 0, 1, 2:
			var d, expected idempotent.Decision
			if d, err = m.Acquire(t.Context(), c); err == nil {
				op.added = r == nil
				r, expected = r.acquire(c, now)
				require.Equal(t, expected, d)
			} else {
				require.Nil(t, r, "only a new record needs room")
				requireRefusal(t, m, o, c, err)
				for _, other := range model {
					own := other.at(now) != nil && other.claim.Scope == c.Scope
					require.False(t, o.EvictWhenFull && own && other.isFinished(), "refused although one could be evicted")
				}
				refused++
				want = err
			}
		case 3, 4, 10, 11:
			err = m.Finish(t.Context(), c.Owner(), completion)
			switch absence := completion.State == idempotent.StateAbsent || completion.State == idempotent.StateUnknown; {
			case runs && errors.Is(err, idempotent.ErrFull):
				requireNoRoom(t, m, r, completion)
				op.unchanged, want = true, err
			case runs:
				op.finished, op.size = r, len(completion.Response)
				r = r.finish(completion, now, step)
			case !owned && (r != nil || !absence):
				want = idempotent.ErrLost
			}
		case 5:
			err = m.Renew(t.Context(), c.Owner(), c.Lease)
			if runs {
				r.lease = now + c.Lease
			} else {
				want = idempotent.ErrLost
			}
		case 6:
			err = m.BeginEffect(t.Context(), c.Owner())
			if runs {
				r.begun = true
			} else {
				want = idempotent.ErrLost
			}
		case 7:
			if completion.State == idempotent.StateUnknown {
				continue
			}
			err = m.Resolve(t.Context(), c.ID, completion)
			switch {
			case !r.unknown(now):
				want = idempotent.ErrNotUnknown
			case errors.Is(err, idempotent.ErrFull):
				requireNoRoom(t, m, r, completion)
				op.unchanged, want = true, err
			default:
				r.claim.Token = idempotent.Token{} // nobody's
				op.finished, op.size = r, len(completion.Response)
				r = r.finish(completion, now, step)
			}
		case 8:
			_, err = m.Sweep(t.Context(), random.IntN(4))
		case 9:
			if random.IntN(8) > 0 {
				continue
			}
			now += durations[random.IntN(3)] / time.Duration(1+random.IntN(3))
		}

		require.ErrorIs(t, err, want)
		require.NoError(t, m.Check())
		if model[c.ID] = r; r == nil {
			delete(model, c.ID)
		}
		d, e := op.settle(t, m, o, model, now)
		dropped, evicted = dropped+d, evicted+e
		requireUnknowns(t, m, model, now)
	}

	require.Equal(t, o.MaxBytes < 0, dropped == 0, "responses are dropped only where bytes are bounded")
	require.Equal(t, !o.EvictWhenFull, evicted == 0)
	require.Equal(t, o.MaxRecords < 0, refused == 0)
}

// requireRefusal checks that a new record is refused only if its scope has no room left.
func requireRefusal(t *testing.T, m *idempotent.Memory, o idempotent.MemoryOptions, c idempotent.Claim, err error) {
	t.Helper()
	free := o.MaxRecords - m.Stats().Records
	if errors.Is(err, idempotent.ErrQuota) {
		require.NotZero(t, c.Scope, "the scope of all callers has no share")
		require.GreaterOrEqual(t, m.Scopes()[c.Scope].Entries, free)
		require.Positive(t, free)
		return
	}
	require.ErrorIs(t, err, idempotent.ErrFull)
	require.Zero(t, free)
}

// requireNoRoom checks that a response is refused only if its scope would use more with it than
// the others do, whatever was dropped.
func requireNoRoom(t *testing.T, m *idempotent.Memory, r *modelRecord, c idempotent.Completion) {
	t.Helper()
	require.Equal(t, idempotent.StateDone, c.State, "other completions are never refused")
	size := int64(len(c.Response))
	room := modelBytes - m.Stats().Bytes
	for scope, use := range m.Scopes() {
		if scope == r.claim.Scope {
			room += use.Bytes
		} else {
			room += max(0, use.Bytes-size)
		}
	}
	require.Less(t, room, size, "refused although there was room")
}

// requireUnknowns checks the list of unknown records, read in pages.
func requireUnknowns(t *testing.T, m *idempotent.Memory, model map[idempotent.ID]*modelRecord, now time.Duration) {
	t.Helper()
	want := make(map[idempotent.ID]idempotent.UnknownRecord)
	for id, r := range model {
		if r.unknown(now) {
			want[id] = idempotent.UnknownRecord{ID: id, Scope: r.claim.Scope, Attempt: r.attempt, Left: r.expires - now}
		}
	}
	var after idempotent.ID
	for {
		page, err := m.ListUnknown(t.Context(), after, 3)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), 3)
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			require.Greater(t, u.ID.String(), after.String())
			require.Equal(t, want[u.ID], u)
			delete(want, u.ID)
			after = u.ID
		}
	}
	require.Empty(t, want)
}

// opOf is one operation, and what it found.
type opOf struct {
	claim     idempotent.Claim
	state     map[idempotent.ID]modelRecord
	before    map[idempotent.ID]idempotent.ScopeUse
	entries   int
	added     bool         // a record
	finished  *modelRecord // the record that the operation has ended
	size      int          // of its response
	unchanged bool         // it was refused, and must have dropped nothing
}

// settle compares the store to the model, and takes over into the model what the store has
// dropped and evicted, if that was right.
func (op opOf) settle(t *testing.T, m *idempotent.Memory, o idempotent.MemoryOptions, model map[idempotent.ID]*modelRecord, now time.Duration) (dropped, evicted int) {
	t.Helper()
	losers, all := make(map[idempotent.ID]bool), make(map[idempotent.ID]bool)
	for id, r := range model {
		if r.at(now) == nil {
			delete(model, id)
			continue
		}
		state, response := m.Peek(id)
		switch {
		case state == idempotent.StateAbsent:
			require.True(t, o.EvictWhenFull && op.added && r.isFinished() && r.claim.Scope == op.claim.Scope, "what was evicted")
			for _, other := range op.state {
				if other.at(now) != nil && other.isFinished() && other.claim.Scope == r.claim.Scope {
					require.LessOrEqual(t, r.finished, other.finished, "the oldest is evicted")
				}
			}
			evicted++
			delete(model, id)
		case state == r.state && string(response) == string(r.response):
		case state == idempotent.StateNotKept && r.state == idempotent.StateDone:
			if !isRest(t, r.response, response) {
				all[r.claim.Scope] = true
			}
			dropped++
			losers[r.claim.Scope] = true
			r.state, r.response = state, response
		case state == idempotent.StateNotKept && r.state == state && response == nil:
			if r != op.finished { // one that finds no room is not a loss of its scope
				losers[r.claim.Scope], all[r.claim.Scope] = true, true
			}
			r.response = nil
		default:
			require.Fail(t, "the store differs", "%s %q, want %s %q", state, response, r.state, r.response)
		}
	}
	require.LessOrEqual(t, evicted, 1, "one for one")
	if o.MaxRecords < 0 {
		require.Zero(t, dropped)
		return dropped, evicted
	}
	if op.unchanged {
		require.Empty(t, losers)
	}

	use := m.Scopes()
	if op.added && evicted == 0 && op.claim.Scope != (idempotent.ID{}) {
		free := o.MaxRecords - (m.Stats().Records - 1)
		require.Less(t, use[op.claim.Scope].Entries-1, free, "more than its share")
	}
	for scope := range losers {
		most := op.before[scope].Bytes
		if op.finished != nil && op.finished.claim.Scope == scope {
			most += int64(op.size)
		}
		for _, other := range use {
			require.LessOrEqual(t, other.Bytes, most, "a scope lost a response, and another one uses more")
		}
		oldest := -1 // of the responses that the scope still has
		for _, r := range model {
			if r.claim.Scope == scope && r.state == idempotent.StateDone && len(r.response) > 0 && (oldest < 0 || r.finished < oldest) {
				require.True(t, !all[scope] || r == op.finished, "a scope with other responses lost what was left of one")
				oldest = r.finished
			}
		}
		for id, was := range op.state {
			if r := model[id]; oldest >= 0 && r != nil && r.claim.Scope == scope && was.state == idempotent.StateDone && r.state != was.state {
				require.Less(t, r.finished, oldest, "the oldest responses are dropped first")
			}
		}
	}
	return dropped, evicted
}

// encoded is a response with a body of that size.
func encoded(size int, location bool) []byte {
	r := idempotent.Response{
		Status:    http.StatusCreated,
		Header:    http.Header{"Content-Type": {"text/plain"}},
		Body:      []byte(strings.Repeat("b", size)),
		RequestID: "req_1",
	}
	if location {
		r.Header.Set("Location", "/v1/resources/1")
	}
	return r.Encode()
}

// isRest checks what is left of a response that was dropped. It reports whether that is all that
// there should be.
func isRest(t *testing.T, response, rest []byte) bool {
	t.Helper()
	if len(rest) == 0 {
		return len(response) < 200 // a small one leaves nothing
	}
	was, err := idempotent.DecodeResponse(response)
	require.NoError(t, err)
	is, err := idempotent.DecodeResponse(rest)
	require.NoError(t, err)
	require.LessOrEqual(t, 2*len(rest), len(response))
	require.Equal(t, was.Status, is.Status)
	require.Equal(t, was.RequestID, is.RequestID)
	require.Equal(t, was.Header.Values("Location"), is.Header.Values("Location"))
	require.Empty(t, is.Header.Get("Content-Type"))
	require.Empty(t, is.Body)
	return true
}

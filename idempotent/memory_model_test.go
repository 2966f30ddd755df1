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

// modelRecord is a record as the documentation of Store describes it.
type modelRecord struct {
	claim    idempotent.Claim
	state    idempotent.State
	begun    bool
	attempt  int
	lease    time.Duration
	expires  time.Duration
	response []byte
	finished int // the step that finished it
}

// at returns the record at a time. It is nil if it has expired.
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

// finish ends a run or resolves an unknown outcome.
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

// modelScope returns the scope of the n-th key. The first is the global one.
func modelScope(n int) (scope idempotent.ID) {
	if n%4 != 0 {
		scope[0] = byte(n % 4)
	}
	return scope
}

// modelTest performs random operations on a store and on its model.
type modelTest struct {
	*testing.T
	store  *idempotent.Memory
	o      idempotent.MemoryOptions
	random *rand.Rand
	now    time.Duration
	model  map[idempotent.ID]*modelRecord

	refused, dropped, evicted int
}

func againstAModel(t *testing.T, o idempotent.MemoryOptions, random *rand.Rand) {
	t.Helper()
	m := &modelTest{T: t, store: idempotent.NewMemory(&o), o: o, random: random, model: make(map[idempotent.ID]*modelRecord)}
	m.store.SetNow(func() time.Duration { return m.now })
	for step := range 1500 {
		m.step(step)
	}
	require.Equal(t, o.MaxBytes < 0, m.dropped == 0, "responses are dropped only if bytes are bounded")
	require.Equal(t, !o.EvictWhenFull, m.evicted == 0)
	require.Equal(t, o.MaxRecords < 0, m.refused == 0)
}

// modelOp is an operation and the state before it.
type modelOp struct {
	step       int
	claim      idempotent.Claim
	completion idempotent.Completion
	owned      bool // the claim has the token of the record
	runs       bool // and the record is running
	records    map[idempotent.ID]modelRecord
	use        map[idempotent.ID]idempotent.ScopeUse

	added     bool         // it has added a record
	finished  *modelRecord // it has finished this record
	unchanged bool         // it was refused, so nothing may have been dropped
}

var modelDurations = []time.Duration{time.Second, time.Minute, time.Hour, 100 * 365 * 24 * time.Hour}

// newOp returns a random operation, and the record that it is about.
func (m *modelTest) newOp(step int) (*modelOp, *modelRecord) {
	n := m.random.IntN(20)
	c := claimOf("p", n)
	c.Scope = modelScope(n)
	c.Fingerprint[0] = byte(m.random.IntN(8) / 7)
	c.Lease, c.Retention = modelDurations[m.random.IntN(4)], modelDurations[m.random.IntN(3)]
	r := m.model[c.ID].at(m.now)
	if r != nil && r.claim.Token != (idempotent.Token{}) && m.random.IntN(4) > 0 {
		c.Token = r.claim.Token
	}
	op := &modelOp{step: step, claim: c, completion: m.newCompletion(), use: m.store.Scopes(), records: map[idempotent.ID]modelRecord{}}
	op.owned = r != nil && r.claim.Token == c.Token
	op.runs = op.owned && r.state == idempotent.StateRunning
	for id, r := range m.model {
		op.records[id] = *r
	}
	return op, r
}

func (m *modelTest) newCompletion() idempotent.Completion {
	states := []idempotent.State{
		idempotent.StateDone, idempotent.StateDone, idempotent.StateDone,
		idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent,
	}
	c := idempotent.Completion{State: states[m.random.IntN(len(states))], Retention: modelDurations[m.random.IntN(3)]}
	switch c.State {
	case idempotent.StateDone:
		c.Response = encoded(m.random.IntN(5000), m.random.IntN(2) == 0)
	case idempotent.StateNotKept:
		c.Response = encoded(0, true)
	}
	return c
}

// step performs an operation, and compares the store with the model.
func (m *modelTest) step(step int) {
	op, r := m.newOp(step)
	var err, want error
	switch m.random.IntN(12) {
	case 0, 1, 2:
		r, err, want = m.acquire(op, r)
	case 3, 4, 10, 11:
		r, err, want = m.finish(op, r)
	case 5:
		if err = m.store.Renew(m.Context(), op.claim.Owner(), op.claim.Lease); op.runs {
			r.lease = m.now + op.claim.Lease
		} else {
			want = idempotent.ErrLost
		}
	case 6:
		if err = m.store.BeginEffect(m.Context(), op.claim.Owner()); op.runs {
			r.begun = true
		} else {
			want = idempotent.ErrLost
		}
	case 7:
		if op.completion.State == idempotent.StateUnknown {
			return
		}
		r, err, want = m.resolve(op, r)
	case 8:
		_, err = m.store.Sweep(m.Context(), m.random.IntN(4))
	case 9:
		if m.random.IntN(8) > 0 {
			return
		}
		m.now += modelDurations[m.random.IntN(3)] / time.Duration(1+m.random.IntN(3))
	}
	require.ErrorIs(m, err, want)
	require.NoError(m, m.store.Check())
	if m.model[op.claim.ID] = r; r == nil {
		delete(m.model, op.claim.ID)
	}
	m.settle(op)
	requireUnknowns(m.T, m.store, m.model, m.now)
}

func (m *modelTest) acquire(op *modelOp, r *modelRecord) (next *modelRecord, err, want error) {
	d, err := m.store.Acquire(m.Context(), op.claim)
	if err == nil {
		op.added = r == nil
		next, expected := r.acquire(op.claim, m.now)
		require.Equal(m, expected, d)
		return next, nil, nil
	}
	require.Nil(m, r, "only a new record needs room")
	requireRefusal(m.T, m.store, m.o, op.claim, err)
	for _, other := range m.model {
		own := other.at(m.now) != nil && other.claim.Scope == op.claim.Scope
		require.False(m, m.o.EvictWhenFull && own && other.isFinished(), "refused although a record could be evicted")
	}
	m.refused++
	return nil, err, err
}

func (m *modelTest) finish(op *modelOp, r *modelRecord) (next *modelRecord, err, want error) {
	err = m.store.Finish(m.Context(), op.claim.Owner(), op.completion)
	leavesNone := op.completion.State == idempotent.StateAbsent || op.completion.State == idempotent.StateUnknown
	switch {
	case op.runs:
		return m.end(op, r, err)
	case !op.owned && (r != nil || !leavesNone):
		want = idempotent.ErrLost
	}
	return r, err, want
}

func (m *modelTest) resolve(op *modelOp, r *modelRecord) (next *modelRecord, err, want error) {
	err = m.store.Resolve(m.Context(), op.claim.ID, op.completion)
	if !r.unknown(m.now) {
		return r, err, idempotent.ErrNotUnknown
	}
	if err == nil {
		r.claim.Token = idempotent.Token{} // no owner
	}
	return m.end(op, r, err)
}

// end finishes a record in the model, unless the store has no room for the response.
func (m *modelTest) end(op *modelOp, r *modelRecord, err error) (next *modelRecord, got, want error) {
	if errors.Is(err, idempotent.ErrFull) {
		requireNoRoom(m.T, m.store, r, op.completion)
		op.unchanged = true
		return r, err, err
	}
	op.finished = r
	return r.finish(op.completion, m.now, op.step), err, nil
}

// requireRefusal checks that a new record is refused only if its scope has no room left.
func requireRefusal(t *testing.T, m *idempotent.Memory, o idempotent.MemoryOptions, c idempotent.Claim, err error) {
	t.Helper()
	free := o.MaxRecords - m.Stats().Records
	if errors.Is(err, idempotent.ErrQuota) {
		require.NotZero(t, c.Scope, "the global scope has no quota")
		require.GreaterOrEqual(t, m.Scopes()[c.Scope].Entries, free)
		require.Positive(t, free)
		return
	}
	require.ErrorIs(t, err, idempotent.ErrFull)
	require.Zero(t, free)
}

// requireNoRoom checks that a response is refused only if its scope would use more than all
// others, whatever were dropped.
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

// losers are the scopes that lost responses. The value reports whether a scope lost even the
// rest of a response.
type losers map[idempotent.ID]bool

// settle compares the store with the model. It checks what the store has dropped and evicted, and
// updates the model.
func (m *modelTest) settle(op *modelOp) {
	lost := make(losers)
	evicted := 0
	for id, r := range m.model {
		if r.at(m.now) == nil {
			delete(m.model, id)
			continue
		}
		state, response := m.store.Peek(id)
		switch {
		case state == idempotent.StateAbsent:
			m.requireEviction(op, r)
			evicted++
			delete(m.model, id)
		case state == r.state && string(response) == string(r.response):
		case state == idempotent.StateNotKept && r.state == idempotent.StateDone:
			lost[r.claim.Scope] = lost[r.claim.Scope] || !isRest(m.T, r.response, response)
			m.dropped++
			r.state, r.response = state, response
		case state == idempotent.StateNotKept && r.state == state && response == nil:
			if r != op.finished { // which may have found no room
				lost[r.claim.Scope] = true
			}
			r.response = nil
		default:
			require.Fail(m, "the store differs", "%s %q, want %s %q", state, response, r.state, r.response)
		}
	}
	require.LessOrEqual(m, evicted, 1, "one for one")
	m.evicted += evicted
	if m.o.MaxRecords < 0 {
		require.Zero(m, m.dropped)
		return
	}
	if op.unchanged {
		require.Empty(m, lost)
	}
	if op.added && evicted == 0 && op.claim.Scope != (idempotent.ID{}) {
		free := m.o.MaxRecords - (m.store.Stats().Records - 1)
		require.Less(m, m.store.Scopes()[op.claim.Scope].Entries-1, free, "more than its share")
	}
	for scope, all := range lost {
		m.requireFairLoss(op, scope, all)
	}
}

// requireEviction checks that a record was evicted for a new one of its scope, and was the
// oldest.
func (m *modelTest) requireEviction(op *modelOp, r *modelRecord) {
	m.Helper()
	require.True(m, m.o.EvictWhenFull && op.added && r.isFinished() && r.claim.Scope == op.claim.Scope, "wrongly evicted")
	for _, other := range op.records {
		if other.at(m.now) != nil && other.isFinished() && other.claim.Scope == r.claim.Scope {
			require.LessOrEqual(m, r.finished, other.finished, "the oldest is evicted")
		}
	}
}

// requireFairLoss checks that a scope that lost responses had used the most, and lost the oldest.
func (m *modelTest) requireFairLoss(op *modelOp, scope idempotent.ID, all bool) {
	m.Helper()
	most := op.use[scope].Bytes
	if op.finished != nil && op.finished.claim.Scope == scope {
		most += int64(len(op.completion.Response))
	}
	for _, other := range m.store.Scopes() {
		require.LessOrEqual(m, other.Bytes, most, "a scope lost a response, and another one uses more")
	}
	oldest := -1 // of the responses that the scope still has
	for _, r := range m.model {
		if r.claim.Scope == scope && r.state == idempotent.StateDone && len(r.response) > 0 && (oldest < 0 || r.finished < oldest) {
			require.True(m, !all || r == op.finished, "a scope with other responses lost the rest of one")
			oldest = r.finished
		}
	}
	for id, was := range op.records {
		if r := m.model[id]; oldest >= 0 && r != nil && r.claim.Scope == scope && was.state == idempotent.StateDone && r.state != was.state {
			require.Less(m, r.finished, oldest, "the oldest responses are dropped first")
		}
	}
}

// encoded returns a response with a body of that size.
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
	return encode(r)
}

// isRest checks the rest of a dropped response. It reports whether the rest is complete.
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

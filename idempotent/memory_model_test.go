package idempotent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// modelRecord is what the documentation of Store says of one record.
type modelRecord struct {
	claim   idempotent.Claim
	state   idempotent.State
	marked  bool
	attempt int
	lease   time.Duration
	expires time.Duration
	record  []byte
}

// at is the record at a time, nil when it is gone.
func (r *modelRecord) at(now, tombstones time.Duration) *modelRecord {
	if r == nil || now < r.expires || r.state == idempotent.InFlight && now < r.lease {
		return r
	}
	if r.state == idempotent.InFlight {
		r.expires = max(r.expires, r.lease)
	}
	if r.state != idempotent.Expired {
		r.state, r.record = idempotent.Expired, nil
		r.expires += tombstones
	}
	if now < r.expires {
		return r
	}
	return nil
}

func (r *modelRecord) acquire(c idempotent.Claim, now time.Duration) (*modelRecord, idempotent.Verdict) {
	switch {
	case r == nil:
		r = &modelRecord{claim: c, state: idempotent.InFlight}
	case r.claim.Print != c.Print:
		return r, idempotent.Verdict{State: idempotent.Mismatch}
	case r.state != idempotent.InFlight:
		return r, idempotent.Verdict{State: r.state, Record: r.record}
	case r.claim.Token == c.Token:
		r.lease = now + c.Lease
		return r, idempotent.Verdict{State: idempotent.Acquired, Attempt: r.attempt}
	case now < r.lease:
		return r, idempotent.Verdict{State: idempotent.InFlight, LeaseLeft: r.lease - now}
	case r.marked:
		return r, idempotent.Verdict{State: idempotent.Unknown}
	}
	r.claim.Token = c.Token
	r.attempt++
	r.lease, r.expires = now+c.Lease, now+c.Retention
	return r, idempotent.Verdict{State: idempotent.Acquired, Attempt: r.attempt}
}

func (r *modelRecord) unknown(now time.Duration) bool {
	return r != nil && (r.state == idempotent.Unknown || r.state == idempotent.InFlight && r.marked && now >= r.lease)
}

// finish ends a run, or an unknown state, where err is nil.
func (r *modelRecord) finish(o idempotent.Outcome, now time.Duration) *modelRecord {
	if o.State == idempotent.Released {
		return nil
	}
	r.state, r.record, r.expires = o.State, o.Record, now+o.Retention
	return r
}

func TestMemoryAgainstAModel(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]idempotent.MemoryOptions{
		"refusing":   {MaxEntries: 12, MaxBytes: 12_000},
		"evicting":   {MaxEntries: 12, MaxBytes: 12_000, Evict: true},
		"tombstones": {MaxEntries: 12, MaxBytes: 12_000, Tombstones: 2 * time.Hour},
		"all":        {MaxEntries: 12, MaxBytes: 12_000, ScopeEntries: 6, ScopeBytes: 6000, Evict: true, Tombstones: time.Hour},
		"unbounded":  {MaxEntries: -1, MaxBytes: -1},
	} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				t.Parallel()
				againstAModel(t, o, rand.New(rand.NewPCG(seed, 0)))
			})
		}
	}
}

func againstAModel(t *testing.T, o idempotent.MemoryOptions, random *rand.Rand) {
	t.Helper()
	m := idempotent.NewMemory(&o)
	now := time.Duration(0)
	m.SetNow(func() time.Duration { return now })
	model := make(map[idempotent.ID]*modelRecord)
	durations := []time.Duration{time.Second, time.Minute, time.Hour, 100 * 365 * 24 * time.Hour}
	states := []idempotent.State{idempotent.Done, idempotent.Done, idempotent.Sealed, idempotent.Unknown, idempotent.Released}

	for range 2000 {
		n := random.IntN(20)
		c := claimOf(fmt.Sprint("principal ", n%3), n)
		if n%3 == 0 {
			c.Scope = idempotent.ID{}
		}
		c.Print[0] = byte(random.IntN(8) / 7)
		c.Lease, c.Retention = durations[random.IntN(4)], durations[random.IntN(3)]
		outcome := idempotent.Outcome{
			State:     states[random.IntN(len(states))],
			Record:    make([]byte, random.IntN(2000)),
			Retention: durations[random.IntN(3)],
		}
		if outcome.State != idempotent.Done {
			outcome.Record = outcome.Record[:len(outcome.Record)/100]
		}
		r := model[c.ID].at(now, o.Tombstones)
		if r != nil && r.claim.Token != (idempotent.Token{}) && random.IntN(4) > 0 {
			c.Token = r.claim.Token
		}
		owned := r != nil && r.claim.Token == c.Token
		runs := owned && r.state == idempotent.InFlight
		before := m.Stats()

		var err, want error
		switch op := random.IntN(10); op {
		case 0, 1, 2:
			var v, expected idempotent.Verdict
			if v, err = m.Acquire(t.Context(), c); err == nil {
				r, expected = r.acquire(c, now)
				require.Equal(t, expected, v)
			} else {
				require.Nil(t, r)
			}
		case 3, 4:
			err = m.Finish(t.Context(), c.Own(), outcome)
			switch {
			case runs && !errors.Is(err, idempotent.ErrFull):
				r = r.finish(outcome, now)
			case !owned && (r != nil || outcome.State != idempotent.Released):
				want = idempotent.ErrLost
			}
		case 5:
			err = m.Renew(t.Context(), c.Own(), c.Lease)
			if runs {
				r.lease = now + c.Lease
			} else {
				want = idempotent.ErrLost
			}
		case 6:
			err = m.Mark(t.Context(), c.Own())
			if runs {
				r.marked = true
			} else {
				want = idempotent.ErrLost
			}
		case 7:
			if outcome.State == idempotent.Unknown {
				continue
			}
			err = m.Resolve(t.Context(), c.ID, outcome)
			switch {
			case !r.unknown(now):
				want = idempotent.ErrNotUnknown
			case !errors.Is(err, idempotent.ErrFull):
				r.claim.Token = idempotent.Token{} // nobody's
				r = r.finish(outcome, now)
			}
		case 8:
			_, err = m.Sweep(t.Context(), random.IntN(4))
		case 9:
			now += durations[random.IntN(3)] / time.Duration(1+random.IntN(3))
		}

		after := m.Stats()
		if errors.Is(err, idempotent.ErrFull) && want == nil {
			full := o.MaxEntries > 0 && (before.Entries == o.MaxEntries || before.Bytes+512+int64(len(outcome.Record)) > o.MaxBytes)
			require.True(t, full || errors.Is(err, idempotent.ErrQuota) && c.Scope != idempotent.ID{}, "refused although there was room")
		} else {
			require.ErrorIs(t, err, want)
		}
		require.NoError(t, m.Check())
		if model[c.ID] = r; r == nil {
			delete(model, c.ID)
		}
		evicted := after.Evicted - before.Evicted
		for id, r := range model {
			switch r = r.at(now, o.Tombstones); {
			case r == nil:
				delete(model, id)
			case !m.Has(id):
				require.Equal(t, idempotent.Done, r.state, "an evicted record")
				evicted--
				delete(model, id)
			}
		}
		require.GreaterOrEqual(t, evicted, int64(0), "more was forgotten than was said")
	}
}

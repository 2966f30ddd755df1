// Package idempotenttest tests that a store keeps the rules of [idempotent.Store].
package idempotenttest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Run tests the stores that newStore makes, one for each case, empty, or at least without the ids of other cases, which are
// random. The function advance moves the store's own clock forward, and nothing else's; the suite asks for up to some days.
// Stores for the suite keep no tombstones, have room for 10,000 records, and close themselves with t.Cleanup.
//
// The optional interfaces [idempotent.Waiter], [idempotent.Sweeper] and [idempotent.Resolver] are tested where the store
// has them. Run the suite with the race detector.
func Run(t *testing.T, newStore func(t *testing.T) (s idempotent.Store, advance func(time.Duration))) {
	t.Helper()
	for _, group := range [][]testCase{ownership, mismatch, marks, retention, optional, concurrency} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s, advance := newStore(t)
				c.test(&fixture{T: t, store: s, advance: advance})
			})
		}
	}
}

type testCase struct {
	name string
	test func(*fixture)
}

const (
	lease = time.Minute
	keep  = time.Hour
)

// fixture is a store and shorthands that fail the test on what they don't expect.
type fixture struct {
	*testing.T
	store   idempotent.Store
	advance func(time.Duration)
}

// newClaim returns a claim for an id that no other test uses.
func newClaim() idempotent.Claim {
	a, b := idempotent.NewToken(), idempotent.NewToken()
	return idempotent.Claim{
		ID:        idempotent.NewID("idempotenttest", a.String(), b.String()),
		Token:     idempotent.NewToken(),
		Print:     idempotent.Print{1},
		Lease:     lease,
		Retention: keep,
	}
}

// rival is another request that is the same.
func rival(c idempotent.Claim) idempotent.Claim {
	c.Token = idempotent.NewToken()
	return c
}

// other is a different request with the same key.
func other(c idempotent.Claim) idempotent.Claim {
	c = rival(c)
	c.Print[0]++
	return c
}

func done(record string) idempotent.Outcome {
	return idempotent.Outcome{State: idempotent.Done, Record: []byte(record), Retention: keep}
}

var (
	sealed   = idempotent.Outcome{State: idempotent.Sealed, Record: []byte("location"), Retention: keep}
	unknown  = idempotent.Outcome{State: idempotent.Unknown, Retention: keep}
	released = idempotent.Outcome{State: idempotent.Released}
)

// outcomes are one of each kind.
func outcomes() []idempotent.Outcome {
	return []idempotent.Outcome{done("response"), sealed, unknown, released}
}

func (f *fixture) ctx() context.Context { return f.Context() }

func (f *fixture) acquire(c idempotent.Claim) idempotent.Verdict {
	f.Helper()
	v, err := f.store.Acquire(f.ctx(), c)
	if err != nil {
		f.Fatalf("Acquire: %v", err)
	}
	if v.State != idempotent.Acquired && v.Attempt != 0 {
		f.Errorf("Acquire: %s with attempt %d, want 0", v.State, v.Attempt)
	}
	if v.State != idempotent.Done && v.State != idempotent.Sealed && v.Record != nil {
		f.Errorf("Acquire: %s with a record", v.State)
	}
	return v
}

// wantAcquired asks, and expects to own the record.
func (f *fixture) wantAcquired(c idempotent.Claim, attempt int) {
	f.Helper()
	if v := f.acquire(c); v.State != idempotent.Acquired || v.Attempt != attempt {
		f.Fatalf("Acquire: %s, attempt %d; want %s, attempt %d", v.State, v.Attempt, idempotent.Acquired, attempt)
	}
}

// want asks, and expects a state without a record.
func (f *fixture) want(c idempotent.Claim, s idempotent.State) idempotent.Verdict {
	f.Helper()
	v := f.acquire(c)
	if v.State != s {
		f.Fatalf("Acquire: %s, want %s", v.State, s)
	}
	return v
}

// wantOutcome asks as another owner would, and expects what the outcome has left.
func (f *fixture) wantOutcome(c idempotent.Claim, o idempotent.Outcome) {
	f.Helper()
	if o.State == idempotent.Released {
		f.wantAcquired(rival(c), 1)
		return
	}
	if v := f.want(rival(c), o.State); !bytes.Equal(v.Record, o.Record) {
		f.Fatalf("Acquire: the record is %q, want %q", v.Record, o.Record)
	}
}

func (f *fixture) renew(c idempotent.Claim) error {
	return f.store.Renew(f.ctx(), c.Own(), lease)
}

func (f *fixture) mark(c idempotent.Claim) error { return f.store.Mark(f.ctx(), c.Own()) }

func (f *fixture) finish(c idempotent.Claim, o idempotent.Outcome) error {
	return f.store.Finish(f.ctx(), c.Own(), o)
}

func (f *fixture) ok(op string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s: %v", op, err)
	}
}

func (f *fixture) lost(op string, err error) {
	f.Helper()
	if !errors.Is(err, idempotent.ErrLost) {
		f.Fatalf("%s: %v, want ErrLost", op, err)
	}
}

// wantLost expects that every change by the owner of c is refused.
func (f *fixture) wantLost(c idempotent.Claim) {
	f.Helper()
	f.lost("Renew", f.renew(c))
	f.lost("Mark", f.mark(c))
	for _, o := range outcomes() {
		f.lost("Finish "+o.State.String(), f.finish(c, o))
	}
}

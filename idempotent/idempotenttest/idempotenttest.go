// Package idempotenttest checks implementations of idempotent.Store and idempotent.Executor. It
// needs nothing but the standard library.
package idempotenttest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Run checks a store against the rules of [idempotent.Store], and what else it is of
// [idempotent.LocalStore], [idempotent.Waiter], [idempotent.Sweeper], [idempotent.Resolver] and
// [idempotent.UnknownLister]. newStore returns an empty store, and a function that moves the
// store's own clock forward, by hours. It is called once for each case, with that case's t, on
// which it may register a cleanup, and once to see what it returns.
//
//	func TestStore(t *testing.T) {
//		idempotenttest.Run(t, func(t *testing.T) (idempotent.Store, func(time.Duration)) {
//			clock := newTestClock()
//			return newStore(clock.Now), clock.Advance
//		})
//	}
//
// The cases run in parallel, each with a store that has its own records: stores that share a
// database need a table or a prefix each, since one that sweeps by its own clock would remove
// what is the others'. The store's clock may also move by itself, as long as a case takes less
// than 10 seconds of it. A store has room for 1,000 records, and for a response of a little over
// 1 MiB. Run the suite with the race detector.
func Run(t *testing.T, newStore func(t *testing.T) (s idempotent.Store, advance func(time.Duration))) {
	t.Helper()
	groups := [][]testCase{ownership, fingerprints, responses, effects, retention, concurrency}
	which, _ := newStore(t)
	if l, ok := which.(idempotent.LocalStore); ok && l.Local() {
		groups = append(groups, local)
	}
	if _, ok := which.(idempotent.Waiter); ok {
		groups = append(groups, waiting)
	}
	if _, ok := which.(idempotent.Sweeper); ok {
		groups = append(groups, sweeping)
	}
	if _, ok := which.(idempotent.Resolver); ok {
		groups = append(groups, resolving)
	}
	if _, ok := which.(idempotent.UnknownLister); ok {
		groups = append(groups, listing)
	}
	for _, group := range groups {
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
	slack = 10 * time.Second // before and after an end, for clocks that also move by themselves
)

// patience is how long something that must happen may take on the machine's clock.
const patience = 10 * time.Second

// fixture is a store, and shorthands that fail the test on what they don't expect.
type fixture struct {
	*testing.T
	store   idempotent.Store
	advance func(time.Duration)
}

// newClaim returns a claim for an ID that no other test uses.
func newClaim() idempotent.Claim {
	key := idempotent.NewToken()
	return idempotent.Claim{
		ID:          (&idempotent.Options{Namespace: "idempotenttest"}).ID("principal", key.String()),
		Scope:       idempotent.ID{0: 's', 31: 0xff},
		Token:       idempotent.NewToken(),
		Fingerprint: idempotent.Fingerprint{1},
		Lease:       lease,
		Retention:   keep,
	}
}

// rival is another call with the same key and the same request.
func rival(c idempotent.Claim) idempotent.Claim {
	c.Token = idempotent.NewToken()
	return c
}

// other is a call with the same key and a different request.
func other(c idempotent.Claim) idempotent.Claim {
	c = rival(c)
	c.Fingerprint[31]++
	return c
}

func done(response string) idempotent.Completion {
	return idempotent.Completion{State: idempotent.StateDone, Response: []byte(response), Retention: keep}
}

var (
	notKept  = idempotent.Completion{State: idempotent.StateNotKept, Response: []byte("location"), Retention: keep}
	unknown  = idempotent.Completion{State: idempotent.StateUnknown, Retention: keep}
	released = idempotent.Completion{State: idempotent.StateAbsent}
)

// completions are one of each kind.
func completions() []idempotent.Completion {
	return []idempotent.Completion{done("response"), notKept, unknown, released}
}

// kept are those that leave a record, if an effect was begun.
func kept() []idempotent.Completion { return completions()[:3] }

var verdicts = map[idempotent.State]idempotent.Verdict{
	idempotent.StateDone:    idempotent.VerdictDone,
	idempotent.StateNotKept: idempotent.VerdictNotKept,
	idempotent.StateUnknown: idempotent.VerdictUnknown,
}

// acquire asks, and checks what must hold of every decision.
func (f *fixture) acquire(c idempotent.Claim) idempotent.Decision {
	f.Helper()
	d, err := f.store.Acquire(f.Context(), c)
	if err != nil {
		f.Fatalf("Acquire: %v", err)
	}
	finished := d.Verdict == idempotent.VerdictDone || d.Verdict == idempotent.VerdictNotKept
	switch {
	case d.Verdict != idempotent.VerdictAcquired && d.Attempt != 0:
		f.Errorf("Acquire: %s with attempt %d, want 0", d.Verdict, d.Attempt)
	case !finished && d.Response != nil:
		f.Errorf("Acquire: %s with a response", d.Verdict)
	case d.Verdict == idempotent.VerdictMismatch && d.LeaseLeft != 0:
		f.Errorf("Acquire: %s tells what is left of the lease", d.Verdict)
	}
	return d
}

// wantAcquired asks, and expects to own the record.
func (f *fixture) wantAcquired(c idempotent.Claim, attempt int) {
	f.Helper()
	if d := f.acquire(c); d.Verdict != idempotent.VerdictAcquired || d.Attempt != attempt {
		f.Fatalf("Acquire: %s, attempt %d; want %s, attempt %d", d.Verdict, d.Attempt, idempotent.VerdictAcquired, attempt)
	}
}

// begin returns a claim that is acquired, and whose effect has begun.
func (f *fixture) begin() idempotent.Claim {
	f.Helper()
	c := newClaim()
	f.wantAcquired(c, 1)
	f.ok("BeginEffect", f.beginEffect(c))
	return c
}

// want asks, and expects a verdict.
func (f *fixture) want(c idempotent.Claim, v idempotent.Verdict) idempotent.Decision {
	f.Helper()
	d := f.acquire(c)
	if d.Verdict != v {
		f.Fatalf("Acquire: %s, want %s", d.Verdict, v)
	}
	return d
}

// wantCompletion asks as another call would, and expects what the completion has left.
func (f *fixture) wantCompletion(c idempotent.Claim, o idempotent.Completion) {
	f.Helper()
	if o.State == idempotent.StateAbsent {
		f.wantAcquired(rival(c), 1)
		return
	}
	if d := f.want(rival(c), verdicts[o.State]); !bytes.Equal(d.Response, o.Response) {
		f.Fatalf("Acquire: the response is %q, want %q", short(d.Response), short(o.Response))
	}
}

// short is fit for a message.
func short(b []byte) []byte { return b[:min(len(b), 40)] }

func (f *fixture) renew(c idempotent.Claim) error {
	return f.store.Renew(f.Context(), c.Owner(), lease)
}

func (f *fixture) beginEffect(c idempotent.Claim) error {
	return f.store.BeginEffect(f.Context(), c.Owner())
}

func (f *fixture) finish(c idempotent.Claim, o idempotent.Completion) error {
	return f.store.Finish(f.Context(), c.Owner(), o)
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
	f.lost("BeginEffect", f.beginEffect(c))
	for _, o := range completions() {
		f.lost("Finish "+o.State.String(), f.finish(c, o))
	}
}

// bounded returns what f returns, and fails the test if that takes longer than patience. f may
// still run after the end of the test then, and must not use it.
func bounded[T any](t *testing.T, what string, patience time.Duration, f func() T) T {
	t.Helper()
	returned := make(chan T, 1)
	go func() { returned <- f() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case v := <-returned:
		return v
	case <-ctx.Done():
		t.Fatalf("%s has not returned after %s", what, patience)
		panic("unreachable")
	}
}

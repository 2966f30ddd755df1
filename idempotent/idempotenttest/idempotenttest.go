// Package idempotenttest is a test suite for implementations of idempotent.Store and
// idempotent.Executor. Apart from package idempotent, it imports only the standard library.
//
// Each case is a subtest whose name says what must hold. docs/STORE_GUIDE.md has the rules, and
// the mistakes that the cases find.
package idempotenttest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// Run checks a store against the rules of [idempotent.Store], and against those of
// [idempotent.LocalStore], [idempotent.Waiter], [idempotent.Sweeper], [idempotent.Resolver] and
// [idempotent.UnknownLister] if it implements them.
//
// newStore returns an empty store, and a function that advances the store's clock. Run calls it
// once with t, to see what the store implements, and once in each case with the t of the case, on
// which it may register a cleanup.
//
//	func TestStore(t *testing.T) {
//		idempotenttest.Run(t, func(t *testing.T) (idempotent.Store, func(time.Duration)) {
//			clock := newTestClock()
//			return newStore(clock.Now), clock.Advance
//		})
//	}
//
// The cases run in parallel. Each store needs its own records, such as its own table or prefix:
// otherwise a Sweep of one case removes records of another. The clock may also run by itself, as
// long as a case takes less than 10 seconds. A store must have room for 1,000 records, and for a
// response of a little over 1 MiB. Run the suite with the race detector.
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
	slack = 10 * time.Second // before and after an end, for clocks that run by themselves
)

// patience bounds, in real time, how long something may take that must happen.
const patience = 10 * time.Second

// fixture is a store with helpers that fail the test if the store breaks a rule.
type fixture struct {
	*testing.T
	store   idempotent.Store
	advance func(time.Duration)
	first   sync.Map // the first claim of each ID, for messages
}

// who describes the caller of a claim.
func (f *fixture) who(c idempotent.Claim) string {
	v, _ := f.first.Load(c.ID)
	switch first, _ := v.(idempotent.Claim); {
	case c.Fingerprint != first.Fingerprint:
		return "a caller with another fingerprint"
	case c.Token != first.Token:
		return "a caller with another token"
	default:
		return "the first caller"
	}
}

// newClaim returns a claim with a new ID.
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

// rival returns the claim of a duplicate: another token.
func rival(c idempotent.Claim) idempotent.Claim {
	c.Token = idempotent.NewToken()
	return c
}

// other returns the claim of another request with the same key: another token and fingerprint.
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

// completions returns one completion of each state.
func completions() []idempotent.Completion {
	return []idempotent.Completion{done("response"), notKept, unknown, released}
}

// kept returns the completions that leave a record after BeginEffect.
func kept() []idempotent.Completion { return completions()[:3] }

var verdicts = map[idempotent.State]idempotent.Verdict{
	idempotent.StateDone:    idempotent.VerdictDone,
	idempotent.StateNotKept: idempotent.VerdictNotKept,
	idempotent.StateUnknown: idempotent.VerdictUnknown,
}

// acquire makes a claim, and checks the rules for every decision.
func (f *fixture) acquire(c idempotent.Claim) idempotent.Decision {
	f.Helper()
	f.first.LoadOrStore(c.ID, c)
	d, err := f.store.Acquire(f.Context(), c)
	if err != nil {
		f.Fatalf("Acquire by %s returned the error %q", f.who(c), err)
	}
	finished := d.Verdict == idempotent.VerdictDone || d.Verdict == idempotent.VerdictNotKept
	switch {
	case d.Verdict != idempotent.VerdictAcquired && d.Attempt != 0:
		f.Errorf("Acquire returned %s with Attempt %d, want 0", d.Verdict, d.Attempt)
	case !finished && d.Response != nil:
		f.Errorf("Acquire returned %s with a response", d.Verdict)
	case d.Verdict == idempotent.VerdictMismatch && d.LeaseLeft != 0:
		f.Errorf("Acquire returned %s with LeaseLeft %s, want 0", d.Verdict, d.LeaseLeft)
	}
	return d
}

// wantAcquired makes a claim that must acquire the record.
func (f *fixture) wantAcquired(c idempotent.Claim, attempt int) {
	f.Helper()
	if d := f.acquire(c); d.Verdict != idempotent.VerdictAcquired || d.Attempt != attempt {
		f.Fatalf("Acquire by %s returned the verdict %s, attempt %d; want %s, attempt %d",
			f.who(c), d.Verdict, d.Attempt, idempotent.VerdictAcquired, attempt)
	}
}

// begin returns the claim of a new record after BeginEffect.
func (f *fixture) begin() idempotent.Claim {
	f.Helper()
	c := newClaim()
	f.wantAcquired(c, 1)
	f.ok("BeginEffect", f.beginEffect(c))
	return c
}

// want makes a claim that must have a verdict.
func (f *fixture) want(c idempotent.Claim, v idempotent.Verdict) idempotent.Decision {
	f.Helper()
	d := f.acquire(c)
	if d.Verdict != v {
		f.Fatalf("Acquire by %s returned the verdict %s, want %s", f.who(c), d.Verdict, v)
	}
	return d
}

// wantCompletion makes the claim of a duplicate, and expects the result of a completion.
func (f *fixture) wantCompletion(c idempotent.Claim, o idempotent.Completion) {
	f.Helper()
	if o.State == idempotent.StateAbsent {
		f.wantAcquired(rival(c), 1)
		return
	}
	if d := f.want(rival(c), verdicts[o.State]); !bytes.Equal(d.Response, o.Response) {
		f.Fatalf("Acquire returned the response %q, want %q", short(d.Response), short(o.Response))
	}
}

// short returns the beginning of b, for messages.
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
		f.Fatalf("%s returned the error %q", op, err)
	}
}

func (f *fixture) lost(op string, err error) {
	f.Helper()
	if !errors.Is(err, idempotent.ErrLost) {
		f.Fatalf("%s returned %v, want ErrLost", op, err)
	}
}

// wantLost expects ErrLost for every change by the owner of c.
func (f *fixture) wantLost(c idempotent.Claim) {
	f.Helper()
	f.lost("Renew", f.renew(c))
	f.lost("BeginEffect", f.beginEffect(c))
	for _, o := range completions() {
		f.lost("Finish "+o.State.String(), f.finish(c, o))
	}
}

// bounded returns the result of f. It fails the test if that takes longer than patience: f may
// then run after the end of the test, so it must not use t.
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
		t.Fatalf("%s did not return within %s", what, patience)
		panic("unreachable")
	}
}

package idempotent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// A Guard runs keyed calls against a store, each once. It is the protocol of this package without
// HTTP: see [Do]. It is made once and shared.
type Guard struct {
	opt      Options
	store    Store
	executor Executor // nil if the store is none
	waiter   Waiter   // nil if the store is none
	local    bool     // the store is a LocalStore
	flights  flights
}

// NewGuard returns a guard. Nil options are the defaults. It panics without a store, and on options
// that contradict each other or are about HTTP requests.
func NewGuard(s Store, o *Options) *Guard {
	if name := o.ofRequests(); name != "" {
		panic("idempotent: NewGuard with Options." + name + ", which is about HTTP requests")
	}
	return newGuard(s, o)
}

func newGuard(s Store, o *Options) *Guard {
	g := &Guard{opt: o.withDefaults(s), store: s}
	g.executor, _ = s.(Executor)
	g.waiter, _ = s.(Waiter)
	if l, ok := s.(LocalStore); ok {
		g.local = l.Local()
	}
	if g.local {
		g.opt.Lease = forever
	}
	g.flights = flights{
		flying: make(map[flightKey]*flight), scopes: make(map[ID]int),
	}
	g.flights.setBounds(g.opt.MaxWaiters)
	return g
}

// forever is the lease of a claim that is never renewed, because its owner and its store end
// together.
const forever = 100 * 365 * 24 * time.Hour

// The way of a keyed call, here and in run.go. The middleware and Do are the skins around it.
//
//	do               joins the calls of this process that have the same key and fingerprint
//	  follow         waits for the one that leads
//	  lead           asks the store until there is an answer
//	    claim        asks for the right to run; an Executor runs the task in here
//	    begin        runs the task under the claim
//	    record       tells the store how the run has ended
//
// The skin then answers with the result: its own run's response, a replay, or a refusal.

// A task is what a call runs: an http.Handler, or the function of a Do.
type task interface {
	// run does the work under a claim. It returns StateDone or StateNotKept with the response, or
	// StateAbsent for a failure. An Executor may have it called again.
	run(n *run) Completion
	// dropBody gives up what only a run needs, because another call leads and this one will not
	// run.
	dropBody()
}

// call is one keyed call on its way.
type call struct {
	*Guard
	task        task
	caller      context.Context // the caller's context
	uncanceled  context.Context // the same without its cancellation, for calls of the store
	detached    bool            // the run goes on when the caller's context is canceled
	token       Token
	fingerprint Fingerprint
	event       Event // its ID and Scope are the claim's

	flight flight // while it leads
	ran    *run   // the last one; nil if it did not run

	started  time.Time
	latest   time.Time // when the caller needs its answer at the latest; zero if that is not known
	waitEnds time.Time // zero before the call waits
	waited   bool      // another call's run was seen
	followed bool      // it has waited for another call of this process, and does not run
	woken    bool      // by the store's Waiter, the last time
}

// result is how a call was decided.
type result struct {
	outcome   Outcome
	followers Outcome // what the calls are told that waited for this one; empty is the same
	ask       bool    // the calls that waited are to ask the store themselves
	response  []byte  // encoded: of this run, or of the record
	err       error   // the store's
	answer    error   // of this run, in place of its response
}

// forFollowers returns the result of the calls that waited for this one.
func (r result) forFollowers() result {
	if r.followers != "" {
		r.outcome = r.followers
	}
	return r
}

// identify sets what names the call's record.
func (c *call) identify(principal, key string, f Fingerprint) {
	c.event.ID, c.event.Scope = c.opt.ID(principal, key), c.opt.scopeOf(principal)
	c.fingerprint, c.token = f, NewToken()
	c.uncanceled = context.WithoutCancel(c.caller)
}

// do takes a call from its beginning to its end. One of the duplicates in this process leads,
// and the others are told what it learns.
func (c *call) do() result {
	c.flight.key = flightKey{c.event.ID, c.fingerprint}
	for {
		switch f := c.flights.join(&c.flight, c.event.Scope); f {
		case &c.flight:
			return c.leadFlight()
		case nil: // too many wait
			return result{outcome: OutcomeInProgress}
		default:
			if r := c.follow(f); !r.ask || c.timeLeft() <= 0 || c.caller.Err() != nil {
				return r
			}
		}
	}
}

// follow waits for the call that leads f.
func (c *call) follow(f *flight) result {
	defer c.flights.leave(f, c.event.Scope)
	c.waited, c.followed = true, true
	c.task.dropBody()
	timer := time.NewTimer(c.timeLeft())
	defer timer.Stop()
	select {
	case <-f.done:
		return f.result
	case <-timer.C:
	case <-c.caller.Done():
	}
	return result{outcome: OutcomeInProgress}
}

// leadFlight leads, and tells the calls that wait what became of it.
func (c *call) leadFlight() result {
	forFollowers := result{outcome: OutcomeLeaderFailed} // after a panic or runtime.Goexit
	defer func() { c.flights.land(&c.flight, forFollowers) }()
	r := c.lead()
	forFollowers = r.forFollowers()
	return r
}

// lead asks the store until there is an answer, and runs if that is the answer. A call that has run
// never runs again: if its claim was lost, and it gets another one, it only records how it ended.
func (c *call) lead() result {
	lost := false
	for tries := 0; ; tries++ {
		d, asked, err := c.claim()
		switch {
		case err != nil:
			return c.resultOfFailure(err)
		case d.Verdict == VerdictRunning:
			if !c.pause(tries, d.LeaseLeft) {
				return result{outcome: OutcomeInProgress, ask: true}
			}
			continue
		case d.Verdict != VerdictAcquired:
			return resultOfRecord(d)
		case c.executor != nil: // it has run the task already
			return c.resultOfRun(nil)
		case c.ran == nil && (c.followed || c.waited && d.Attempt == 1):
			// The call that this one waited for has released the key. To run now would be to run
			// what fails once for each call that waited.
			c.giveBack(d.Attempt)
			return result{outcome: OutcomeLeaderFailed}
		case c.ran == nil:
			c.begin(d.Attempt, asked)
		}
		if err = c.ran.record(); !errors.Is(err, ErrLost) {
			return c.resultOfRun(err)
		}
		c.warn("idempotent: a claim was lost during the run", err)
		c.event.Lost = true
		switch {
		case c.ran.answered:
			return result{outcome: OutcomeUnrecorded, followers: OutcomeInProgress, ask: true, err: err}
		case !lost: // another owner's answer counts now
			lost, c.waitEnds = true, time.Time{}
		case !c.pause(tries, 0): // the store forgets what it is told, so there is no other owner
			return c.resultOfRun(err)
		}
	}
}

// claim asks the store for the right to run. An Executor runs the task at the same time.
func (c *call) claim() (d Decision, asked time.Time, err error) {
	if c.executor != nil {
		d, err = c.execute()
		return d, time.Time{}, err
	}
	asked = time.Now()
	err = c.try(c.uncanceled, c.opt.StoreTimeout, func(ctx context.Context) (err error) {
		d, err = c.store.Acquire(ctx, c.newClaim())
		return err
	})
	return d, asked, err
}

func (c *call) newClaim() Claim {
	return Claim{
		ID: c.event.ID, Scope: c.event.Scope, Token: c.token, Fingerprint: c.fingerprint,
		Lease: c.opt.Lease, Retention: c.opt.Retention,
	}
}

func (c *call) owner() Owner { return Owner{ID: c.event.ID, Token: c.token} }

// giveBack ends a claim under which nothing was done. If that fails its lease will end. A record
// that others have run under stays, with its fingerprint and its attempts.
func (c *call) giveBack(attempt int) {
	_ = c.once(c.uncanceled, c.opt.StoreTimeout, func(ctx context.Context) error {
		if attempt > 1 {
			return c.store.Renew(ctx, c.owner(), 1)
		}
		return c.store.Finish(ctx, c.owner(), Completion{State: StateAbsent})
	})
}

// resultOfFailure is the result of a call whose store failed before its run, or after a lost one.
func (c *call) resultOfFailure(err error) result {
	switch {
	case errors.Is(err, ErrQuota):
		return result{outcome: OutcomeOverQuota, err: err}
	case errors.Is(err, ErrFull):
		return result{outcome: OutcomeStoreFull, err: err}
	case c.opt.OnFailure == FailOpen && c.ran == nil && !c.waited:
		c.warn("idempotent: a call runs without protection, because the store fails", err)
		return result{outcome: OutcomeBypassed, followers: OutcomeStoreFailed, err: err}
	}
	if c.ran == nil && c.executor == nil && !c.local {
		// It may have been acquired all the same, and would hold up the retry for a whole lease.
		c.giveBack(1)
	}
	return result{outcome: OutcomeStoreFailed, err: err}
}

// resultOfRecord is the result of a call that the store's record answers.
func resultOfRecord(d Decision) result {
	switch d.Verdict {
	case VerdictMismatch:
		return result{outcome: OutcomeConflict}
	case VerdictDone:
		return result{outcome: OutcomeReplayed, response: d.Response}
	case VerdictNotKept:
		return result{outcome: OutcomeUnavailable, response: d.Response}
	case VerdictUnknown:
		return result{outcome: OutcomeStillUnknown}
	default:
		return result{outcome: OutcomeStoreFailed, err: fmt.Errorf("idempotent: the store answered the verdict %d", d.Verdict)}
	}
}

// resultOfRun is the result of a call that ran. err says why that could not be recorded.
func (c *call) resultOfRun(err error) result {
	n := c.ran
	r := result{response: n.completion.Response, err: err, answer: n.err}
	switch n.completion.State {
	case StateDone:
		r.outcome, r.followers = OutcomeExecuted, OutcomeReplayed
	case StateNotKept:
		r.outcome, r.followers = OutcomeNotKept, OutcomeUnavailable
	case StateUnknown:
		r.outcome, r.followers = OutcomeUnknown, OutcomeStillUnknown
		r.ask = n.shared // only the store knows whether the effect has begun
		c.warn("idempotent: a call failed when its effect had begun, or may have", errUnknown)
	default:
		r.outcome, r.followers = OutcomeReleased, OutcomeLeaderFailed
	}
	switch {
	case err != nil:
		r.outcome = OutcomeUnrecorded
		c.warn("idempotent: how a call ended could not be recorded", err)
	case n.full != nil:
		r.err = n.full
		c.warn("idempotent: the store has no room for a response", n.full)
	}
	return r
}

// refusal is the error that answers a call that did not run.
func (r result) refusal() error {
	switch r.outcome {
	case OutcomeConflict:
		return apierror.CodeIdempotencyConflict.New().WithParam("Idempotency-Key")
	case OutcomeInProgress:
		return apierror.CodeIdempotencyInProgress.New().WithRetryAfter(soon())
	case OutcomeStillUnknown:
		return apierror.CodeIdempotencyOutcomeUnknown.New()
	case OutcomeUnavailable:
		return unavailable(r.response)
	case OutcomeOverQuota:
		return apierror.RateLimitExceeded(soon()).WithCause(r.err)
	case OutcomeLeaderFailed:
		return apierror.ServiceUnavailable(soon()).WithCause(errLeaderFailed)
	default:
		return apierror.ServiceUnavailable(soon()).WithCause(r.err)
	}
}

// unavailable says that a response was not kept, with the Location that is left of it.
func unavailable(response []byte) error {
	e := apierror.CodeIdempotencyResponseUnavailable.New()
	if rec, err := DecodeResponse(response); err == nil && rec.Header.Get("Location") != "" {
		return e.WithHeader("Location", rec.Header.Get("Location"))
	}
	return e
}

// soon is how long a caller is told to wait: one or two seconds, so that not all come back
// together.
func soon() time.Duration { return time.Duration(1+rand.IntN(2)) * time.Second }

// timeLeft returns how long the call may still wait. The time begins with the first call.
func (c *call) timeLeft() time.Duration {
	if c.waitEnds.IsZero() {
		c.waitEnds = time.Now().Add(c.opt.Wait)
		if !c.latest.IsZero() && c.latest.Before(c.waitEnds) {
			c.waitEnds = c.latest
		}
	}
	return time.Until(c.waitEnds)
}

// pause waits before the store is asked again: the more often it was asked, the longer. It reports
// whether there is time left to ask.
func (c *call) pause(tries int, leaseLeft time.Duration) bool {
	left := c.timeLeft()
	if left <= 0 || c.caller.Err() != nil || !c.flights.takePlace(c.event.Scope) {
		return false
	}
	defer c.flights.freePlace(c.event.Scope)
	c.waited = true
	const first, longest = 50 * time.Millisecond, time.Second
	d := min(first<<min(tries, 5), longest)
	d = d/2 + rand.N(d)
	if leaseLeft > 0 {
		d = min(d, max(leaseLeft, first))
	}
	ctx, cancel := context.WithTimeout(c.caller, min(d, left))
	defer cancel()
	// A hint that turned out to be wrong is not asked for twice in a row, or a Waiter that
	// always returns would make a busy loop.
	if c.waiter != nil && !c.woken {
		c.woken = c.once(ctx, left, func(ctx context.Context) error { return c.waiter.Wait(ctx, c.event.ID) }) == nil
		if c.woken {
			return true
		}
	}
	c.woken = false
	<-ctx.Done()
	return c.caller.Err() == nil
}

// stampWaited notes how long the call has waited. It is called at the answer, or at the run.
func (c *call) stampWaited() {
	if c.opt.Observe != nil {
		c.event.Waited = time.Since(c.started)
	}
}

// warn logs what needs attention.
func (c *call) warn(msg string, err error) {
	attrs := []slog.Attr{
		slog.String("request_id", reqstate.From(c.caller).RequestID()),
		slog.String("error", plain.Text(plain.ErrorText(err), maxErrorText)),
	}
	if c.event.ID != (ID{}) {
		attrs = append(attrs, slog.String("idempotency_id", c.event.ID.String()))
	}
	logger := c.opt.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(c.caller, slog.LevelWarn, msg, attrs...)
}

const maxErrorText = 1 << 10

var (
	errLeaderFailed = errors.New("idempotent: the first call with this key failed while this one waited")
	errUnknown      = errors.New("idempotent: whether it took effect is not known; the key is refused until the record is resolved")
)

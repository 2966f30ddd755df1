package idempotent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// A Guard runs each keyed call of [Do] once. It is safe for concurrent use. Make one guard
// and share it.
type Guard struct {
	opt      Options
	store    Store
	executor Executor // nil if the store is not an Executor
	waiter   Waiter   // nil if the store is not a Waiter
	local    bool     // the store is a LocalStore
	flights  *flights
}

// NewGuard returns a guard on a store. If o is nil, the defaults apply. It panics if s is
// nil, and if options contradict each other or are about HTTP requests.
func NewGuard(s Store, o *Options) *Guard {
	if name := o.httpOption(); name != "" {
		panic("idempotent: NewGuard: Options." + name + " is about HTTP requests")
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
	g.flights = newFlights(g.opt.MaxWaiters)
	return g
}

// forever is the lease of a claim that ends with its store, so that it need not be renewed.
const forever = 100 * 365 * 24 * time.Hour

// These steps make up a keyed call. They are in this file and in run.go. The middleware and
// Do prepare the call and answer with its result: the response of its run, a replay or a
// refusal.
//
//	do               joins the other calls of this process with the same key and fingerprint
//	  follow         waits for the call that leads
//	  lead           asks the store until there is a result
//	    claim        asks for the right to run; an Executor runs the task in here
//	    begin        runs the task under the claim
//	    record       tells the store how the run ended

// A task is what a call runs: an http.Handler, or the function of a Do.
type task interface {
	// run does the work. It returns StateDone or StateNotKept with the response, or
	// StateAbsent after a failure. An Executor may call it again.
	run(n *run) Completion
	// dropBody frees what only a run needs. It is called if another call leads.
	dropBody()
}

// call is one keyed call.
type call struct {
	*Guard
	task        task
	caller      context.Context // the caller's context
	uncanceled  context.Context // the same without its cancellation, for calls of the store
	detached    bool            // a canceled caller does not cancel the run
	token       Token
	fingerprint Fingerprint
	event       Event // its ID and Scope are the claim's
	ran         *run  // the last run; nil if there was none

	started  time.Time
	latest   time.Time // when the caller needs its answer; zero if that is not known
	waitEnds time.Time // zero before the call first waits
	waited   bool      // it saw another call run
	followed bool      // it waited for another call of this process, and must not run
	woken    bool      // the store's Waiter ended the last pause
}

// identify sets the ID, scope, fingerprint and token of the call's claim.
func (c *call) identify(principal, key string, f Fingerprint) {
	c.event.ID, c.event.Scope = c.opt.ID(principal, key), c.opt.scopeOf(principal)
	c.fingerprint, c.token = f, NewToken()
	c.uncanceled = context.WithoutCancel(c.caller)
}

// do makes the call and returns its result. Of the duplicates in this process, one leads, and
// the others get its result.
func (c *call) do() result {
	r := c.joinFlight()
	if c.ran == nil {
		c.stampWaited()
	}
	return r
}

func (c *call) joinFlight() result {
	for {
		f, leads := c.flights.join(flightKey{c.event.ID, c.fingerprint}, c.event.Scope)
		switch {
		case leads:
			return c.leadFlight(f)
		case f == nil: // too many calls wait
			return result{outcome: OutcomeInProgress}
		}
		if r := c.follow(f); !r.ask || c.timeLeft() <= 0 || c.caller.Err() != nil {
			return r
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

// leadFlight leads f and passes the result to the calls that wait.
func (c *call) leadFlight(f *flight) result {
	forFollowers := result{outcome: OutcomeLeaderFailed} // after a panic or runtime.Goexit
	defer func() { c.flights.land(f, forFollowers) }()
	r := c.lead()
	forFollowers = r.forFollowers()
	return r
}

// lead asks the store until there is a result, and runs the task if the store allows it. The
// task of a call runs only once: if the claim was lost after the run, and the call acquires a
// new claim, it only records how its run ended.
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
		case c.executor != nil && c.ran != nil:
			return c.resultOfRun(nil)
		case c.ran == nil && (c.followed || c.waited && d.Attempt == 1):
			// The call that this one waited for has released the key. If each call that
			// waited ran now, they would all fail in the same way, one after another.
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
		case !lost: // ask for the answer of the owner that took over
			lost, c.waitEnds = true, time.Time{}
		case !c.pause(tries, 0): // the store keeps losing the claim, and no one else finishes
			return c.resultOfRun(err)
		}
	}
}

// claim asks the store for the right to run. An Executor also runs the task.
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

// giveBack ends a claim under which nothing ran. If that fails, the claim ends with its
// lease. The record of an earlier run stays, with its fingerprint and its attempts. An Executor
// has no claim to end: it has rolled back.
func (c *call) giveBack(attempt int) {
	if c.executor != nil {
		return
	}
	_ = c.once(c.uncanceled, c.opt.StoreTimeout, func(ctx context.Context) error {
		if attempt > 1 {
			return c.store.Renew(ctx, c.owner(), 1)
		}
		return c.store.Finish(ctx, c.owner(), Completion{State: StateAbsent})
	})
}

// timeLeft returns how long the call may still wait. The time starts to run with the first
// call of timeLeft.
func (c *call) timeLeft() time.Duration {
	if c.waitEnds.IsZero() {
		c.waitEnds = time.Now().Add(c.opt.Wait)
		if !c.latest.IsZero() && c.latest.Before(c.waitEnds) {
			c.waitEnds = c.latest
		}
	}
	return time.Until(c.waitEnds)
}

// pause waits before the store is asked again, longer after each try. It reports whether the
// call may ask again.
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
	// A Waiter that returned early is not asked twice in a row. Otherwise, one that always
	// returns immediately would cause a busy loop.
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

// stampWaited sets how long the call has waited. It is called when the run begins or the
// answer is known.
func (c *call) stampWaited() { c.event.Waited = time.Since(c.started) }

// warn logs what an operator should look at.
func (c *call) warn(msg string, err error) {
	const maxErrorText = 1 << 10
	attrs := []slog.Attr{
		slog.String("request_id", reqstate.From(c.caller).RequestID()),
		slog.String("error", plain.Text(plain.ErrorText(err), maxErrorText)),
	}
	if c.event.ID != (ID{}) {
		attrs = append(attrs, slog.String("idempotency_id", c.event.ID.String()))
	}
	logger := cmp.Or(c.opt.Logger, slog.Default())
	logger.LogAttrs(c.caller, slog.LevelWarn, msg, attrs...)
}

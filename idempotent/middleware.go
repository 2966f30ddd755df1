package idempotent

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotent-Replayed"
	headerOriginal = "Original-Request"
)

// New returns a middleware that answers a repeated request with a key (the Idempotency-Key field) from the store instead of
// running the handler again. The scope tells whose key it is; it belongs behind authentication and rate limits, so that
// their refusals are never a key's answer. Nil options are the defaults. It panics without a store or a scope, and on
// options that contradict each other.
func New(s Store, scope ScopeFunc, o *Options) func(http.Handler) http.Handler {
	m := &middleware{Options: o.withDefaults(s, scope), store: s, scope: scope}
	m.executor, _ = s.(Executor)
	m.waiter, _ = s.(Waiter)
	if _, m.instant = s.(*Memory); m.instant {
		m.Lease = forever
	}
	m.flights = flights{perKey: m.WaitersPerKey, total: m.MaxWaiters, flying: make(map[flightKey]*flight)}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}
}

type middleware struct {
	Options
	store    Store
	executor Executor // nil if the store is none
	waiter   Waiter   // nil if the store is none
	instant  bool     // the store is this process's own memory: it answers at once, and ends with those whose claims it holds
	scope    ScopeFunc
	flights  flights
	nameless atomic.Bool // a request without a principal was seen
}

// forever is the lease of a claim that is never renewed, since its owner and its store end together.
const forever = 100 * 365 * 24 * time.Hour

func (m *middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !slices.Contains(m.Methods, r.Method) || m.Skip != nil && m.Skip(r) {
		next.ServeHTTP(w, r)
		return
	}
	lines := r.Header[headerKey]
	n := runFrom(r.Context())
	switch {
	case n != nil && (len(lines) == 0 || slices.Equal(lines, n.r.Header[headerKey])):
		m.serveWithin(n, w, r, next)
	case len(lines) > 0:
		q := &request{middleware: m, next: next}
		q.serve(w, r, lines)
	case m.Required:
		apierror.Write(w, r, apierror.ParameterMissing(headerKey))
	default:
		next.ServeHTTP(w, r)
	}
}

// serveWithin serves a request whose key an outer middleware of this package has already. What this one is stricter in counts.
// A request with a key of its own is another one, which the handler has made from the first without a network in between.
func (m *middleware) serveWithin(n *run, w http.ResponseWriter, r *http.Request, next http.Handler) {
	if m.Reject != nil && len(r.Header[headerKey]) > 0 && m.Reject(r) {
		apierror.Write(w, r, errRejected())
		return
	}
	if m.AtMostOnce {
		if err := n.mark(r.Context()); err != nil {
			apierror.Write(w, r, err)
			return
		}
	}
	next.ServeHTTP(w, r)
}

func errRejected() error {
	return apierror.ParameterInvalid(headerKey, "is not supported by this endpoint")
}

// request is one request with a key.
type request struct {
	*middleware
	w        http.ResponseWriter
	r        *http.Request
	next     http.Handler
	body     requestBody
	print    Print
	token    Token
	flight   flight    // while it leads
	deadline time.Time // of waiting, once it has begun
	started  time.Time // only if there is someone to observe it
	waited   bool      // another one's run was seen
	woken    bool      // by the store's Waiter, the last time
	ran      *run      // its own run, when that is over
	event    Event     // its ID and Scope are the claim's
}

func (q *request) serve(w http.ResponseWriter, r *http.Request, lines []string) {
	q.nameRequest(w, r)
	returned := false
	defer func() { reqstate.HandBack(r, q.r, returned) }()
	q.respond(lines)
	returned = true
}

func (q *request) respond(lines []string) {
	if q.Observe != nil {
		q.started = time.Now()
		defer q.observe()
	}
	if err := q.read(lines); err != nil {
		q.refuse(Refused, err)
		return
	}
	for {
		q.flight.body = q.body.buf
		f := q.flights.join(q.flightKey(), &q.flight)
		if f == &q.flight {
			q.lead()
			return
		}
		if f == nil || !q.follow(f) {
			q.answer(Verdict{State: InFlight}, nil)
			return
		}
		if f.landing.verdict.State != InFlight { // else its leader has given up, and there is time left
			q.answer(f.landing.verdict, f.landing.err)
			return
		}
	}
}

// nameRequest sees to it that there is an id for Original-Request, when no outer layer has made one.
func (q *request) nameRequest(w http.ResponseWriter, r *http.Request) {
	q.w, q.r = w, r
	if reqstate.From(r.Context()).RequestID() != "" {
		return
	}
	var state *reqstate.State
	q.w, q.r, state = reqstate.Enter(w, r)
	if state.RequestID() == "" {
		state.AnnounceRequestID(q.w, reqid.New)
	}
}

// read finds out what is claimed. Nothing is recorded before it has succeeded.
func (q *request) read(lines []string) error {
	if q.Reject != nil && q.Reject(q.r) {
		return errRejected()
	}
	key, err := parseKey(lines)
	if err != nil {
		return apierror.ParameterInvalid(headerKey, err.Error())
	}
	principal, err := q.scope(q.r)
	if err != nil {
		if errors.Is(err, errNoPrincipal) && q.nameless.CompareAndSwap(false, true) { // a mistake of the service's, as a rule
			q.warn("idempotent: a request is refused", errNoPrincipal)
		}
		return err
	}
	if q.r.Body == nil {
		q.r.Body = http.NoBody
	}
	q.body.client, q.body.length, q.body.limit = q.r.Body, q.r.ContentLength, q.MaxBody
	q.body.parsed = len(q.r.PostForm) > 0 || q.r.MultipartForm != nil
	fingerprint, err := q.fingerprint()
	if err != nil {
		return err
	}
	q.body.client = q.r.Body // the fingerprint may have wrapped it
	q.event.ID, q.event.Scope = NewID(q.Namespace, principal, key), newScope(q.Namespace, principal)
	q.print, q.token = fingerprint, NewToken()
	return nil
}

func (q *request) claim() Claim {
	return Claim{ID: q.event.ID, Scope: q.event.Scope, Token: q.token, Print: q.print, Lease: q.Lease, Retention: q.Retention}
}

func (q *request) lease() Lease { return Lease{ID: q.event.ID, Token: q.token} }

func (q *request) fingerprint() (Print, error) {
	if q.Fingerprint != nil {
		return q.Fingerprint(q.r, q.body.load)
	}
	body, err := q.body.load()
	return PrintOf(q.r, body), err
}

// timeLeft tells how much of Options.Wait is left, which begins with the first call.
func (q *request) timeLeft() time.Duration {
	if q.deadline.IsZero() {
		q.deadline = time.Now().Add(q.Wait)
	}
	return time.Until(q.deadline)
}

// follow waits for the leader of f. It tells whether there is an answer, in time.
func (q *request) follow(f *flight) bool {
	defer q.flights.leave(f)
	q.waited = true
	q.body.share(f.body)
	timer := time.NewTimer(q.timeLeft())
	defer timer.Stop()
	select {
	case <-f.landing.done:
		return true
	case <-timer.C:
		return false
	case <-q.r.Context().Done():
		return false
	}
}

func (q *request) flightKey() flightKey { return flightKey{q.event.ID, q.print} }

// land ends the flight that the request leads.
func (q *request) land(v Verdict, err error) { q.flights.end(q.flightKey(), &q.flight, v, err) }

// lead asks the store until it has an answer, or the right to run.
func (q *request) lead() {
	defer q.land(Verdict{}, errLeaderGone) // unless it has ended
	lost := false
	for n := 0; ; n++ {
		var asked time.Time
		if !q.instant { // else no lease needs to be renewed
			asked = time.Now()
		}
		v, err := q.ask()
		switch {
		case err == nil && v.State == Acquired:
			if q.executor != nil || q.own(v.Attempt, asked) {
				q.reply()
				return
			}
			switch {
			case !lost:
				lost, q.deadline = true, time.Now().Add(q.Wait) // to another one, whose answer counts
			case !q.pause(n, 0): // the store forgets what it is told: that is no one else's answer
				q.decided(ErrLost)
				q.reply()
				return
			}
		case err == nil && v.State == InFlight && q.pause(n, v.LeaseLeft):
			// and ask again
		case err != nil && q.FailOpen && !errors.Is(err, ErrFull) && q.ran == nil && !q.waited:
			q.land(Verdict{}, err)
			q.runUnprotected(err)
			return
		default:
			q.land(v, err)
			q.answer(v, err)
			return
		}
	}
}

func (q *request) runUnprotected(err error) {
	q.stopWaiting()
	q.event.Result, q.event.Err = RanUnprotected, err
	q.warn("idempotent: a request runs unprotected, the store is failing", err)
	r := q.r.WithContext(q.r.Context())
	r.Body = &q.body
	reqstate.Serve(q.next, q.w, q.r, r)
}

// ask asks the store, or has it run the handler.
func (q *request) ask() (v Verdict, err error) {
	if q.executor != nil {
		return q.execute()
	}
	ctx := q.detached() // a client that goes away in the middle must not leave a claim that nobody knows of
	err = q.try(ctx, q.StoreTimeout, func(ctx context.Context) (err error) {
		v, err = q.store.Acquire(ctx, q.claim())
		return err
	})
	if err != nil && !errors.Is(err, ErrFull) && !q.FailOpen && q.ran == nil {
		// It may have been acquired all the same, and would hold up the retry for as long as the lease.
		_ = q.call(ctx, q.StoreTimeout, func(ctx context.Context) error {
			return q.store.Finish(ctx, q.lease(), Outcome{State: Released})
		})
	}
	return v, err
}

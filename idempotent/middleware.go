package idempotent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
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
// their refusals are never a key's answer. Nil options are the defaults. It panics without a store or a scope, and on options that
// contradict each other.
func New(s Store, scope ScopeFunc, o *Options) func(http.Handler) http.Handler {
	m := &middleware{Options: o.withDefaults(s, scope), store: s, scope: scope}
	m.executor, _ = s.(Executor)
	m.waiter, _ = s.(Waiter)
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
	scope    ScopeFunc
	flights  flights
}

func (m *middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !slices.Contains(m.Methods, r.Method) || m.Skip != nil && m.Skip(r) || runFrom(r.Context()) != nil {
		next.ServeHTTP(w, r) // the last: an outer middleware of this package has the key already
		return
	}
	lines := r.Header[headerKey]
	switch {
	case len(lines) > 0:
		q := &request{middleware: m, w: w, r: r, next: next, started: time.Now()}
		q.serve(lines)
	case m.Required:
		apierror.Write(w, r, apierror.ParameterMissing(headerKey))
	default:
		next.ServeHTTP(w, r)
	}
}

// request is one request with a key.
type request struct {
	*middleware
	w       http.ResponseWriter
	r       *http.Request
	next    http.Handler
	body    requestBody
	claim   Claim
	started time.Time
	waited  bool // another one's run was seen
	woken   bool // by the store's Waiter, the last time
	ended   *ended
	event   Event
}

func (q *request) serve(lines []string) {
	defer q.observe()
	q.nameRequest()
	if err := q.read(lines); err != nil {
		q.event.Result, q.event.Err = Refused, err
		apierror.Write(q.w, q.r, err)
		return
	}
	deadline := q.started.Add(q.Wait)
	for {
		f, leads := q.flights.join(flightKey{q.claim.ID, q.claim.Print}, q.body.buf)
		switch {
		case f == nil:
			q.answer(Verdict{State: InFlight}, nil)
			return
		case leads:
			q.lead(f, deadline)
			return
		}
		q.waited = true
		q.body.share(f.body)
		over := q.follow(f, deadline)
		if over || f.verdict.State != InFlight {
			v, err := Verdict{State: InFlight}, error(nil)
			if !over {
				v, err = f.verdict, f.err
			}
			q.answer(v, err)
			return
		}
	}
}

// nameRequest sees to it that there is an id for Original-Request, when no outer layer has made one.
func (q *request) nameRequest() {
	r, state := reqstate.Ensure(q.r)
	q.r = r
	if state.RequestID() == "" {
		id := reqid.New()
		state.SetRequestID(id)
		q.w.Header().Set("Request-Id", id)
		q.w.Header().Set("X-Request-Id", id)
	}
}

// read makes the claim. Nothing is recorded before it has succeeded.
func (q *request) read(lines []string) error {
	if q.Reject != nil && q.Reject(q.r) {
		return apierror.ParameterInvalid(headerKey, "is not supported by this endpoint")
	}
	key, err := parseKey(lines)
	if err != nil {
		return apierror.ParameterInvalid(headerKey, err.Error())
	}
	principal, err := q.scope(q.r)
	if err != nil {
		return err
	}
	if q.r.Body == nil {
		q.r.Body = http.NoBody
	}
	q.body = requestBody{client: q.r.Body, limit: q.MaxBody, length: q.r.ContentLength}
	fingerprint, err := q.Fingerprint(q.r, q.body.load)
	if err != nil {
		return err
	}
	q.body.client = q.r.Body // the fingerprint may have wrapped it
	q.claim = Claim{
		ID:        NewID(q.Namespace, principal, key),
		Scope:     newScope(q.Namespace, principal),
		Token:     NewToken(),
		Print:     fingerprint,
		Lease:     q.Lease,
		Retention: q.Retention,
	}
	q.event.ID, q.event.Scope = q.claim.ID, q.claim.Scope
	return nil
}

// follow waits for the leader of f. It tells whether the time is over instead.
func (q *request) follow(f *flight, deadline time.Time) (over bool) {
	defer q.flights.leave(f)
	select {
	case <-f.done:
		return false
	default:
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-f.done:
		return false
	case <-timer.C:
	case <-q.r.Context().Done():
	}
	return true
}

// lead asks the store until it has an answer, or the right to run.
func (q *request) lead(f *flight, deadline time.Time) {
	defer q.flights.end(f, Verdict{}, errLeaderGone) // unless it was ended before
	for n := 0; ; n++ {
		asked := time.Now()
		v, err := q.ask(f)
		switch {
		case err == nil && v.State == Acquired:
			if q.executor == nil && !q.own(f, v.Attempt, asked) {
				deadline = time.Now().Add(q.Wait)
				continue // the answer of the one that it was lost to counts
			}
			q.reply()
			return
		case err == nil && v.State == InFlight && q.pause(n, v.LeaseLeft, deadline):
			// and ask again
		case err != nil && q.FailOpen && !errors.Is(err, ErrFull) && q.ended == nil:
			q.flights.end(f, Verdict{}, err)
			q.event.Result, q.event.Err = RanUnprotected, err
			q.warn(q.r.Context(), "idempotent: a request runs unprotected, the store is failing", q.claim.ID, err)
			r := q.r.WithContext(q.r.Context())
			r.Body = &q.body
			q.next.ServeHTTP(q.w, r)
			return
		default:
			q.flights.end(f, v, err)
			q.answer(v, err)
			return
		}
	}
}

// ask asks the store once, and again while its replies are lost.
func (q *request) ask(f *flight) (v Verdict, err error) {
	ctx := q.r.Context()
	if q.executor != nil {
		return q.execute(ctx, f)
	}
	// A client that goes away in the middle must not leave a claim that nobody knows of.
	ctx = context.WithoutCancel(ctx)
	err = q.try(ctx, q.StoreTimeout, func(ctx context.Context) (err error) {
		v, err = q.store.Acquire(ctx, q.claim)
		return err
	})
	if err != nil && !errors.Is(err, ErrFull) && !q.FailOpen && q.ended == nil {
		// It may have been acquired all the same, and would hold up the retry for as long as the lease.
		_ = q.call(ctx, func(ctx context.Context) error { return q.store.Finish(ctx, q.claim.Own(), Outcome{State: Released}) })
	}
	return v, err
}

// answer answers a request whose handler is not run, or whose answer does not count.
func (q *request) answer(v Verdict, err error) {
	if q.ended == nil {
		q.event.Waited = time.Since(q.started)
	}
	q.event.Err = err
	soon := time.Duration(1+rand.IntN(2)) * time.Second
	refuse := func(res Result, err error) {
		q.event.Result = res
		apierror.Write(q.w, q.r, err)
	}
	switch {
	case errors.Is(err, ErrQuota):
		refuse(OverQuota, apierror.RateLimitExceeded(soon).WithCause(err))
	case err != nil:
		refuse(StoreFailed, apierror.ServiceUnavailable(soon).WithCause(err))
	case v.State == InFlight && errors.Is(q.r.Context().Err(), context.Canceled):
		refuse(InProgress, q.r.Context().Err())
	case v.State == InFlight:
		refuse(InProgress, apierror.IdempotencyInProgress(soon))
	case v.State == Released:
		refuse(LeaderFailed, apierror.ServiceUnavailable(soon).WithCause(errLeaderFailed))
	case v.State == Mismatch:
		refuse(Conflict, apierror.IdempotencyConflict())
	case v.State == Unknown:
		refuse(OutcomeUnknown, apierror.IdempotencyOutcomeUnknown())
	case v.State == Expired:
		refuse(Unavailable, apierror.IdempotencyResponseUnavailable())
	case v.State == Done, v.State == Sealed:
		q.replay(v)
	default:
		refuse(StoreFailed, apierror.Internal(fmt.Errorf("idempotent: the store answered the state %d", v.State)))
	}
}

// replay answers with what was recorded.
func (q *request) replay(v Verdict) {
	rec, err := parseRecord(v.Record)
	if err != nil {
		q.event.Result, q.event.Err = StoreFailed, err
		apierror.Write(q.w, q.r, apierror.Internal(err))
		return
	}
	if q.Authorize != nil {
		if err := q.Authorize(q.r); err != nil {
			q.event.Result, q.event.Err = Refused, err
			apierror.Write(q.w, q.r, err)
			return
		}
	}
	q.event.Status = rec.status
	if v.State == Sealed {
		q.event.Result = Unavailable
		e := apierror.IdempotencyResponseUnavailable()
		for name, values := range rec.fields {
			e = e.WithHeader(name, values[0]) // there is the Location at most
		}
		apierror.Write(q.w, q.r, e)
		return
	}
	q.event.Result = Replayed
	h := q.w.Header()
	h.Set(headerReplayed, "true")
	if rec.requestID != "" {
		h.Set(headerOriginal, rec.requestID)
	}
	send(q.w, &rec, nil)
}

// pause waits before the store is asked again, the longer the more often it was asked. It tells whether there is time left to ask.
func (q *request) pause(n int, leaseLeft time.Duration, deadline time.Time) bool {
	ctx := q.r.Context()
	left := time.Until(deadline)
	if left <= 0 || ctx.Err() != nil || !q.flights.poll() {
		return false
	}
	defer q.flights.polled()
	q.waited = true
	const first, longest = 50 * time.Millisecond, time.Second
	d := min(first<<min(n, 5), longest)
	d = d/2 + rand.N(d)
	if leaseLeft > 0 {
		d = min(d, leaseLeft)
	}
	ctx, cancel := context.WithTimeout(ctx, min(d, left))
	defer cancel()
	// A hint that turned out to be wrong is not asked for twice in a row, or a Waiter that always returns would make a busy loop.
	if q.waiter != nil && !q.woken {
		q.woken = q.waiter.Wait(ctx, q.claim.ID) == nil
		if q.woken {
			return true
		}
	}
	q.woken = false
	<-ctx.Done()
	return q.r.Context().Err() == nil
}

// observe reports the request, when all is done, so that a hook that panics leaves nothing behind.
func (q *request) observe() {
	if q.Observe != nil {
		q.Observe(q.r.Context(), q.event)
	}
}

func (m *middleware) warn(ctx context.Context, msg string, id ID, err error) {
	m.Logger.LogAttrs(ctx, slog.LevelWarn, msg, slog.String("idempotency_id", id.String()), slog.Any("error", err))
}

// call runs one call of the store, with its time-out. A driver that panics has failed.
func (m *middleware) call(ctx context.Context, op func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, m.StoreTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("idempotent: the store panicked: %v", p)
		}
	}()
	return op(ctx)
}

// try repeats a call of the store until it is answered or time is up: a failed call may have lost its reply only.
func (m *middleware) try(ctx context.Context, patience time.Duration, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		err := m.call(ctx, op)
		if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrFull) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

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
	"github.com/seawall-go/seawall/internal/route"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotent-Replayed"
	headerOriginal = "Original-Request"
)

// New returns a middleware that answers a repeated request with a key (the Idempotency-Key
// field) from the store instead of running the handler again. The scope returns whose key it is.
// The middleware belongs behind authentication and rate limits, so that their refusals are never
// a key's answer. Nil options are the defaults. It panics without a store or a scope, and on
// options that contradict each other.
//
// A key is 1 to 255 visible ASCII characters, bare or as a quoted string: abc and "abc" are the
// same key. Anything else is answered with 400.
//
// If the handler is a *http.ServeMux, or its seawall.NotFound, what the mux answers by itself
// (404, 405, redirects) is no key's answer: no handler ran.
func New(s Store, scope ScopeFunc, o *Options) func(http.Handler) http.Handler {
	if scope == nil {
		panic("idempotent: New needs a ScopeFunc: ByPrincipal, or Global where all callers may share their keys")
	}
	m := &middleware{Guard: newGuard(s, o), scope: scope}
	m.opt.withHTTPDefaults()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}
}

type middleware struct {
	*Guard
	scope    ScopeFunc
	nameless atomic.Bool // a request without a principal was seen
}

func (m *middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	lines := r.Header[headerKey]
	if !slices.Contains(m.opt.Methods, r.Method) || m.opt.Skip != nil && m.opt.Skip(r) ||
		(len(lines) > 0 || m.opt.Required) && route.Unrouted(next, r) {
		next.ServeHTTP(w, r)
		return
	}
	outer := runFrom(r.Context())
	switch {
	case outer.covers(lines):
		m.serveWithin(outer, w, r, next)
	case len(lines) > 0:
		q := &request{m: m, next: next}
		q.serve(w, r, lines)
	default:
		m.serveUnkeyed(w, r, next)
	}
}

func (m *middleware) serveUnkeyed(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if m.opt.Required {
		apierror.Write(w, r, apierror.ParameterMissing(headerKey))
		return
	}
	next.ServeHTTP(w, r)
}

// covers reports whether a request with these key lines belongs to the run: it has no key, or
// the same one. A request with another key is a different one, which the handler has made from
// the first without a network in between.
func (n *run) covers(lines []string) bool {
	if n == nil || n.hasEnded() {
		return false
	}
	q, ok := n.task.(*request)
	return ok && (len(lines) == 0 || slices.Equal(lines, q.r.Header[headerKey]))
}

// serveWithin serves a request whose key an outer middleware of this package has taken. The inner
// middleware's AtMostOnce still applies.
func (m *middleware) serveWithin(n *run, w http.ResponseWriter, r *http.Request, next http.Handler) {
	if m.opt.AtMostOnce {
		if err := n.beginEffect(r.Context(), n.mark); err != nil {
			apierror.Write(w, r, err)
			return
		}
	}
	next.ServeHTTP(w, r)
}

// request is one request with a key. It is the task of its call.
type request struct {
	m    *middleware
	next http.Handler
	w    http.ResponseWriter
	r    *http.Request
	body requestBody
	call call
	// Of the last run; nil if there was none.
	served *http.Request
	out    *capture
}

// serve takes a keyed request from its beginning to its end: what it asks for, what becomes of
// that, and the reply.
func (q *request) serve(w http.ResponseWriter, r *http.Request, lines []string) {
	q.ensureRequestID(w, r)
	returned := false
	defer func() {
		if q.served != nil { // outer layers see the form, as without a key
			q.r.Form, q.r.PostForm = q.served.Form, q.served.PostForm
		}
		reqstate.HandBack(r, q.r, returned)
	}()

	q.call = call{
		Guard: q.m.Guard, task: q, caller: q.r.Context(), detached: true, started: time.Now(),
	}
	if keyed, err := q.read(lines); keyed {
		if q.m.opt.Observe != nil {
			defer q.observe()
		}
		if err != nil {
			q.call.stampWaited()
			q.refuse(OutcomeRefused, err)
		} else {
			q.reply(q.call.do())
		}
	} else {
		q.m.serveUnkeyed(q.w, q.r, q.next)
	}
	returned = true
}

// ensureRequestID sees to it that there is an id for Original-Request, if no outer layer has
// made one.
func (q *request) ensureRequestID(w http.ResponseWriter, r *http.Request) {
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

// read finds out what is asked for. Nothing is recorded before it has succeeded. keyed is false
// if the scope wants the key to be ignored.
func (q *request) read(lines []string) (keyed bool, err error) {
	principal, err := q.m.scope(q.r)
	switch {
	case errors.Is(err, ErrIgnoreKey):
		return false, nil
	case errors.Is(err, errNoPrincipal):
		if q.m.nameless.CompareAndSwap(false, true) { // the service's mistake, as a rule
			q.call.warn("idempotent: a request is refused", errNoPrincipal)
		}
		return true, err
	case err != nil:
		return true, err
	case principal == "":
		return true, apierror.CodeAPIError.New().WithCause(errEmptyPrincipal)
	}
	key, err := parseKey(lines)
	if err != nil {
		return true, apierror.ParameterInvalid(headerKey, err.Error())
	}
	q.body.takeOver(q.r, q.m.opt.MaxBody)
	fingerprint, err := q.fingerprint()
	if err != nil {
		return true, err
	}
	q.body.client = q.r.Body // FingerprintDigest wraps it
	q.call.identify(principal, key, fingerprint)
	q.call.latest = latest(q.r, q.call.started)
	return true, nil
}

func (q *request) fingerprint() (Fingerprint, error) {
	if q.m.opt.Fingerprint != nil {
		return q.m.opt.Fingerprint(q.r, q.body.load)
	}
	return FingerprintBody(q.r, q.body.load)
}

// latest returns when a reply must begin to be of use: a little before the deadline of the
// request and the server's WriteTimeout. It is zero if neither is known.
func latest(r *http.Request, started time.Time) (at time.Time) {
	if d, ok := r.Context().Deadline(); ok {
		at = d
	}
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
		if d := started.Add(s.WriteTimeout); at.IsZero() || d.Before(at) {
			at = d
		}
	}
	if at.IsZero() {
		return at
	}
	return at.Add(-at.Sub(started) / 10)
}

// dropBody implements task.
func (q *request) dropBody() { q.body.drop() }

// run implements task: it calls the handler and decides what its end means.
func (q *request) run(n *run) Completion {
	if !q.body.rewind() { // in an Executor that begins again
		n.err = serviceUnavailable(errNotRewound)
		return Completion{State: StateAbsent}
	}
	q.restoreHeader() // after an earlier run in an Executor
	q.out = newCapture(q.w, q.m.opt.MaxResponse)
	if n.executor == nil {
		q.out.streams = n.streams
		q.out.beforeOpen = func() error { return n.recordNotKept(q.notKept(), q.isKept()) }
	}
	r := q.r.WithContext(&n.ctx)
	r.Body = q.body.reader()
	q.served = r
	reqstate.ServeAgain(q.next, q.out, q.r, r)
	return q.handlerReturned(n)
}

// isKept reports whether the response is the key's answer, by its status. After a body that
// could not be read to its end nothing is.
func (q *request) isKept() bool { return !q.body.broken && q.m.opt.Keep(q.out.status) }

// handlerReturned is what the handler's return means.
func (q *request) handlerReturned(n *run) Completion {
	c := q.out
	silent, failure := c.status == 0, c.err
	whole := c.close()
	q.call.event.Status = c.status
	failed := Completion{State: StateAbsent}
	switch {
	case errors.Is(failure, ErrLeaseLost) && !c.through:
		// It ran. If there is no answer of another owner after all, this one stands.
		n.err = apierror.CodeIdempotencyResponseUnavailable.New().WithCause(ErrLeaseLost)
		return q.notKept()
	case errors.Is(failure, errTooLarge):
		n.err = apierror.CodeAPIError.New().WithCause(errTooLarge)
		return failed
	case silent && n.ctx.Err() != nil:
		// Nothing was written because the run was ended. That is no empty success.
		n.err = ended(&n.ctx)
		return failed
	case !whole && !c.through:
		n.err = apierror.CodeAPIError.New().WithCause(errShort)
		return failed
	case !q.isKept():
		return failed
	case c.through:
		return q.notKept()
	default:
		return Completion{State: StateDone, Response: c.encode(q.requestID(), q.m.opt.OmitFields)}
	}
}

func (q *request) notKept() Completion {
	return Completion{State: StateNotKept, Response: q.out.encodeNotKept(q.requestID())}
}

// ended is the answer of a handler that wrote nothing because its context had ended.
func ended(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), cause == context.Canceled: //nolint:errorlint // what wraps it says more
		return ctx.Err()
	default:
		return serviceUnavailable(cause)
	}
}

func (q *request) requestID() string { return reqstate.From(q.r.Context()).RequestID() }

// reply answers the request.
func (q *request) reply(r result) {
	q.call.event.Outcome, q.call.event.Err = r.outcome, r.err
	switch r.outcome {
	case OutcomeExecuted, OutcomeNotKept, OutcomeReleased, OutcomeUnknown, OutcomeUnrecorded:
		q.replyOwn(r.answer)
	case OutcomeBypassed:
		q.call.stampWaited()
		q.serveBypassed()
	default:
		if q.out == nil { // a run has stamped it already
			q.call.stampWaited()
		}
		q.restoreHeader()
		q.replyOfRecord(r)
	}
}

// replyOwn answers with what this request's run has left: an error, or the response.
func (q *request) replyOwn(err error) {
	switch {
	case err != nil:
		q.restoreHeader()
		q.call.event.Err = err
		apierror.Write(q.w, q.r, err)
	case !q.out.through:
		_ = q.out.send() // a client that has gone will ask again
	}
}

// serveBypassed serves the request as if it had no key.
func (q *request) serveBypassed() {
	r := q.r.WithContext(q.r.Context())
	r.Body = q.body.reader()
	reqstate.Serve(q.next, q.w, q.r, r)
}

// replyOfRecord answers with what is known of an earlier request, or of the store.
func (q *request) replyOfRecord(r result) {
	switch r.outcome {
	case OutcomeStoreFailed, OutcomeStoreFull, OutcomeOverQuota:
		q.refuse(r.outcome, r.refusal())
		return
	}
	if q.m.opt.Authorize != nil {
		if err := q.m.opt.Authorize(q.r); err != nil {
			q.refuse(OutcomeRefused, err)
			return
		}
	}
	if r.outcome != OutcomeReplayed {
		q.refuse(r.outcome, r.refusal())
		return
	}
	rec, err := parseRecord(r.response)
	if err != nil {
		q.refuse(OutcomeStoreFailed, apierror.CodeAPIError.New().WithCause(err))
		return
	}
	q.call.event.Status = rec.status
	replay(q.w, &rec)
}

// restoreHeader takes back what a run has done to the header.
func (q *request) restoreHeader() {
	if q.out != nil {
		q.out.restoreHeader()
	}
}

func (q *request) refuse(o Outcome, err error) {
	if o == OutcomeInProgress && errors.Is(q.r.Context().Err(), context.Canceled) {
		err = q.r.Context().Err() // no one is there to be told to come again
	}
	q.call.event.Outcome, q.call.event.Err = o, err
	apierror.Write(q.w, q.r, err)
}

// observe reports the request when all is done, so that a hook that panics leaves nothing behind.
func (q *request) observe() { q.m.opt.Observe(q.r.Context(), q.call.event) }

var (
	errShort      = errors.New("idempotent: the handler wrote less, or more, than its Content-Length")
	errNotRewound = errors.New("idempotent: the Executor begins again, and the body of the request has been read from the client")
)

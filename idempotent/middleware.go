package idempotent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/route"
	"github.com/seawall-go/seawall/internal/track"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotent-Replayed"
	headerOriginal = "Original-Request"
)

// New returns a middleware that runs the handler once for each Idempotency-Key and answers a
// retry from the store. The function scope returns the principal to whom a key belongs. Put
// the middleware inside of authentication and rate limits, so that their refusals are not
// recorded. If o is nil, the defaults apply. New panics if s or scope is nil, or if options
// contradict each other.
//
// A key is 1 to 255 visible ASCII characters, bare or as a quoted string: abc and "abc" are
// the same key. A request with any other value is answered 400 parameter_invalid. See
// draft-ietf-httpapi-idempotency-key-header-07, section 2.1.
//
// If the handler is a *http.ServeMux, or has the handler that seawall.WrapMux returns for one
// anywhere inside, the mux's own answers (404, 405, redirects) are not recorded, because no
// handler ran.
func New(s Store, scope ScopeFunc, o *Options) func(http.Handler) http.Handler {
	if scope == nil {
		panic("idempotent: New needs a ScopeFunc, such as ByPrincipal, or Global if all callers may share their keys")
	}
	m := &middleware{Guard: newGuard(s, o), scope: scope}
	m.opt.withHTTPDefaults()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
	}
}

type middleware struct {
	*Guard
	scope         ScopeFunc
	loggedNoScope atomic.Bool // a request without a principal was logged
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

// covers reports whether a request with these key lines belongs to the run: it has the same
// key, or none. A request with another key is a separate request that the handler makes while
// it serves its own.
func (n *run) covers(lines []string) bool {
	if n == nil || n.isOver() {
		return false
	}
	q, ok := n.task.(*request)
	return ok && (len(lines) == 0 || slices.Equal(lines, q.r.Header[headerKey]))
}

// serveWithin serves a request whose key an outer middleware of this package has taken.
func (m *middleware) serveWithin(n *run, w http.ResponseWriter, r *http.Request, next http.Handler) {
	if m.opt.AtMostOnce {
		if err := n.beginEffect(r.Context(), n.storeEffect); err != nil {
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

	served *http.Request // what the handler was given; nil if it did not run
	out    *capture      // what the handler has written; nil if it did not run
}

// serve reads the request, makes the call, and replies.
func (q *request) serve(w http.ResponseWriter, r *http.Request, lines []string) {
	q.ensureRequestID(w, r)
	returned := false
	defer func() {
		if q.served != nil {
			reqstate.HandBack(q.r, q.served, returned)
		}
		reqstate.HandBack(r, q.r, returned)
	}()

	q.call = call{Guard: q.m.Guard, task: q, caller: q.r.Context(), detached: true, started: time.Now()}
	keyed, err := q.read(lines)
	if keyed {
		defer q.observe()
	}
	switch {
	case !keyed:
		q.m.serveUnkeyed(q.w, q.r, q.next)
	case err != nil:
		q.call.stampWaited()
		q.refuse(OutcomeRefused, err)
	default:
		q.reply(q.call.do())
	}
	returned = true
}

// observe calls Options.Observe. It is called last, so that a hook that panics leaks nothing.
func (q *request) observe() { q.m.opt.Observe(q.r.Context(), q.call.event) }

// ensureRequestID makes an id for Original-Request if no outer layer has made one.
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

// read reads the request's principal, key and fingerprint. It reports keyed as false if the
// ScopeFunc ignores the key. After an error, nothing is recorded.
func (q *request) read(lines []string) (keyed bool, err error) {
	principal, err := q.m.scope(q.r)
	switch {
	case errors.Is(err, ErrIgnoreKey):
		return false, nil
	case errors.Is(err, errNoPrincipal):
		if q.m.loggedNoScope.CompareAndSwap(false, true) { // usually a mistake in the chain
			q.call.warn("idempotent: a request is refused", errNoPrincipal)
		}
		return true, err
	case err != nil:
		return true, err
	case principal == "":
		return true, internalError(errEmptyPrincipal)
	}
	key, err := parseKey(lines)
	if err != nil {
		return true, apierror.ParameterInvalid(headerKey, err.Error())
	}
	q.body.takeOver(q.r, q.m.opt.MaxBody)
	fingerprint, err := q.m.opt.Fingerprint(q.r, q.body.load)
	if err != nil {
		return true, err
	}
	q.body.client = q.r.Body // FingerprintDigest wraps it
	q.call.identify(principal, key, fingerprint)
	q.call.latest = latest(q.r, q.call.started)
	return true, nil
}

// latest returns the time by which a reply must begin: a little before the deadline of the
// request or the server's WriteTimeout, whichever is earlier. It is zero if neither is known.
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

// run implements task. It calls the handler.
func (q *request) run(n *run) Completion {
	if !q.body.rewind() { // an Executor runs the handler again
		n.err = serviceUnavailable(errNotRewound)
		return Completion{State: StateAbsent}
	}
	q.restoreHeader()
	q.out = newCapture(n.ctx, q.w, q.m.opt.MaxResponse)
	if n.executor == nil {
		q.out.streams = n.streams
		q.out.beforeOpen = func() error { return n.recordNotKept(q.notKept(), q.isKept()) }
	}
	r := q.r.WithContext(n.ctx)
	r.Body = q.body.reader()
	q.served = r
	w, _ := track.Wrap(q.out, r) // so that apierror.Write knows whether the handler has begun its response
	reqstate.ServeAgain(q.next, w, q.r, r)
	return q.completion(n)
}

// completion returns the completion of a run whose handler has returned.
func (q *request) completion(n *run) Completion {
	c := q.out
	silent, failure := c.status == 0, c.err
	whole := c.close()
	q.call.event.Status = c.status
	failed := Completion{State: StateAbsent}
	switch {
	case errors.Is(failure, ErrLeaseLost) && !c.through:
		// The handler ran. If no other owner turns out to have a response, this completion is
		// recorded.
		n.err = apierror.CodeIdempotencyResponseUnavailable.New().WithCause(ErrLeaseLost)
		return q.notKept()
	case errors.Is(failure, errTooLarge):
		n.err = internalError(errTooLarge)
		return failed
	case silent && n.ctx.Err() != nil:
		// The handler wrote nothing because its context had ended. That must not be recorded
		// as an empty 200.
		n.err = endedBy(n.ctx)
		return failed
	case !whole && !c.through:
		n.err = internalError(errShort)
		return failed
	case !q.isKept():
		return failed
	case c.through:
		return q.notKept()
	default:
		return Completion{State: StateDone, Response: c.encode(q.requestID(), q.m.opt.OmitFields)}
	}
}

// isKept reports whether the response is recorded, by its status. It reports false if the
// request body could not be read to its end, or if a mux has answered that other middleware hides.
func (q *request) isKept() bool {
	return !q.body.broken && !q.isOfMux() && q.m.opt.Keep(q.out.status)
}

// isOfMux reports whether the response is a mux's own. With another status it is a handler's, even
// if the handler has asked a mux.
func (q *request) isOfMux() bool {
	switch q.out.status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusMethodNotAllowed:
		return reqstate.From(q.r.Context()).Unhandled()
	default:
		return false
	}
}

func (q *request) notKept() Completion {
	return Completion{State: StateNotKept, Response: q.out.encodeNotKept(q.requestID())}
}

func (q *request) requestID() string { return reqstate.From(q.r.Context()).RequestID() }

// endedBy returns the error to answer with if a handler wrote nothing because ctx had ended.
func endedBy(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), cause == context.Canceled: //nolint:errorlint // an error that wraps it is a cause
		return ctx.Err()
	default:
		return serviceUnavailable(cause)
	}
}

// reply answers the request.
func (q *request) reply(r result) {
	q.call.event.Outcome, q.call.event.Err = r.outcome, r.err
	switch r.outcome {
	case OutcomeExecuted, OutcomeNotKept, OutcomeReleased, OutcomeUnknown, OutcomeUnrecorded:
		q.replyOwn(r.answer)
	case OutcomeBypassed:
		q.serveBypassed()
	case OutcomeStoreFailed, OutcomeStoreFull, OutcomeOverQuota:
		q.restoreHeader()
		q.refuse(r.outcome, r.refusal())
	default:
		q.restoreHeader()
		q.replyOther(r)
	}
}

// replyOwn answers with the result of this request's run: an error or the response.
func (q *request) replyOwn(err error) {
	switch {
	case err != nil:
		q.restoreHeader()
		q.call.event.Err = err
		apierror.Write(q.w, q.r, err)
	case !q.out.through:
		_ = q.out.send() // a client that has left will retry
	}
}

// serveBypassed serves the request as if it had no key.
func (q *request) serveBypassed() {
	r := q.r.WithContext(q.r.Context())
	r.Body = q.body.reader()
	reqstate.Serve(q.next, q.w, q.r, r)
}

// replyOther answers from the record of another request with the same key: with its response
// or with an error.
func (q *request) replyOther(r result) {
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
		q.refuse(OutcomeStoreFailed, internalError(err))
		return
	}
	q.call.event.Status = rec.status
	q.announceReplay(&rec)
	replay(q.w, &rec)
}

// announceReplay lets outer layers know which error is about to be replayed, if it is an error
// object.
func (q *request) announceReplay(rec *record) {
	if rec.status < 400 {
		return
	}
	response := &http.Response{StatusCode: rec.status, Header: make(http.Header), Body: io.NopCloser(bytes.NewReader(rec.body))}
	rec.apply(response.Header)
	if e, ok := errors.AsType[*apierror.Error](apierror.Parse(response)); ok && e.FromServer() {
		reqstate.Of(q.w, q.r).Sending(e, rec.status, false)
	}
}

func (q *request) refuse(o Outcome, err error) {
	if o == OutcomeInProgress && errors.Is(q.r.Context().Err(), context.Canceled) {
		err = q.r.Context().Err() // the client has left and cannot be told to retry
	}
	q.call.event.Outcome, q.call.event.Err = o, err
	apierror.Write(q.w, q.r, err)
}

// restoreHeader undoes what a run has done to the header.
func (q *request) restoreHeader() {
	if q.out != nil {
		q.out.restoreHeader()
	}
}

var (
	errShort      = errors.New("idempotent: the handler wrote less, or more, than its Content-Length")
	errNotRewound = errors.New("idempotent: the Executor runs the handler again, but the request body was already read from the client")
)

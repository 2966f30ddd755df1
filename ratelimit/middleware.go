package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// Options are options of [New].
type Options struct {
	// Shadow lets every request through: what would have been refused is only counted, by Observe. Nothing shows in the answers.
	Shadow bool

	// OnFailure says what happens when the limiter fails. 0 is FailLocal.
	OnFailure OnFailure

	// LegacyHeaders adds X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset (in seconds from now).
	LegacyHeaders bool

	// Deny answers a request that is over a limit. RateLimit fields and Retry-After are set when it is called; d is the decision of the
	// rule with the longest wait. Nil answers with 429 rate_limit_exceeded.
	Deny func(w http.ResponseWriter, r *http.Request, d Decision)

	// Observe is told the outcome of every request. Nil is nobody. It must be quick: the request waits for it.
	Observe func(context.Context, Event)

	// Logger gets a record when the limiter begins to fail, one when it works again, and one for the first request that ByPrincipal
	// finds no principal for. Nil is slog.Default().
	Logger *slog.Logger
}

// OnFailure says what the middleware does with a request when its Limiter returns an error. That by itself is never a 429: the caller is not
// at fault. A limiter without room ([ErrFull]) is not one that fails: that is answered with 503 in any case.
type OnFailure int

const (
	// FailLocal asks a [Memory] of the middleware's own instead. Every process gives each key the whole limit then.
	FailLocal OnFailure = iota

	// FailOpen lets the request through, without RateLimit fields.
	FailOpen

	// FailClosed answers with 503 service_unavailable.
	FailClosed
)

// New returns a middleware that charges each request by all of the rules: when one of them denies it, none is charged. It panics on a
// rule that cannot work (no key, an invalid limit, a name twice), without any rule, and for several rules when l is no [MultiLimiter].
//
// Every answer to a request that the limiter decided about has the RateLimit and RateLimit-Policy fields of
// draft-ietf-httpapi-ratelimit-headers-10, whatever the handler makes of it. A denial is 429 rate_limit_exceeded with Retry-After; for a
// cost over the burst, which waiting does not help, with X-Should-Retry: false instead.
func New(l Limiter, o *Options, rules ...Rule) func(http.Handler) http.Handler {
	g := newGate(l, o, rules)
	return func(next http.Handler) http.Handler {
		checkHandler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if g.admit(w, r) {
				next.ServeHTTP(w, r)
			}
		})
	}
}

func checkHandler(next http.Handler) {
	if next == nil {
		panic("ratelimit: a middleware around a nil http.Handler")
	}
}

// gate is the middleware without the handler.
type gate struct {
	Options
	limiter  Limiter
	multi    MultiLimiter // nil if the limiter is none
	local    *Memory      // for FailLocal
	failing  atomic.Bool
	nameless atomic.Bool // a request without a principal was seen
	rules    []rule
	sessions sync.Pool
}

func newGate(l Limiter, o *Options, rules []Rule) *gate {
	if l == nil {
		panic("ratelimit: New with a nil Limiter")
	}
	if len(rules) == 0 {
		panic("ratelimit: New without a rule")
	}
	g := &gate{limiter: l}
	g.sessions.New = func() any {
		return &session{charges: make([]Charge, len(rules)), decisions: make([]Decision, len(rules))}
	}
	if o != nil {
		g.Options = *o
	}
	g.multi, _ = l.(MultiLimiter)
	if len(rules) > 1 && g.multi == nil {
		panic("ratelimit: several rules need a MultiLimiter")
	}
	switch g.OnFailure {
	case FailLocal:
		g.local = NewMemory(nil)
	case FailOpen, FailClosed:
	default:
		panic("ratelimit: Options.OnFailure is none of the three")
	}
	for _, r := range rules {
		c := newRule(r)
		if slices.ContainsFunc(g.rules, func(other rule) bool { return other.Name == c.Name }) {
			panic("ratelimit: two rules are called " + strconv.Quote(c.Name))
		}
		g.rules = append(g.rules, c)
	}
	return g
}

// session is what is known about one request. It is used again for others, which spares them the allocations.
type session struct {
	rules     []*rule    // those that apply
	charges   []Charge   // theirs; until that is known, room for all
	decisions []Decision // theirs; the same
	text      []byte     // for writing fields
	values    []string   // room for header values: see value
}

// admit tells whether the request may go on, and answers it otherwise.
func (g *gate) admit(w http.ResponseWriter, r *http.Request) bool {
	s := g.sessions.Get().(*session)
	defer g.release(s)
	if policy, err := g.charges(r, s); err != nil {
		if errors.Is(err, errNoPrincipal) && g.nameless.CompareAndSwap(false, true) {
			g.logger().LogAttrs(r.Context(), slog.LevelWarn, "ratelimit: a request has no key", slog.String("cause", err.Error()))
		}
		return refuseKey(w, r, policy, err, g.Shadow, g.Observe)
	}
	if len(s.rules) == 0 {
		return true
	}
	failure := g.take(r.Context(), s)
	switch {
	case failure == nil:
	case r.Context().Err() != nil: // the caller has gone, or its time is up
		return g.fail(w, r, s, r.Context().Err())
	case g.OnFailure == FailClosed, errors.Is(failure, ErrFull):
		return g.fail(w, r, s, apierror.ServiceUnavailable(time.Second).WithCause(failure))
	case g.OnFailure == FailOpen:
		g.observe(r, s, OutcomeAllowed, failure)
		return true
	}
	denial := s.denial()
	outcome := OutcomeAllowed
	if denial != nil {
		outcome = OutcomeDenied
	}
	if g.Shadow {
		g.observe(r, s, outcome, failure)
		return true
	}
	s.setFields(w.Header())
	if g.LegacyHeaders {
		s.setLegacy(w.Header())
	}
	g.observe(r, s, outcome, failure)
	if denial != nil {
		g.deny(w, r, *denial)
	}
	return denial == nil
}

// charges collects what the rules that apply charge. After an error, policy is the name of the rule that it comes from.
func (g *gate) charges(r *http.Request, s *session) (policy string, err error) {
	for i := range g.rules {
		c := &g.rules[i]
		applies, err := c.charge(r, &s.charges[len(s.rules)])
		if err != nil {
			return c.Name, err
		}
		if applies {
			s.rules = append(s.rules, c)
		}
	}
	s.charges, s.decisions = s.charges[:len(s.rules)], s.decisions[:len(s.rules)]
	return "", nil
}

// release makes the session ready for another request. Keys may be secrets: none stays in it.
func (g *gate) release(s *session) {
	all := len(g.rules)
	s.rules, s.charges, s.decisions = s.rules[:0], s.charges[:all], s.decisions[:all]
	clear(s.charges)
	clear(s.decisions)
	g.sessions.Put(s)
}

// take asks the limiter, and with FailLocal the local one when it fails. The error is that of the former.
func (g *gate) take(ctx context.Context, s *session) error {
	err := takeFrom(ctx, g.limiter, g.multi, s)
	g.logFailure(ctx, err)
	if err == nil {
		return nil
	}
	clear(s.decisions) // of what the limiter may have left there
	if g.local != nil && ctx.Err() == nil && !errors.Is(err, ErrFull) {
		_ = takeFrom(ctx, g.local, g.local, s) // fails for invalid charges alone, which these are not
	}
	return err
}

func takeFrom(ctx context.Context, l Limiter, multi MultiLimiter, s *session) (err error) {
	if len(s.charges) > 1 {
		return multi.TakeAll(ctx, s.charges, s.decisions)
	}
	s.decisions[0], err = l.Take(ctx, s.charges[0])
	return err
}

// logFailure logs when the limiter begins to fail and when it works again: an outage is two records, not one for each request.
func (g *gate) logFailure(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil || errors.Is(err, ErrFull) {
		return // says nothing about the limiter
	}
	failing := err != nil
	if g.failing.Load() == failing || !g.failing.CompareAndSwap(!failing, failing) {
		return
	}
	if failing {
		g.logger().LogAttrs(ctx, slog.LevelError, "ratelimit: the limiter fails", slog.String("cause", err.Error()))
		return
	}
	g.logger().LogAttrs(ctx, slog.LevelInfo, "ratelimit: the limiter works again")
}

func (g *gate) logger() *slog.Logger {
	if g.Logger != nil {
		return g.Logger
	}
	return slog.Default()
}

// denial is the decision to answer with: nil if every rule allows the request, else that of the longest wait. For ever is the longest.
func (s *session) denial() *Decision {
	var worst *Decision
	for i := range s.decisions {
		d, c := &s.decisions[i], &s.charges[i]
		switch {
		case d.Allowed:
			continue
		case c.Cost > c.Limit.burst():
			return d
		case d.RetryAfter <= 0: // a limiter that does not say
			d.RetryAfter = time.Second
		}
		if worst == nil || d.RetryAfter > worst.RetryAfter {
			worst = d
		}
	}
	return worst
}

// deny answers a request that is over a limit.
func (g *gate) deny(w http.ResponseWriter, r *http.Request, d Decision) {
	if g.Deny == nil {
		apierror.Write(w, r, d.err())
		return
	}
	if d.RetryAfter > 0 {
		w.Header().Set("Retry-After", retryhint.FormatAfter(d.RetryAfter))
	}
	g.Deny(w, r, d)
}

func (d *Decision) err() *apierror.Error {
	if d.RetryAfter <= 0 {
		return apierror.RateLimitExceeded(0).NotRetryable()
	}
	return apierror.RateLimitExceeded(d.RetryAfter)
}

// refuseKey answers a request that could not be charged for err, unless in shadow mode: then it may go on.
func refuseKey(w http.ResponseWriter, r *http.Request, policy string, err error, shadow bool, observe func(context.Context, Event)) (goOn bool) {
	outcome := OutcomeNoKey
	if errors.Is(err, ErrNoKey) {
		err = apierror.AuthenticationFailed().WithCause(err)
	} else if apierror.From(err).Status() >= 500 {
		outcome = OutcomeFailed
	}
	if observe != nil {
		observe(r.Context(), Event{Rule: policy, Outcome: outcome, Shadow: shadow, Err: err})
	}
	if !shadow {
		apierror.Write(w, r, err)
	}
	return shadow
}

// fail answers a request that the limiter could not decide about, unless it is in shadow mode.
func (g *gate) fail(w http.ResponseWriter, r *http.Request, s *session, err error) (goOn bool) {
	g.observe(r, s, OutcomeFailed, err)
	if !g.Shadow {
		apierror.Write(w, r, err)
	}
	return g.Shadow
}

func (g *gate) observe(r *http.Request, s *session, outcome Outcome, err error) {
	if g.Observe == nil {
		return
	}
	for i, c := range s.rules {
		g.Observe(r.Context(), Event{
			Rule:     c.Name,
			Outcome:  outcome,
			Decision: s.decisions[i],
			Shadow:   g.Shadow && outcome != OutcomeAllowed,
			Err:      err,
		})
	}
}

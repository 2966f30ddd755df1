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
	"github.com/seawall-go/seawall/internal/plain"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/retryhint"
)

// Options are options of [New].
type Options struct {
	// Shadow lets every request through: what would have been refused is only counted, by Observe.
	// Nothing shows in the answers.
	Shadow bool

	// OnFailure says what happens when the limiter fails. 0 is FailLocal.
	OnFailure Fail

	// LegacyHeaders adds X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset (in seconds
	// from now). They describe the rule that denies a request, or else the one that leaves the
	// least.
	LegacyHeaders bool

	// RetryAfterMs adds Retry-After-Ms to denials: the wait in milliseconds, where Retry-After can
	// only say whole seconds.
	RetryAfterMs bool

	// NoFields reports whether the answer to a request goes without RateLimit fields and legacy
	// headers, as on a log-in page, where they would tell how many guesses are left. A denial still
	// has its Retry-After. Its problem details do not name the rules. Nil is none.
	NoFields func(*http.Request) bool

	// Deny answers a request that is over a limit. RateLimit fields and Retry-After are set when it
	// is called. The rule is the name of the one with the longest wait, and d is its decision. Nil
	// answers with 429 rate_limit_exceeded.
	Deny func(w http.ResponseWriter, r *http.Request, rule string, d Decision)

	// Observe is told the outcome of every request. If nil, no one is. It must be quick: the
	// request waits for it.
	Observe func(context.Context, Event)

	// Logger gets a record when the limiter begins to fail, or a full table to refuse new keys
	// ([ErrFull]), and one when that has ended, with the number of requests that it concerned. An
	// outage ends with the first decision. A table is full until a minute has gone by without a
	// refusal, as keys that it knows are served in the meantime. There are at most two of these
	// records a minute for each of the two. A request that ByPrincipal finds no principal for is
	// logged once. Nil is slog.Default().
	Logger *slog.Logger
}

// Fail says what the middleware does with a request when its Limiter returns an error. That by
// itself is never a 429: the caller is not at fault. A limiter without room ([ErrFull]) is not one
// that fails: that is answered with 503 in any case.
type Fail int

const (
	// FailLocal asks a [Memory] of the middleware's own instead. Every process gives each key the
	// whole limit then.
	FailLocal Fail = iota

	// FailOpen lets the request through, without RateLimit fields. Its outcome is
	// [OutcomeBypassed].
	FailOpen

	// FailClosed answers with 503 service_unavailable.
	FailClosed
)

// New returns a middleware that charges each request by all of the rules: when one of them denies
// it, none is charged. Nil options are the defaults. It panics on a rule that cannot work (no key,
// an invalid limit, a name twice), without any rule, for several rules when l is no [MultiLimiter],
// for a rule that is settled when l is no [Adjuster], and when l knows the name of a rule with
// another limit ([Registrar]).
//
// Every answer to a request that the limiter decided about has the RateLimit and RateLimit-Policy
// fields of draft-ietf-httpapi-ratelimit-headers-11, whatever the handler makes of it. A denial is
// 429 rate_limit_exceeded with Retry-After; for a cost over the burst, which waiting does not help,
// with X-Should-Retry: false instead. Where the client prefers problem details and the
// [apierror.Renderer] sends them, their type is the draft's quota-exceeded, and violated-policies
// are the names of the rules that deny the request.
func New(l Limiter, o *Options, rules ...Rule) func(http.Handler) http.Handler {
	g := newGate(l, o, rules)
	return func(next http.Handler) http.Handler {
		checkHandler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, admitted := g.admit(w, r)
			switch {
			case !admitted:
			case b != nil:
				g.serve(w, r, next, b)
			default:
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
	down     outage       // the limiter fails
	full     outage       // it has no room for new keys
	nameless atomic.Bool  // a request without a principal was seen
	rules    []rule
	settled  int // rules that are
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
		if c.Settled || c.CostAfter != nil {
			g.settled++
			if _, ok := l.(Adjuster); !ok {
				panic("ratelimit: the rule " + strconv.Quote(c.Name) + " is settled, which needs an Adjuster")
			}
		}
		g.rules = append(g.rules, c)
	}
	if names, ok := l.(Registrar); ok {
		for _, c := range g.rules {
			if err := names.Register(c.Name, c.Limit); err != nil {
				panic(err)
			}
		}
	}
	return g
}

// session is what is known about one request. It is used again for others, which spares them the
// allocations.
type session struct {
	rules     []*rule    // those that apply
	charges   []Charge   // theirs; until that is known, room for all
	decisions []Decision // theirs; the same
	text      []byte     // for writing fields
	values    []string   // room for header values: see value
}

// admit reports whether the request may go on, and answers it otherwise. The bill is nil if no rule
// is settled.
func (g *gate) admit(w http.ResponseWriter, r *http.Request) (*bill, bool) {
	s := g.sessions.Get().(*session)
	defer g.release(s)
	by, admitted := g.decide(w, r, s)
	if !admitted || g.settled == 0 {
		return nil, admitted
	}
	return g.bill(r, s, by), true
}

// decide is admit for a session. It returns the limiter that has made the charges, nil if none were
// made.
func (g *gate) decide(w http.ResponseWriter, r *http.Request, s *session) (by Limiter, admitted bool) {
	if c, err := g.charges(r, s); err != nil {
		return nil, g.refuse(w, r, c, err)
	}
	if len(s.rules) == 0 {
		return nil, true
	}
	by, failure := g.take(r.Context(), s)
	switch {
	case failure == nil:
	case r.Context().Err() != nil: // the caller has gone, or its time is up
		return nil, g.fail(w, r, s, failure, ended(r.Context().Err()))
	case g.OnFailure == FailClosed, errors.Is(failure, ErrFull):
		answer := apierror.ServiceUnavailable(time.Second).WithCause(reqstate.Recorded(failure.Error()))
		return nil, g.fail(w, r, s, failure, answer)
	case g.OnFailure == FailOpen:
		g.observe(r, s, OutcomeBypassed, failure)
		return nil, true
	}
	for i := range s.decisions {
		s.decisions[i].complete(&s.charges[i])
	}
	denial, outcome := s.denial(), OutcomeAllowed
	if denial >= 0 {
		by, outcome = nil, OutcomeDenied
	}
	if g.Shadow {
		g.observe(r, s, outcome, failure)
		return by, true
	}
	shown := g.shows(r)
	if shown {
		s.setFields(w)
		if g.LegacyHeaders {
			s.setLegacy(w, denial)
		}
	}
	g.observe(r, s, outcome, failure)
	if denial < 0 {
		return by, true
	}
	d := s.decisions[denial]
	if g.RetryAfterMs && d.RetryAfter > 0 {
		setRetryAfterMs(w.Header(), &s.charges[denial], &d)
	}
	answer := unnamed
	if shown {
		answer = s.refusal()
	}
	g.deny(w, r, s.rules[denial].Name, d, answer)
	return nil, false
}

// shows reports whether the answer to a request may tell about the rules.
func (g *gate) shows(r *http.Request) bool { return g.NoFields == nil || !g.NoFields(r) }

// ended is the error of a context that has ended. The 504 has no cause, so that it is not logged
// each time.
func ended(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return apierror.CodeTimeout.New()
	}
	return err
}

// charges collects what the rules that apply charge. After an error, it returns the rule that it
// comes from.
func (g *gate) charges(r *http.Request, s *session) (*rule, error) {
	for i := range g.rules {
		c := &g.rules[i]
		applies, err := c.charge(r, &s.charges[len(s.rules)])
		if err != nil {
			return c, err
		}
		if applies {
			s.rules = append(s.rules, c)
		}
	}
	s.charges, s.decisions = s.charges[:len(s.rules)], s.decisions[:len(s.rules)]
	return nil, nil
}

// release makes the session ready for another request. Keys may be secrets: none stays in it.
func (g *gate) release(s *session) {
	all := len(g.rules)
	s.rules, s.charges, s.decisions = s.rules[:0], s.charges[:all], s.decisions[:all]
	clear(s.charges)
	clear(s.decisions)
	g.sessions.Put(s)
}

// take asks the limiter, and with FailLocal the local one when it fails. It returns the one that
// decided, and the error of the former.
func (g *gate) take(ctx context.Context, s *session) (Limiter, error) {
	err := takeFrom(ctx, g.limiter, g.multi, s)
	if err == nil {
		if g.down.logged.Load() || g.full.logged.Load() {
			g.logSuccess(ctx)
		}
		return g.limiter, nil
	}
	g.logFailure(ctx, err)
	clear(s.decisions) // of what the limiter may have left there
	if g.local == nil || ctx.Err() != nil || errors.Is(err, ErrFull) {
		return nil, err
	}
	_ = takeFrom(ctx, g.local, g.local, s) // fails for invalid charges alone, which these are not
	return g.local, err
}

func takeFrom(ctx context.Context, l Limiter, multi MultiLimiter, s *session) (err error) {
	if len(s.charges) > 1 {
		return multi.TakeAll(ctx, s.charges, s.decisions)
	}
	s.decisions[0], err = l.Take(ctx, s.charges[0])
	return err
}

// logFailure logs the beginning of an outage.
func (g *gate) logFailure(ctx context.Context, err error) {
	switch {
	case errors.Is(err, ErrFull):
		if g.full.fails() {
			g.logger().LogAttrs(ctx, slog.LevelWarn, "ratelimit: the limiter has no room for new keys, which are refused")
		}
	case ctx.Err() != nil: // says nothing about the limiter
	case g.down.fails():
		g.logger().LogAttrs(ctx, slog.LevelError, "ratelimit: the limiter fails", slog.String("error", plain.Text(plain.ErrorText(err), maxText)))
	}
}

// logSuccess logs the end of one.
func (g *gate) logSuccess(ctx context.Context) {
	if n, ended := g.down.works(0); ended {
		g.logger().LogAttrs(ctx, slog.LevelInfo, "ratelimit: the limiter works again", slog.Int("requests", n))
	}
	if n, ended := g.full.works(quiet); ended {
		g.logger().LogAttrs(ctx, slog.LevelInfo, "ratelimit: the limiter has room again", slog.Int("requests", n))
	}
}

// maxText bounds an error in the log, in bytes.
const maxText = 512

func (g *gate) logger() *slog.Logger {
	if g.Logger != nil {
		return g.Logger
	}
	return slog.Default()
}

// denial is the decision to answer with: negative if every rule allows the request, else that of
// the longest wait. Forever is the longest.
func (s *session) denial() int {
	worst := -1
	for i := range s.decisions {
		d := &s.decisions[i]
		switch {
		case d.Allowed:
		case d.RetryAfter == 0:
			return i
		case worst < 0 || d.RetryAfter > s.decisions[worst].RetryAfter:
			worst = i
		}
	}
	return worst
}

// deny answers a request that is over a limit.
func (g *gate) deny(w http.ResponseWriter, r *http.Request, rule string, d Decision, answer *apierror.Error) {
	if g.Deny == nil {
		apierror.Write(w, r, d.err(answer))
		return
	}
	if d.RetryAfter > 0 {
		w.Header().Set("Retry-After", retryhint.FormatAfter(d.RetryAfter))
	}
	g.Deny(w, r, rule, d)
}

// err returns the answer with the wait of the decision.
func (d *Decision) err(answer *apierror.Error) *apierror.Error {
	if d.RetryAfter <= 0 {
		return answer.WithNotRetryable()
	}
	return answer.WithRetryAfter(d.RetryAfter)
}

// refuse answers a request that could not be charged by the rule for err, unless in shadow mode:
// then it may go on.
func (g *gate) refuse(w http.ResponseWriter, r *http.Request, c *rule, err error) (goOn bool) {
	if errors.Is(err, errBlocked) {
		d := Decision{Limit: Blocked()}
		if g.Observe != nil {
			g.Observe(r.Context(), Event{Rule: c.Name, Outcome: OutcomeDenied, Decision: d, Shadow: g.Shadow})
		}
		if g.Shadow {
			return true
		}
		answer := unnamed
		if g.shows(r) {
			answer = c.refusal
		}
		g.deny(w, r, c.Name, d, answer)
		return false
	}
	if errors.Is(err, errNoPrincipal) && g.nameless.CompareAndSwap(false, true) {
		g.logger().LogAttrs(r.Context(), slog.LevelWarn, "ratelimit: a request has no key",
			slog.String("error", plain.Text(plain.ErrorText(err), maxText)))
	}
	return refuseKey(w, r, c.Name, err, g.Shadow, g.Observe)
}

// refuseKey answers a request whose key err is about, unless in shadow mode: then it may go on.
func refuseKey(w http.ResponseWriter, r *http.Request, rule string, err error, shadow bool, observe func(context.Context, Event)) (goOn bool) {
	outcome := OutcomeNoKey
	if errors.Is(err, ErrNoKey) {
		err = apierror.CodeAuthenticationFailed.New().WithCause(err)
	} else if apierror.From(err).Status() >= 500 {
		outcome = OutcomeFailed
	}
	if observe != nil {
		observe(r.Context(), Event{Rule: rule, Outcome: outcome, Shadow: shadow, Err: err})
	}
	if !shadow {
		apierror.Write(w, r, err)
	}
	return shadow
}

// fail answers a request that the limiter could not decide about, unless it is in shadow mode.
func (g *gate) fail(w http.ResponseWriter, r *http.Request, s *session, failure, answer error) (goOn bool) {
	g.observe(r, s, OutcomeFailed, failure)
	if !g.Shadow {
		apierror.Write(w, r, answer)
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
			Shadow:   g.Shadow && (outcome == OutcomeDenied || outcome == OutcomeFailed),
			Err:      err,
		})
	}
}

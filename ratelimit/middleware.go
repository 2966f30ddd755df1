package ratelimit

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
)

// New returns a middleware that charges each request to the buckets of all rules that
// apply to it. If one of the rules denies the request, nothing is charged.
//
// New panics if l is nil, if there is no rule, or if a rule is invalid: its Key is nil,
// its Limit or Name is not valid, or another rule has the same name. It also panics if
// Options.Processes is negative or over 1e6, if there are several rules and l is not a
// [MultiLimiter], if a rule is settled and l is not an [Adjuster], or if l is a
// [Registrar] that refuses a rule.
//
// The response to every request that the limiter decided about has the RateLimit and
// RateLimit-Policy fields of draft-ietf-httpapi-ratelimit-headers-11. A denial is 429
// rate_limit_exceeded with Retry-After. If the cost is over the burst, waiting does not
// help: the denial has X-Should-Retry: false instead. If errors are rendered as problem
// details ([apierror.Renderer]), the type of a denial is quota-exceeded of the draft, and
// violated-policies lists the rules that deny the request.
func New(l Limiter, o *Options, rules ...Rule) func(http.Handler) http.Handler {
	return newMiddleware(l, o, rules).wrap
}

// middleware is the state of one middleware that New returns.
type middleware struct {
	Options
	limiter     Limiter
	local       Limiter // for FailLocal, else nil
	rules       []*rule
	settles     bool        // whether a rule is settled
	down        outage      // the limiter fails
	full        outage      // the limiter has no room for new keys
	noPrincipal atomic.Bool // whether a request without a principal was logged
}

func newMiddleware(l Limiter, o *Options, rules []Rule) *middleware {
	if l == nil {
		panic("ratelimit: New with a nil Limiter")
	}
	if len(rules) == 0 {
		panic("ratelimit: New without a rule")
	}
	if _, ok := l.(MultiLimiter); !ok && len(rules) > 1 {
		panic("ratelimit: several rules need a MultiLimiter")
	}
	m := &middleware{limiter: l}
	if o != nil {
		m.Options = *o
	}
	if m.Processes < 0 || m.Processes > 1e6 {
		panic("ratelimit: Options.Processes must be 0 to 1e6")
	}
	m.OnFailure.check("Options.OnFailure")
	if m.OnFailure == FailLocal {
		m.local = &localShare{NewMemory(nil), max(m.Processes, 1)}
	}
	names := make(map[string]bool)
	for _, r := range rules {
		ru := newRule(r)
		if names[ru.Name] {
			panic(fmt.Sprintf("ratelimit: two rules are called %q", ru.Name))
		}
		names[ru.Name] = true
		ru.check(l)
		m.settles = m.settles || ru.settles()
		m.rules = append(m.rules, ru)
	}
	for _, ru := range m.rules { // when all are valid, since a Registrar remembers them
		ru.register(l)
	}
	return m
}

func (m *middleware) wrap(next http.Handler) http.Handler {
	checkHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		items, by, ok := m.admit(w, r)
		if !ok {
			return
		}
		if m.settles {
			m.serveSettled(w, r, next, items, by)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func checkHandler(next http.Handler) {
	if next == nil {
		panic("ratelimit: a middleware around a nil http.Handler")
	}
}

func (m *middleware) logger() *slog.Logger { return cmp.Or(m.Logger, slog.Default()) }

package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/apierror"
)

// Rule is a limit on requests. It selects the bucket that a request is charged to, the
// bucket's limit, and the cost of the request. Only Key is required.
type Rule struct {
	// Name identifies the rule in the RateLimit fields, in the problem details of a
	// denial, in events and in [Settle]: 1 to 64 printable ASCII characters. Rules of the
	// same name that use the same Limiter share buckets, so rules with different limits
	// need different names. If empty, it is "default".
	Name string

	// Limit is the limit of each key. If zero, it is 100 per second.
	Limit Limit

	// Key returns the key of a request. There is no default.
	Key KeyFunc

	// LimitFor returns the limit of this request's key, such as that of the caller's
	// plan. The zero Limit means the rule's Limit, and [Unlimited] exempts the request.
	// LimitFor should always return the same limit for the same key. If limits differ by
	// route, the keys must differ too: see [Join] and [ByPattern]. An invalid limit is
	// answered with 500 api_error. If nil, every key has the rule's Limit.
	LimitFor func(*http.Request) Limit

	// Cost returns the units that a request takes. A request with a cost of 0 is never
	// denied. A request with a cost over the burst is always denied. A negative cost is
	// answered with 500 api_error. If the real cost is known only later, return an
	// estimate: see Settled and CostAfter. If nil, the cost is 1.
	Cost func(*http.Request) int

	// Settled allows the handler to call [Settle] and [Reset] for this rule. The Limiter
	// must be an [Adjuster]. Settled costs each request a few allocations.
	Settled bool

	// CostAfter returns the real cost of a request that the handler has not settled
	// itself. It is called after the handler has returned, with the request that the
	// handler got and the status that was sent. It is not called after a panic. If it
	// returns a negative value, the estimate stays charged. The Limiter must be an
	// [Adjuster]. If nil, only the handler can settle a request.
	CostAfter func(r *http.Request, status int) int

	// Skip exempts a request from the rule, for example a CORS preflight, which has no
	// key. If nil, no request is exempt.
	Skip func(*http.Request) bool

	// KeyOptional exempts requests without a key from the rule. If false, they are
	// refused with 401 authentication_failed. To use another key instead, see [First].
	KeyOptional bool
}

// rule is a valid Rule, with values that are derived from it.
type rule struct {
	Rule
	quoted  string          // the name in the RateLimit fields
	policy  string          // the item of RateLimit-Policy with the rule's Limit
	refusal *apierror.Error // the answer if only this rule denies a request
}

func newRule(r Rule) *rule {
	r.Name = cmp.Or(r.Name, "default")
	r.Limit = cmp.Or(r.Limit, PerSecond(100))
	checkName(r.Name)
	if r.Key == nil {
		panic(fmt.Sprintf("ratelimit: the rule %q has no Key", r.Name))
	}
	if err := r.Limit.Validate(); err != nil {
		panic(fmt.Sprintf("%v (rule %q)", err, r.Name))
	}
	quoted := quote(r.Name)
	return &rule{Rule: r, quoted: quoted, policy: policyItem(quoted, r.Limit), refusal: newRefusal(r.Name)}
}

func checkName(name string) {
	if len(name) == 0 || len(name) > 64 {
		panic(fmt.Sprintf("ratelimit: the name %q does not have 1 to 64 characters", name))
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' {
			panic(fmt.Sprintf("ratelimit: the name %q has a character that is not printable ASCII", name))
		}
	}
}

// check panics if the rule needs something that the limiter does not have.
func (ru *rule) check(l Limiter) {
	if _, ok := l.(Adjuster); !ok && ru.settles() {
		panic(fmt.Sprintf("ratelimit: the rule %q is settled, which needs an Adjuster", ru.Name))
	}
}

// register panics if the limiter refuses the rule.
func (ru *rule) register(l Limiter) {
	if registrar, ok := l.(Registrar); ok {
		if err := registrar.Register(ru.Name, ru.Limit); err != nil {
			panic(err)
		}
	}
}

// settles reports whether requests can be settled by the rule.
func (ru *rule) settles() bool { return ru.Settled || ru.CostAfter != nil }

// charge returns the charge of a request, and whether the rule applies to it.
func (ru *rule) charge(r *http.Request) (charge Charge, applies bool, err error) {
	if ru.Skip != nil && ru.Skip(r) {
		return Charge{}, false, nil
	}
	key, err := keyOf(ru.Key, r)
	if ru.KeyOptional && errors.Is(err, ErrNoKey) {
		return Charge{}, false, nil
	}
	if err != nil {
		return Charge{}, false, err
	}
	charge = Charge{Rule: ru.Name, Key: key, Limit: ru.Limit, Cost: 1}
	if ru.LimitFor != nil {
		charge.Limit = cmp.Or(ru.LimitFor(r), ru.Limit)
	}
	if charge.Limit == Unlimited() {
		return Charge{}, false, nil
	}
	if ru.Cost != nil {
		charge.Cost = ru.Cost(r)
	}
	if err := charge.Validate(); err != nil {
		return Charge{}, false, fmt.Errorf("%w (rule %q)", err, ru.Name)
	}
	return charge, true, nil
}

package ratelimit

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/seawall-go/seawall/apierror"
)

// Rule is one limit on requests: whose bucket is charged, and how much it holds. Only Key is
// required.
type Rule struct {
	// Name is the policy's name in the RateLimit fields, in the problem details of a denial, and in
	// events, and tells buckets apart: rules of the same name that use the same Limiter share them.
	// So rules with different limits need different names: New panics where the Limiter is a
	// [Registrar], as Memory is. 1 to 64 printable ASCII characters; "" is "default".
	Name string

	// Limit is what each key has. The zero Limit is 100 per second.
	Limit Limit

	// Key says whose bucket is charged. There is no default: what a caller is, only the service
	// knows.
	Key KeyFunc

	// LimitFor, where it is set, is the limit of this request's key: that of the caller's plan,
	// say. The zero Limit is the rule's; [Unlimited] exempts the request from the rule, [Blocked]
	// denies it for good. It should give one key one limit: where limits differ by route, the key
	// must too (see [Join] and [ByPattern]). A limit that is not valid is a bug, and answered with
	// 500 api_error.
	LimitFor func(*http.Request) Limit

	// Cost is the number of units that the request takes. Nil is 1. A cost of 0 is free; one over
	// the burst is denied for good; a negative one is a bug, and answered with 500 api_error. Where
	// the real cost is known only afterwards, this is an estimate: see Settled and CostAfter. An
	// estimate that is too low lets a caller run into debt; one of 0 never denies anything.
	Cost func(*http.Request) int

	// Settled says that the handler may call [Settle] or [Reset] for this rule. It needs a Limiter
	// that is an [Adjuster], as Memory is, and costs each request a few allocations.
	Settled bool

	// CostAfter, where it is set, is the real cost of a request that the handler has not settled
	// itself. It is called when the handler has returned, so after the end of a stream too, with
	// the status that was sent. A negative value leaves the estimate as it is, and so does a
	// handler that panics. It needs the same as Settled. The request is the one that the handler
	// got.
	CostAfter func(r *http.Request, status int) int

	// Skip exempts requests from the rule, such as CORS preflights, which carry no key. Nil exempts
	// none.
	Skip func(*http.Request) bool

	// KeyOptional lets requests without a key through, not counted by this rule. Without it they
	// are refused with 401 authentication_failed. For another key instead, see [First].
	KeyOptional bool
}

// rule is a Rule that was checked, and what can be said about it beforehand.
type rule struct {
	Rule
	quoted  string          // its name in the fields
	policy  string          // its item in RateLimit-Policy, but for LimitFor
	refusal *apierror.Error // the answer if it alone denies a request
}

func newRule(r Rule) rule {
	if r.Name == "" {
		r.Name = "default"
	}
	checkName(r.Name)
	if r.Key == nil {
		panic("ratelimit: the rule " + strconv.Quote(r.Name) + " has no Key")
	}
	if r.Limit == (Limit{}) {
		r.Limit = PerSecond(100)
	}
	if err := r.Limit.Validate(); err != nil {
		panic(fmt.Sprintf("%v (rule %q)", err, r.Name))
	}
	c := rule{Rule: r, quoted: quote(r.Name), refusal: newRefusal(r.Name)}
	c.policy = string(appendPolicy(nil, c.quoted, r.Limit))
	return c
}

// errBlocked is about a caller that is [Blocked].
var errBlocked = errors.New("ratelimit: the caller is blocked")

func checkName(name string) {
	if len(name) == 0 || len(name) > 64 {
		panic("ratelimit: a name needs 1 to 64 characters: " + strconv.Quote(name))
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' {
			panic("ratelimit: a name needs printable ASCII characters: " + strconv.Quote(name))
		}
	}
}

// charge fills in what the request has to pay by this rule; false if nothing.
func (c *rule) charge(r *http.Request, to *Charge) (bool, error) {
	if c.Skip != nil && c.Skip(r) {
		return false, nil
	}
	key, err := call(c.Key, r)
	if err != nil {
		if c.KeyOptional && errors.Is(err, ErrNoKey) {
			err = nil
		}
		return false, err
	}
	to.Rule, to.Key, to.Limit, to.Cost = c.Name, key, c.Limit, 1
	if c.LimitFor != nil {
		switch l := c.LimitFor(r); l {
		case Limit{}:
		case Unlimited():
			return false, nil
		case Blocked():
			return false, errBlocked
		default:
			to.Limit = l
		}
	}
	if c.Cost != nil {
		to.Cost = c.Cost(r)
	}
	if err := to.Validate(); err != nil {
		return false, fmt.Errorf("%w (rule %q)", err, c.Name)
	}
	return true, nil
}

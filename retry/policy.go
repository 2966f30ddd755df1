package retry

import (
	"crypto/tls"
	"errors"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/seawall-go/seawall/internal/retryhint"
)

// A Policy says what is repeated, how often and when. A nil *Policy, and every field that is zero, is the default. It must
// not be changed while it is in use.
type Policy struct {
	// MaxAttempts is how often a request is sent at most, the first time included. 0 is 3; 1 never retries; negative: no
	// limit, so that only the budget and the deadline end it.
	MaxAttempts int

	// BaseDelay is the longest wait before the second attempt; it doubles for every further one. The wait itself is drawn
	// from [0, this] (full jitter). 0 is 100 ms; negative is no wait.
	BaseDelay time.Duration

	// MaxDelay is what the doubling stops at. 0 is 10 s; negative: nothing stops it.
	MaxDelay time.Duration

	// MaxRetryAfter is the longest time that a server may ask for in Retry-After. Where it asks for more, its answer is
	// handed back at once. 0 is 2 min; negative: no limit but the context's deadline.
	MaxRetryAfter time.Duration

	// AttemptTimeout bounds each attempt, up to the response's header: reading the body is not cut short. An attempt that it
	// ends is a failure like a broken connection. 0 or negative: none. Without one, a host that accepts requests and
	// answers none never opens the breaker, since the caller's own deadline says nothing about the host.
	AttemptTimeout time.Duration

	// Keys says who chooses the Idempotency-Key of a write. The zero value is [KeysGenerated].
	Keys Keys

	// RecordBody makes a request body repeatable that has no GetBody: up to so many bytes of it are remembered while they
	// are sent, and an attempt that got further is not repeated. 0 or negative: nothing is recorded.
	RecordBody int64

	// Retryable reports whether a failed attempt is worth another one. Nil is [DefaultRetryable],
	// which a function can ask too. It cannot make a Transport retry a write that has no key, or
	// overrule X-Should-Retry: false, a limit, a budget, or a Transport further in that has given up.
	Retryable func(Failure) bool

	// Budget bounds the retries to each host. Nil: one that the Transport keeps; in [Do], none.
	Budget *Budget

	// HoldHost makes a 429 rate_limit_exceeded and a 503 hold back every request of the Transport to that host with the
	// same credentials (Authorization, X-Api-Key), for as long as their Retry-After says, where that is within
	// MaxRetryAfter. Up to 1,024 such pairs are remembered. To know the code of a 429, the Transport reads its body
	// as for Retryable.
	HoldHost bool
}

// A Failure is what [Policy.Retryable] is asked about: a failed attempt, and what was asked for. None
// of it may be changed or kept.
type Failure struct {
	// Attempt is the attempt. A hook makes the Transport read the error's body before it asks: JSON of
	// up to 64 KiB that has announced its length, for which the call waits as its caller would. Of any
	// other body the code is unknown.
	Attempt

	// Method and URL are those of the request. In [Do] they are empty and nil.
	Method string
	URL    *url.URL

	// Header is the response's header. It is nil without a response, and in [Do].
	Header http.Header
}

// DefaultRetryable reports whether a failure is of a kind that another attempt may not meet again:
//   - a status 429, or 500 to 599, but not 501,
//   - without a status, any error but that of a certificate that does not verify.
func DefaultRetryable(f Failure) bool {
	if f.Status != 0 {
		return retryhint.Retryable(f.Status)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](f.Err)
	return !untrusted
}

// Keys says who chooses the Idempotency-Key of a write: a POST, PUT, PATCH or DELETE.
type Keys int

const (
	// KeysGenerated gives every write that has no key one of its own, the same on all of its attempts.
	KeysGenerated Keys = iota
	// KeysCallerOnly sends no key but the caller's, from the request's header or from [WithIdempotencyKey]. A write that has
	// none is sent once.
	KeysCallerOnly
)

// withDefaults returns the policy with every default filled in, and with limits that are off as limits that are never met. Once is
// that there is one attempt: see [WithoutRetry].
func (p *Policy) withDefaults(once bool) Policy {
	var out Policy
	if p != nil {
		out = *p
	}
	out.MaxAttempts = limit(out.MaxAttempts, 3)
	if once {
		out.MaxAttempts = 1
	}
	out.BaseDelay = max(orDefault(out.BaseDelay, 100*time.Millisecond), 0)
	out.MaxDelay = durationLimit(out.MaxDelay, 10*time.Second)
	out.MaxRetryAfter = durationLimit(out.MaxRetryAfter, 2*time.Minute)
	return out
}

// orDefault is v, or def where v is zero.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// limit is v, def where v is zero, and no limit where it is negative.
func limit(v, def int) int {
	if v < 0 {
		return math.MaxInt
	}
	return orDefault(v, def)
}

func durationLimit(v, def time.Duration) time.Duration {
	if v < 0 {
		return never
	}
	return orDefault(v, def)
}

package retry

import (
	"cmp"
	"crypto/tls"
	"errors"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/seawall-go/seawall/internal/retryhint"
)

// A Policy is what is retried, how often and when. A nil *Policy and every zero field mean the
// default. A Policy must not be changed while it is in use.
type Policy struct {
	// MaxAttempts is how often a request is sent at most, including the first time. The
	// default is 3; 1 means no retries. If negative, there is no limit, and the budget and
	// the context's deadline end the call.
	MaxAttempts int

	// BaseDelay is the longest wait before the second attempt. It doubles for each further one.
	// The wait is drawn from [0, that] (full jitter). The default is 100 milliseconds. If
	// negative, there is no wait.
	BaseDelay time.Duration

	// MaxDelay is where the doubling stops. The default is 10 seconds. If negative, it does not
	// stop.
	MaxDelay time.Duration

	// MaxRetryAfter is the longest time that a server may ask to wait, in Retry-After (RFC
	// 9110, section 10.2.3). If it asks for more, the call ends with its response. The
	// default is 2 minutes. If negative, only the context's deadline limits the time.
	MaxRetryAfter time.Duration

	// AttemptTimeout limits each attempt, until the response's header has arrived; reading
	// the body is not limited. An attempt that it ends is a failure, like a broken
	// connection. If zero or negative, there is no timeout. Without one, a host that
	// accepts requests and never answers does not open its circuit, since the caller's
	// deadline says nothing about the host.
	AttemptTimeout time.Duration

	// Keys is who chooses the Idempotency-Key of a write. The default is [KeysGenerated].
	Keys Keys

	// RecordBody is how many bytes of a request body without a GetBody are recorded while they
	// are sent, so that the request can be retried. A request that sent more is not retried. If
	// zero or negative, nothing is recorded.
	RecordBody int64

	// Retryable reports whether a failed attempt may be retried. If nil, [DefaultRetryable]
	// decides; a function can ask it too. Retryable cannot overrule a missing key,
	// X-Should-Retry: false, a limit, a budget, or a Transport further in that has stopped
	// retrying.
	Retryable func(Failure) bool

	// Budget limits the retries to each group. If nil, the Transport uses its own, and
	// [Do] none.
	Budget *Budget

	// HoldHost makes a 429 with the code rate_limit_exceeded, or a 503, hold back all
	// requests of the Transport in the same group with the same credentials
	// (Authorization, X-Api-Key), for as long as its Retry-After says, if that is no more
	// than MaxRetryAfter. Up to 1,024 holds are kept. To know the code of a 429, the
	// Transport reads its body as for Retryable.
	HoldHost bool
}

// A Failure is a failed attempt and its request, for [Policy.Retryable]. It must not be
// changed or kept.
type Failure struct {
	// Attempt is the failed attempt. For its Code, the Transport waits for the body of the
	// error response and reads it, if that is JSON of a known length up to 64 KiB. The
	// code of any other body is unknown.
	Attempt

	// Method and URL are the request's. In [Do] they are zero.
	Method string
	URL    *url.URL

	// Header is the response's. It is nil without a response, and in [Do].
	Header http.Header
}

// DefaultRetryable reports whether another attempt may succeed. It is true for a status of
// 429, or of 500 to 599 except 501, and, without a status, for any error except that of a
// certificate that cannot be verified.
func DefaultRetryable(f Failure) bool {
	if f.Status != 0 {
		return retryhint.Retryable(f.Status)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](f.Err)
	return !untrusted
}

// withDefaults returns the policy with its defaults filled in, and with the limits that
// are off at values that are never met. once means one attempt: see WithoutRetry.
func (p *Policy) withDefaults(once bool) Policy {
	var out Policy
	if p != nil {
		out = *p
	}
	out.MaxAttempts = limit(out.MaxAttempts, 3)
	if once {
		out.MaxAttempts = 1
	}
	out.BaseDelay = max(cmp.Or(out.BaseDelay, 100*time.Millisecond), 0)
	out.MaxDelay = durationLimit(out.MaxDelay, 10*time.Second)
	out.MaxRetryAfter = durationLimit(out.MaxRetryAfter, 2*time.Minute)
	return out
}

// limit returns n, or the default if n is 0. A negative n is no limit.
func limit(n, def int) int {
	if n < 0 {
		return math.MaxInt
	}
	return cmp.Or(n, def)
}

// durationLimit is limit for durations.
func durationLimit(d, def time.Duration) time.Duration {
	if d < 0 {
		return never
	}
	return cmp.Or(d, def)
}

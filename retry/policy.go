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

// A Policy decides which requests are retried, how often and when. If a *Policy is nil or
// a field is zero, the default applies. A Policy must not be changed while it is in use.
type Policy struct {
	// MaxAttempts is the largest number of times that a request is sent, including the
	// first. The default is 3. If 1, there are no retries. If negative, there is no
	// limit, and only the budget or the context ends the call.
	MaxAttempts int

	// BaseDelay is the longest wait before the second attempt. The longest wait doubles
	// for each further attempt. The actual wait is random, between 0 and the longest
	// (full jitter). The default is 100 milliseconds. If negative, there is no wait.
	BaseDelay time.Duration

	// MaxDelay is the limit of the doubling. The default is 10 seconds. If negative,
	// there is no limit.
	MaxDelay time.Duration

	// MaxRetryAfter is the longest wait that a server may ask for with Retry-After (RFC
	// 9110, section 10.2.3). If the server asks for a longer wait, the call ends with the
	// server's response. The default is 2 minutes. If negative, only the context's
	// deadline limits the wait.
	MaxRetryAfter time.Duration

	// AttemptTimeout limits each attempt until the response's header has arrived. It does
	// not limit the reading of the body. An attempt that times out is a failure, like a
	// broken connection. If zero or negative, there is no timeout. A host that accepts
	// requests but never answers then does not open its circuit, unless Base has a
	// timeout: the end of the caller's deadline does not count as a failure of the host.
	AttemptTimeout time.Duration

	// Keys decides where the Idempotency-Key of a write comes from. The default is
	// [KeysGenerated].
	Keys Keys

	// RecordBody is the largest number of bytes to record of a request body while it is
	// sent, if the request has no GetBody. A request can be retried if all bytes that
	// were sent of its body are recorded. If zero or negative, nothing is recorded.
	RecordBody int64

	// Retryable reports whether a failed attempt may be retried. If nil, it is
	// [DefaultRetryable]. Your own function can call that too. Retryable cannot override
	// a missing key, X-Should-Retry: false, a limit, a budget, or the decision of a
	// Transport in Base to stop retrying.
	Retryable func(Failure) bool

	// Budget limits the retries to each group. If nil, a Transport uses its own budget,
	// and [Do] has none.
	Budget *Budget

	// HoldHost makes one response hold back other requests of the Transport: those in the
	// same group with the same credentials (Authorization, X-Api-Key). The response must
	// be a 503, or a 429 with the code rate_limit_exceeded. The hold lasts as long as the
	// response's Retry-After says, if that is no more than MaxRetryAfter. Up to 1,024
	// holds are kept. To learn the code of a 429, the Transport reads its body: see
	// [Failure].
	HoldHost bool
}

// A Failure is a failed attempt and its request, for [Policy.Retryable]. It must not be
// changed or kept.
type Failure struct {
	// Attempt is the failed attempt. To set Code, the Transport reads the body of the
	// error response, and waits for it, if the body is JSON with a known length of up to
	// 64 KiB. Otherwise Code is empty.
	Attempt

	// Method and URL are those of the request. They are zero in [Do].
	Method string
	URL    *url.URL

	// Header is the header of the response. It is nil if there was no response, and in
	// [Do].
	Header http.Header
}

// DefaultRetryable reports whether another attempt may succeed. It returns true for a
// status of 429, and for 500 to 599 except 501. If there was no response, it returns true
// for every error except that of a certificate that cannot be verified.
func DefaultRetryable(f Failure) bool {
	if f.Status != 0 {
		return retryhint.Retryable(f.Status)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](f.Err)
	return !untrusted
}

// withDefaults returns the policy with its defaults filled in. A limit that is off
// becomes a value that is never reached. If once is true, there is a single attempt: see
// WithoutRetry.
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

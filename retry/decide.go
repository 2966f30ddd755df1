package retry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/retryhint"
)

// worthRepeating tells whether a failure is of a kind that a repetition may not meet again.
func (p *Policy) worthRepeating(a Attempt) bool {
	switch {
	case p.Retryable != nil:
		return p.Retryable(a)
	case a.Status != 0:
		return retryhint.Retryable(a.Status)
	default:
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](a.Err)
		return !untrusted
	}
}

// neverSent tells whether the request certainly did not reach the server: the connection could not be made.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// schedule says how long to wait after attempt n, or why there is no further one. asked is the server's Retry-After.
func (p *Policy) schedule(ctx context.Context, n int, asked time.Duration) (time.Duration, DelaySource, Reason) {
	if n >= p.MaxAttempts {
		return 0, "", AttemptsExhausted
	}
	if asked > p.MaxRetryAfter {
		return 0, "", RetryAfterTooLong
	}
	delay, source := p.backoff(n), FromBackoff
	if asked > 0 {
		// Never less than what was asked for, and some more, so that those who were told the same do not all come back at once.
		delay, source = asked+min(p.jitter(p.BaseDelay), never-asked), FromRetryAfter
	}
	if endsBefore(ctx, delay) {
		return 0, "", DeadlineTooSoon
	}
	return delay, source, ""
}

// health is what an attempt says about the host. ours tells whether the request itself, or its caller, was at fault.
func health(status int, ours bool) outcome {
	switch {
	case ours, status == http.StatusTooManyRequests:
		return neutral
	case status == 0, retryhint.Retryable(status):
		return failure
	case status >= 400:
		return answered
	default:
		return success
	}
}

// sendable tells whether net/http would send the request at all. It says so with errors that have no type of their own, and
// one header that somebody else chose must not count as a failure of the host.
func sendable(req *http.Request) bool {
	if scheme := req.URL.Scheme; scheme != "http" && scheme != "https" {
		return false
	}
	if req.Body == nil && req.ContentLength > 0 {
		return false
	}
	if req.URL.Host == "" || !isToken(cmp.Or(req.Method, http.MethodGet)) {
		return false
	}
	for _, h := range [...]http.Header{req.Header, req.Trailer} {
		for name, values := range h {
			if !isToken(name) {
				return false
			}
			for _, v := range values {
				if !isFieldValue(v) {
					return false
				}
			}
		}
	}
	return true
}

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue is RFC 9110, section 5.5: no control characters but the tab.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

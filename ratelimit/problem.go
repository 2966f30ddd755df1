package ratelimit

import "github.com/seawall-go/seawall/apierror"

// The problem types of draft-ietf-httpapi-ratelimit-headers-11, section 5, for clients that prefer
// problem details. Its third one, abnormal-usage-detected, says that the service has seen a pattern
// in a caller's requests. Nothing here looks for one.
const (
	quotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	reducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// newRefusal is the answer to a request that is over the limits of those policies. Where their
// names are not to be shown, there are none.
func newRefusal(policies ...string) *apierror.Error {
	e := apierror.CodeRateLimitExceeded.New().WithProblemType(quotaExceeded, "Quota Exceeded")
	if len(policies) == 0 {
		return e
	}
	return e.WithProblemMember("violated-policies", policies)
}

// unnamed is the refusal where the RateLimit fields are off: see [Options].
var unnamed = newRefusal()

// refusal is the answer to a request that some rules deny.
func (s *session) refusal() *apierror.Error {
	if len(s.rules) == 1 {
		return s.rules[0].refusal
	}
	var violated []string
	var last *rule
	for i, c := range s.rules {
		if !s.decisions[i].Allowed {
			violated, last = append(violated, c.Name), c
		}
	}
	if len(violated) == 1 {
		return last.refusal
	}
	return newRefusal(violated...)
}

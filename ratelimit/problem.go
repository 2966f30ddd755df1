package ratelimit

import "github.com/seawall-go/seawall/apierror"

// The problem types of draft-ietf-httpapi-ratelimit-headers-11, section 5. Its third one,
// abnormal-usage-detected, is not used: this package does not look for patterns in requests.
const (
	quotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	reducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// newRefusal returns the answer to a request that violates the named rules.
func newRefusal(rules ...string) *apierror.Error {
	e := apierror.CodeRateLimitExceeded.New().WithProblemType(quotaExceeded, "Quota Exceeded")
	if len(rules) == 0 {
		return e
	}
	return e.WithProblemMember("violated-policies", rules)
}

// unnamed is the answer if the RateLimit fields are off. It does not name the rules, as
// the fields would.
var unnamed = newRefusal()

// refusalOf returns the answer to a request that some of the rules deny.
func refusalOf(items []item) *apierror.Error {
	var violated []string
	var last *rule
	for i := range items {
		if !items[i].decision.Allowed {
			last = items[i].rule
			violated = append(violated, last.Name)
		}
	}
	if len(violated) == 1 {
		return last.refusal
	}
	return newRefusal(violated...)
}

package ratelimit

// Outcome is what happened to a request.
type Outcome string

// The outcomes of requests. In shadow mode, every request goes on to the handler: see
// [Event].Shadow.
const (
	OutcomeAllowed  Outcome = "allowed"  // it went on to the handler
	OutcomeDenied   Outcome = "denied"   // it was over a limit: 429, or 503 from Shed
	OutcomeBypassed Outcome = "bypassed" // it went on, although the limiter or the Slots failed: see FailOpen
	OutcomeNoKey    Outcome = "no_key"   // a KeyFunc refused it: 401 if it had no key
	OutcomeFailed   Outcome = "failed"   // it was refused without a decision: 500, 503 or 504
)

// Event describes what a rule did to a request. Observe functions are called once for
// each rule that applies, after the decision and before the answer. An event does not
// hold the key.
type Event struct {
	// Rule is the name of the rule.
	Rule string

	// Outcome is the outcome of the request. With several rules it is the same for all of
	// them.
	Outcome Outcome

	// Decision is the decision of this rule. It is zero if there was none.
	// [MaxConcurrent] and [Shed] set only Allowed and RetryAfter.
	Decision Decision

	// Shadow reports whether the request went on to the handler only because of shadow
	// mode.
	Shadow bool

	// Err is the error of the [Limiter], of the [Slots] or of the KeyFunc. It is set even
	// if OnFailure let the request through. If nothing failed, it is nil.
	Err error
}

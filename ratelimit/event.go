package ratelimit

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	OutcomeAllowed  Outcome = "allowed"  // it went on to the handler
	OutcomeDenied   Outcome = "denied"   // it was over a limit, or blocked: 429, or 503 by Shed
	OutcomeBypassed Outcome = "bypassed" // it went on undecided, because the limiter failed: see FailOpen
	OutcomeNoKey    Outcome = "no_key"   // a rule's KeyFunc refused it: 401 if it had no key
	OutcomeFailed   Outcome = "failed"   // it was refused undecided: the limiter failed (503), the context ended (503, 504), a hook was wrong (500)
)

// Event is what an Observe function gets: one for each rule that counted the request, after the
// decision and before the answer. There is no key in it. A panic of the function is a panic of the
// request, which has begun nothing yet.
type Event struct {
	// Rule is the name of the rule.
	Rule string

	// Outcome is that of the request: with several rules, the same for all of them.
	Outcome Outcome

	// Decision is the rule's own: a request is denied when one rule does not allow it. It is zero
	// where there was none.
	Decision Decision

	// Shadow tells that Outcome did not come to pass: the request went on to the handler all the
	// same.
	Shadow bool

	// Err is the error of the limiter that failed, whatever Options.OnFailure made of it, or that
	// of the KeyFunc. Nil for none.
	Err error
}

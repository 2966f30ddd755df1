package modeltest_test

import (
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// record is a record of a store. Its methods are the rules of idempotent.Store. The zero value
// is an absent record.
type record struct {
	phase       phase
	token       idempotent.Token
	fingerprint idempotent.Fingerprint
	attempt     int
	effect      bool
	lease       time.Duration // when it ends
	expires     time.Duration // when the retention ends
	payload     string
}

type phase int

const (
	absent phase = iota
	running
	done
	notKept
	unknown
)

// call is an operation at a time of the store's clock.
type call struct {
	op         string // acquire, renew, begin, finish, resolve
	claim      idempotent.Claim
	completion idempotent.Completion
	payload    string // of the completion
	at         time.Duration
}

// result is the result of an operation.
type result struct {
	verdict idempotent.Verdict
	attempt int
	payload string
	err     error
}

// step returns the result of an operation, and the new record.
func (r record) step(c call) (result, record) {
	r = r.after(c.at)
	switch c.op {
	case "acquire":
		return r.acquire(c)
	case "resolve":
		return r.resolve(c)
	}
	gone := c.completion.State == idempotent.StateAbsent || c.completion.State == idempotent.StateUnknown
	owned := r.phase == running && r.token == c.claim.Token
	finished := r.phase > running && r.token == c.claim.Token
	switch {
	case c.op == "finish" && (finished || r.phase == absent && gone):
		return result{}, r
	case !owned:
		return result{err: idempotent.ErrLost}, r
	}
	switch c.op {
	case "renew":
		r.lease = c.at + c.claim.Lease
	case "begin":
		r.effect = true
	case "finish":
		r = r.finish(c)
	}
	return result{}, r
}

// after returns the record at a time.
func (r record) after(at time.Duration) record {
	if at >= r.expires && (r.phase != running || at >= r.lease) {
		return record{}
	}
	return r
}

func (r record) acquire(c call) (result, record) {
	mine := record{
		phase: running, token: c.claim.Token, fingerprint: c.claim.Fingerprint, attempt: r.attempt + 1,
		lease: c.at + c.claim.Lease, expires: c.at + c.claim.Retention,
	}
	switch {
	case r.phase == absent:
		return result{verdict: idempotent.VerdictAcquired, attempt: 1}, mine
	case r.fingerprint != c.claim.Fingerprint:
		return result{verdict: idempotent.VerdictMismatch}, r
	case r.phase == done:
		return result{verdict: idempotent.VerdictDone, payload: r.payload}, r
	case r.phase == notKept:
		return result{verdict: idempotent.VerdictNotKept, payload: r.payload}, r
	case r.phase == unknown:
		return result{verdict: idempotent.VerdictUnknown}, r
	case r.token == c.claim.Token:
		r.lease = c.at + c.claim.Lease
		return result{verdict: idempotent.VerdictAcquired, attempt: r.attempt}, r
	case c.at < r.lease:
		return result{verdict: idempotent.VerdictRunning}, r
	case r.effect:
		return result{verdict: idempotent.VerdictUnknown}, r
	default:
		return result{verdict: idempotent.VerdictAcquired, attempt: r.attempt + 1}, mine
	}
}

func (r record) resolve(c call) (result, record) {
	if r.phase != unknown && (r.phase != running || !r.effect || c.at < r.lease) {
		return result{err: idempotent.ErrNotUnknown}, r
	}
	r.token = idempotent.Token{}
	return result{}, r.finish(c)
}

func (r record) finish(c call) record {
	switch {
	case c.completion.State == idempotent.StateDone:
		r.phase = done
	case c.completion.State == idempotent.StateNotKept:
		r.phase = notKept
	case c.completion.State == idempotent.StateUnknown && r.effect:
		r.phase = unknown
	default:
		return record{}
	}
	r.payload, r.expires = c.payload, c.at+c.completion.Retention
	return r
}

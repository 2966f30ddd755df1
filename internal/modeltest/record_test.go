package modeltest_test

import (
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// record is one record of a store, and its methods are the rules of idempotent.Store once more, as plain as can be. The zero
// value is absent.
type record struct {
	phase   phase
	token   idempotent.Token
	print   idempotent.Print
	attempt int
	marked  bool
	lease   time.Duration // when it ends
	expires time.Duration // when the retention ends
	payload string
}

type phase int

const (
	absent phase = iota
	running
	done
	sealed
	unknown
)

// call is an operation, and the time on the store's clock.
type call struct {
	op      string // acquire, renew, mark, finish
	claim   idempotent.Claim
	outcome idempotent.Outcome
	payload string // of the outcome
	at      time.Duration
}

// result is what an operation answered.
type result struct {
	state   idempotent.State
	attempt int
	payload string
	err     error
}

// step is what a store without a bug answers, and the record that it leaves.
func (r record) step(c call) (result, record) {
	r = r.after(c.at)
	if c.op == "acquire" {
		return r.acquire(c)
	}
	owned := r.phase == running && r.token == c.claim.Token
	finished := r.phase > running && r.token == c.claim.Token
	switch {
	case c.op == "finish" && (finished || r.phase == absent && c.outcome.State == idempotent.Released):
		return result{}, r
	case !owned:
		return result{err: idempotent.ErrLost}, r
	}
	switch c.op {
	case "renew":
		r.lease = c.at + c.claim.Lease
	case "mark":
		r.marked = true
	case "finish":
		r = r.finish(c)
	}
	return result{}, r
}

// after is the record as it is at a time.
func (r record) after(at time.Duration) record {
	if at >= r.expires && (r.phase != running || at >= r.lease) {
		return record{}
	}
	return r
}

func (r record) acquire(c call) (result, record) {
	mine := record{phase: running, token: c.claim.Token, print: c.claim.Print, attempt: r.attempt + 1, lease: c.at + c.claim.Lease, expires: c.at + c.claim.Retention}
	switch {
	case r.phase == absent:
		return result{state: idempotent.Acquired, attempt: 1}, mine
	case r.print != c.claim.Print:
		return result{state: idempotent.Mismatch}, r
	case r.phase == done:
		return result{state: idempotent.Done, payload: r.payload}, r
	case r.phase == sealed:
		return result{state: idempotent.Sealed, payload: r.payload}, r
	case r.phase == unknown:
		return result{state: idempotent.Unknown}, r
	case r.token == c.claim.Token:
		r.lease = c.at + c.claim.Lease
		return result{state: idempotent.Acquired, attempt: r.attempt}, r
	case c.at < r.lease:
		return result{state: idempotent.InFlight}, r
	case r.marked:
		return result{state: idempotent.Unknown}, r
	default:
		return result{state: idempotent.Acquired, attempt: r.attempt + 1}, mine
	}
}

func (r record) finish(c call) record {
	switch c.outcome.State {
	case idempotent.Done:
		r.phase = done
	case idempotent.Sealed:
		r.phase = sealed
	case idempotent.Unknown:
		r.phase = unknown
	default:
		return record{}
	}
	r.payload, r.expires = c.payload, c.at+c.outcome.Retention
	return r
}

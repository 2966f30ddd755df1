// Package idemtest has stores for the tests of package idempotent and of its conformance suite: a
// plain one, one with transactions, and both with mistakes. It follows docs/STORE_GUIDE.md.
package idemtest

import (
	"errors"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// record is a record. Its methods are the steps of a store as pure functions: each returns the
// new record. Times are those of the store's clock.
type record struct {
	State       idempotent.State
	Fingerprint idempotent.Fingerprint
	Token       idempotent.Token
	Ownerless   bool // after Resolve; a token of zeros may be valid
	Scope       idempotent.ID
	Attempt     int
	Effect      bool // begun
	LeaseEnd    time.Duration
	Expiry      time.Duration
	Response    []byte
}

var absent = record{State: idempotent.StateAbsent}

var errInvalid = errors.New("idemtest: the completion is invalid")

// at returns the record at a time.
func (r record) at(now time.Duration) record {
	live := now < r.Expiry || r.State == idempotent.StateRunning && now < r.LeaseEnd
	if !live {
		return absent
	}
	return r
}

func (r record) running() bool { return r.State == idempotent.StateRunning }

func (r record) owned(t idempotent.Token) bool { return r.running() && r.Token == t && !r.Ownerless }

func (r record) unknown(now time.Duration) bool {
	return r.State == idempotent.StateUnknown || r.running() && r.Effect && now >= r.LeaseEnd
}

func (r record) acquire(c idempotent.Claim, now time.Duration) (record, idempotent.Decision) {
	switch {
	case r.State == idempotent.StateAbsent:
		return r.take(c, now)
	case r.Fingerprint != c.Fingerprint:
		return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch}
	case r.State == idempotent.StateDone:
		return r, idempotent.Decision{Verdict: idempotent.VerdictDone, Response: r.Response}
	case r.State == idempotent.StateNotKept:
		return r, idempotent.Decision{Verdict: idempotent.VerdictNotKept, Response: r.Response}
	case r.State == idempotent.StateUnknown:
		return r, idempotent.Decision{Verdict: idempotent.VerdictUnknown}
	case r.Token == c.Token:
		r.LeaseEnd = now + c.Lease
		return r, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: r.Attempt}
	case now < r.LeaseEnd:
		return r, idempotent.Decision{Verdict: idempotent.VerdictRunning, LeaseLeft: r.LeaseEnd - now}
	case r.Effect:
		return r, idempotent.Decision{Verdict: idempotent.VerdictUnknown}
	}
	return r.take(c, now)
}

// take returns the record of a claim that follows r.
func (r record) take(c idempotent.Claim, now time.Duration) (record, idempotent.Decision) {
	next := record{
		State: idempotent.StateRunning, Fingerprint: c.Fingerprint, Token: c.Token, Scope: c.Scope,
		Attempt: r.Attempt + 1, LeaseEnd: now + c.Lease, Expiry: now + c.Retention,
	}
	return next, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: next.Attempt}
}

func (r record) renew(t idempotent.Token, d, now time.Duration) (record, error) {
	if !r.owned(t) {
		return r, idempotent.ErrLost
	}
	r.LeaseEnd = now + d
	return r, nil
}

func (r record) beginEffect(t idempotent.Token) (record, error) {
	if !r.owned(t) {
		return r, idempotent.ErrLost
	}
	r.Effect = true
	return r, nil
}

func (r record) finish(t idempotent.Token, c idempotent.Completion, now time.Duration) (record, error) {
	gone := c.State == idempotent.StateAbsent || c.State == idempotent.StateUnknown && !r.Effect
	switch {
	case c.State != idempotent.StateAbsent && !leavesRecord(c.State):
		return r, errInvalid
	case r.State == idempotent.StateAbsent && gone:
		return r, nil
	case r.State == idempotent.StateAbsent || r.Token != t || r.Ownerless:
		return r, idempotent.ErrLost
	case !r.running():
		return r, nil // a repeated Finish
	case gone:
		return absent, nil
	}
	return r.end(c, now), nil
}

func (r record) resolve(c idempotent.Completion, now time.Duration) (record, error) {
	switch {
	case c.State != idempotent.StateDone && c.State != idempotent.StateNotKept && c.State != idempotent.StateAbsent:
		return r, errInvalid
	case !r.unknown(now):
		return r, idempotent.ErrNotUnknown
	case c.State == idempotent.StateAbsent:
		return absent, nil
	}
	r.Ownerless = true
	return r.end(c, now), nil
}

func (r record) end(c idempotent.Completion, now time.Duration) record {
	r.State, r.Response, r.Expiry = c.State, c.Response, now+c.Retention
	return r
}

func leavesRecord(s idempotent.State) bool {
	return s == idempotent.StateDone || s == idempotent.StateNotKept || s == idempotent.StateUnknown
}

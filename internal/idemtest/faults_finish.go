package idemtest

import (
	"bytes"
	"context"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

var finishFaults = []Fault{
	{"Finish does not compare the token", "after a takeover the former owner gets ErrLost", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
			return s.Finish(ctx, s.blind(o), c)
		}}
	}},
	{"Finish needs a live lease", "an owner who was not replaced can finish after the lease", true,
		wrongFinish(func(r record, _ idempotent.Owner, _ idempotent.Completion, now time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, isLate(r, now)
		})},
	{"a repeated Finish returns ErrLost", "Finish can be repeated", true,
		wrongFinish(func(r record, _ idempotent.Owner, _ idempotent.Completion, _ time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, !r.running() && r.State != idempotent.StateAbsent
		})},
	{"a repeated release returns ErrLost", "Finish can be repeated", true,
		wrongFinish(func(r record, _ idempotent.Owner, _ idempotent.Completion, _ time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, r.State == idempotent.StateAbsent
		})},
	{"a second Finish replaces the first", "a second Finish changes nothing", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			again := !r.running() && r.State != idempotent.StateAbsent && r.Token == o.Token
			if c.State == idempotent.StateAbsent {
				return absent, nil, again
			}
			return r.end(c, now), nil, again
		})},
	{"a repeated Finish extends the retention", "a repeated Finish does not extend the retention", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			again := !r.running() && r.State != idempotent.StateAbsent && r.Token == o.Token
			r.Expiry = now + c.Retention
			return r, nil, again
		})},
	{"Finish creates a record", "a token that acquired nothing changes nothing", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			r.Token = o.Token
			return r.end(c, now), nil, r.State == idempotent.StateAbsent && c.State != idempotent.StateAbsent
		})},
	{"the retention of the claim applies to the finished record", "the retention of the completion applies", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			next, err := r.finish(o.Token, c, now)
			next.Expiry = r.Expiry
			return next, err, r.owned(o.Token) && next.State != idempotent.StateAbsent
		})},
	{"an invalid completion is accepted", "an invalid completion is an error and changes nothing", false,
		wrongCompletion(func(c *idempotent.Completion) {
			if c.State != idempotent.StateAbsent && !leavesRecord(c.State) {
				c.State = idempotent.StateDone
			}
		})},
	{"a response is cut at 64 KiB", "a response comes back byte for byte", false,
		wrongCompletion(func(c *idempotent.Completion) { c.Response = c.Response[:min(len(c.Response), 1<<16)] })},
	{"a response is text", "a response comes back byte for byte", false,
		wrongCompletion(func(c *idempotent.Completion) { c.Response = bytes.ToValidUTF8(c.Response, nil) })},
	{"a response is trimmed", "a response comes back byte for byte", false,
		wrongCompletion(func(c *idempotent.Completion) { c.Response = bytes.Trim(c.Response, " \x00") })},
	{"the response of StateNotKept is lost", "the response of StateNotKept comes back byte for byte", true,
		wrongCompletion(func(c *idempotent.Completion) {
			if c.State == idempotent.StateNotKept {
				c.Response = nil
			}
		})},
	{"StateNotKept is stored as StateDone", "a second Finish changes nothing", true,
		wrongCompletion(func(c *idempotent.Completion) {
			if c.State == idempotent.StateNotKept {
				c.State = idempotent.StateDone
			}
		})},
}

var effectFaults = []Fault{
	{"a takeover ignores the effect", "after BeginEffect a record is unknown once its lease is over", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) {
				_, err := r.beginEffect(o.Token)
				return r, err
			})
		}}
	}},
	{"a repeated Acquire forgets the effect", "the owner can acquire an unknown record again", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			next, d := r.acquire(c, now)
			next.Effect = false
			return next, d, r.owned(c.Token)
		})},
	{"StateUnknown without an effect is kept", "StateUnknown without an effect removes the record", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			return r.end(c, now), nil, r.owned(o.Token) && c.State == idempotent.StateUnknown
		})},
	{"a repeated StateUnknown without an effect returns ErrLost", "StateUnknown without an effect removes the record", true,
		wrongFinish(func(r record, _ idempotent.Owner, c idempotent.Completion, _ time.Duration) (record, error, bool) {
			return r, idempotent.ErrLost, r.State == idempotent.StateAbsent && c.State == idempotent.StateUnknown
		})},
	{"an effect cannot be released", "a record can be released after BeginEffect", true,
		wrongFinish(func(r record, o idempotent.Owner, c idempotent.Completion, now time.Duration) (record, error, bool) {
			c.Retention = time.Hour
			unknown := c.State == idempotent.StateAbsent && r.owned(o.Token) && r.Effect
			c.State = idempotent.StateUnknown
			return r.end(c, now), nil, unknown
		})},
	{"a released effect comes back", "a new record has no effect", true, func(s *Reference) idempotent.Store {
		begun := map[idempotent.ID]bool{}
		return &wrong{
			Reference: s,
			acquire: func(_ context.Context, c idempotent.Claim) (d idempotent.Decision, _ error) {
				s.step(c.ID, func(r record, now time.Duration) record {
					r, d = r.acquire(c, now)
					r.Effect = r.Effect || r.running() && begun[c.ID]
					return r
				})
				return d, nil
			},
			beginEffect: func(ctx context.Context, o idempotent.Owner) error {
				return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) {
					r, err := r.beginEffect(o.Token)
					begun[o.ID] = begun[o.ID] || err == nil
					return r, err
				})
			},
		}
	}},
	{"BeginEffect renews the lease", "BeginEffect does not renew the lease", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				r, err := r.beginEffect(o.Token)
				if err == nil {
					r.LeaseEnd = now + time.Minute
				}
				return r, err
			})
		}}
	}},
	{"a second BeginEffect returns ErrLost", "Renew and BeginEffect can be repeated", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, _ time.Duration) (record, error) {
				if r.Effect {
					return r, idempotent.ErrLost
				}
				return r.beginEffect(o.Token)
			})
		}}
	}},
	{"BeginEffect does not compare the token", "after a takeover the former owner cannot begin an effect", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.BeginEffect(ctx, s.blind(o))
		}}
	}},
	{"BeginEffect needs a live lease", "an owner who was not replaced can begin an effect after the lease", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, beginEffect: func(ctx context.Context, o idempotent.Owner) error {
			return s.change(ctx, o.ID, func(r record, now time.Duration) (record, error) {
				if isLate(r, now) {
					return r, idempotent.ErrLost
				}
				return r.beginEffect(o.Token)
			})
		}}
	}},
	{"a duplicate ends an unknown record", "the owner can finish an unknown record", true,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			found := isLate(r, now) && r.Effect && r.Token != c.Token && r.Fingerprint == c.Fingerprint
			r.State = idempotent.StateUnknown
			return r, idempotent.Decision{Verdict: idempotent.VerdictUnknown}, found
		})},
}

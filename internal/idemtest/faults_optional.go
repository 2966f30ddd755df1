package idemtest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// endUnknown stores unknown records as StateUnknown, which takes them from their owners.
func (s *Reference) endUnknown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id := range s.records {
		if r := s.load(id, now); r.unknown(now) {
			r.State = idempotent.StateUnknown
			s.save(id, r)
		}
	}
}

var endUnknownFaults = []Fault{
	{"a mismatch ends an unknown record", "a mismatch does not end an unknown record", false,
		wrongAcquire(func(r record, c idempotent.Claim, now time.Duration) (record, idempotent.Decision, bool) {
			mismatch := isLate(r, now) && r.Effect && r.Fingerprint != c.Fingerprint
			r.State = idempotent.StateUnknown
			return r, idempotent.Decision{Verdict: idempotent.VerdictMismatch}, mismatch
		})},
	{"Sweep ends an unknown record", "Sweep does not end an unknown record", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, limit int) (int, error) {
			s.endUnknown()
			return s.Sweep(ctx, limit)
		}}
	}},
	{"ListUnknown ends an unknown record", "ListUnknown does not end an unknown record", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			s.endUnknown()
			return page(s.all(live), after, limit)
		})},
	{"Wait ends an unknown record", "Wait does not end an unknown record", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			s.endUnknown()
			return s.Wait(ctx, id)
		}}
	}},
	{"an invalid resolution ends an unknown record", "an invalid resolution leaves the record to its owner", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, resolve: func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
			s.endUnknown()
			return s.Resolve(ctx, id, c)
		}}
	}},
}

var sweepFaults = []Fault{
	{"Sweep without a limit removes one", "Sweep without a limit removes all expired records", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, limit int) (int, error) { return s.Sweep(ctx, max(limit, 1)) }}
	}},
	{"Sweep without a limit removes 100", "Sweep without a limit removes all expired records", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, limit int) (int, error) {
			if limit == 0 {
				limit = 100
			}
			return s.Sweep(ctx, limit)
		}}
	}},
	{"Finish wakes no waiter", "Wait returns when the record stops running", false, deaf(false)},
	{"Resolve wakes no waiter", "Wait returns after Resolve", false, deaf(true)},
	{"Sweep removes running records", "Sweep removes expired records only", true, func(s *Reference) idempotent.Store {
		return sweepsIf(s, func(r record, now time.Duration) bool { return now >= r.Expiry })
	}},
	{"Sweep removes abandoned records", "Sweep removes expired records only", true, func(s *Reference) idempotent.Store {
		return sweepsIf(s, func(r record, now time.Duration) bool { return now >= r.Expiry || isLate(r, now) })
	}},
	{"Sweep removes unknown records", "Sweep removes expired records only", true, func(s *Reference) idempotent.Store {
		return sweepsIf(s, func(r record, now time.Duration) bool { return now >= r.Expiry || r.unknown(now) })
	}},
	{"Sweep ignores the limit", "Sweep removes expired records only", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(ctx context.Context, _ int) (int, error) { return s.Sweep(ctx, 0) }}
	}},
	{"Sweep does nothing", "Sweep removes expired records only", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(context.Context, int) (int, error) { return 0, nil }}
	}},
	{"Sweep checks and removes in two steps", "Sweep races with new claims", true, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, sweep: func(context.Context, int) (int, error) {
			var over []idempotent.ID
			s.mu.Lock()
			for id := range s.records {
				if s.load(id, s.now()).State == idempotent.StateAbsent {
					over = append(over, id)
				}
			}
			s.mu.Unlock()
			s.Pause()
			for _, id := range over {
				s.step(id, func(record, time.Duration) record { return absent })
			}
			return min(len(over), 10), nil
		}}
	}},
	{"Wait misses a release", "Wait returns when the record stops running", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			for {
				if err := s.Wait(ctx, id); err != nil {
					return err
				}
				finished := false
				s.step(id, func(r record, _ time.Duration) record {
					finished = r.State != idempotent.StateAbsent
					return r
				})
				if finished {
					return nil
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
		}}
	}},
	{"Wait does not end with its context", "Wait ends with its context", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			return s.Wait(context.WithoutCancel(ctx), id)
		}}
	}},
}

// sweepsIf returns a store that sweeps by another condition, atomically.
func sweepsIf(s *Reference, over func(r record, now time.Duration) bool) idempotent.Store {
	return &wrong{Reference: s, sweep: func(_ context.Context, limit int) (removed int, _ error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		now := s.now()
		for id, b := range s.records {
			if over(decode(b), now) && (limit == 0 || removed < limit) {
				delete(s.records, id)
				removed++
			}
		}
		return removed, nil
	}}
}

// wrongResolve returns a store with another step for Resolve.
func wrongResolve(f func(r record, c idempotent.Completion, now time.Duration) (next record, ok bool)) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, resolve: func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
			return s.change(ctx, id, func(r record, now time.Duration) (record, error) {
				if next, ok := f(r, c, now); ok {
					return next, nil
				}
				return r.resolve(c, now)
			})
		}}
	}
}

// deaf returns a store whose Wait does not notice the end of a run by Resolve, or by Finish. That
// operation continues when a call waits, so that the mistake always shows.
func deaf(toResolve bool) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		waits := make(chan struct{})
		var once sync.Once
		w := &wrong{Reference: s, wait: func(ctx context.Context, id idempotent.ID) error {
			runs := false
			s.step(id, func(r record, _ time.Duration) record {
				runs = r.running()
				return r
			})
			if !runs {
				return nil
			}
			once.Do(func() { close(waits) })
			<-ctx.Done()
			return ctx.Err()
		}}
		if toResolve {
			w.resolve = func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
				<-waits
				return s.Resolve(ctx, id, c)
			}
		} else {
			w.finish = func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
				<-waits
				return s.Finish(ctx, o, c)
			}
		}
		return w
	}
}

var resolveFaults = []Fault{
	{"after Resolve a token of zeros owns the record", "a resolved record has no owner, whatever its token was", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			next, err := r.resolve(c, now)
			next.Token, next.Ownerless = idempotent.Token{}, false
			return next, err == nil && next.State != idempotent.StateAbsent
		})},
	{"Resolve ends a running record", "Resolve returns ErrNotUnknown for any other record", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), r.running() && r.Effect
		})},
	{"Resolve ends a record without an effect", "Resolve returns ErrNotUnknown for any other record", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), isLate(r, now)
		})},
	{"Resolve replaces a finished record", "Resolve returns ErrNotUnknown for any other record", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), r.State == idempotent.StateDone
		})},
	{"Resolve of an absent record succeeds", "Resolve returns ErrNotUnknown for any other record", false,
		wrongResolve(func(r record, _ idempotent.Completion, _ time.Duration) (record, bool) {
			return r, r.State == idempotent.StateAbsent
		})},
	{"Resolve waits for the owner", "Resolve ends an unknown record", false, func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, resolve: func(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
			return s.change(ctx, id, func(r record, now time.Duration) (record, error) {
				if r.running() {
					return r, idempotent.ErrNotUnknown
				}
				return r.resolve(c, now)
			})
		}}
	}},
	{"after Resolve the owner can finish", "after Resolve the owner gets ErrLost", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			next, err := r.resolve(c, now)
			next.Ownerless = false
			return next, err == nil && next.State != idempotent.StateAbsent
		})},
	{"Resolve accepts an invalid completion", "an invalid resolution is an error and changes nothing", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			return r.end(c, now), r.unknown(now) && c.State == idempotent.StateUnknown
		})},
	{"the retention of the claim applies to the resolved record", "a resolved record keeps its fingerprint for its retention", false,
		wrongResolve(func(r record, c idempotent.Completion, now time.Duration) (record, bool) {
			next, err := r.resolve(c, now)
			next.Expiry = r.Expiry
			return next, err == nil && next.State != idempotent.StateAbsent
		})},
	{"Resolve removes the fingerprint", "a resolved record keeps its fingerprint for its retention", false,
		func(s *Reference) idempotent.Store {
			w := wrongAcquire(func(r record, _ idempotent.Claim, _ time.Duration) (record, idempotent.Decision, bool) {
				return r, idempotent.Decision{Verdict: idempotent.VerdictDone, Response: r.Response},
					r.State == idempotent.StateDone && r.Ownerless
			})
			return w(s)
		}},
}

// wrongList returns a store with another ListUnknown.
func wrongList(f func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord) func(*Reference) idempotent.Store {
	return func(s *Reference) idempotent.Store {
		return &wrong{Reference: s, listUnknown: func(_ context.Context, after idempotent.ID, limit int) ([]idempotent.UnknownRecord, error) {
			return f(s, after, limit), nil
		}}
	}
}

// all returns the records that unknown selects.
func (s *Reference) all(unknown func(r record, now time.Duration) bool) (list []idempotent.UnknownRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id, b := range s.records {
		if r := decode(b); unknown(r, now) {
			list = append(list, idempotent.UnknownRecord{ID: id, Scope: r.Scope, Attempt: r.Attempt, Left: r.Expiry - now})
		}
	}
	slices.SortFunc(list, func(a, b idempotent.UnknownRecord) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list
}

// page returns the right page of a list.
func page(list []idempotent.UnknownRecord, after idempotent.ID, limit int) []idempotent.UnknownRecord {
	list = slices.DeleteFunc(list, func(u idempotent.UnknownRecord) bool { return bytes.Compare(u.ID[:], after[:]) <= 0 })
	return firstOf(list, limit)
}

// firstOf returns the beginning of a list. A limit of 0 is no limit.
func firstOf(list []idempotent.UnknownRecord, limit int) []idempotent.UnknownRecord {
	if limit == 0 {
		return list
	}
	return list[:min(limit, len(list))]
}

func live(r record, now time.Duration) bool { return r.at(now).unknown(now) }

var listFaults = []Fault{
	{"ListUnknown without a limit lists nothing", "ListUnknown without a limit lists all unknown records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, 0)
			return list[:min(limit, len(list))]
		})},
	{"ListUnknown without a limit lists 100", "ListUnknown without a limit lists all unknown records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			if limit == 0 {
				limit = 100
			}
			return page(s.all(live), after, limit)
		})},
	{"ListUnknown without a limit begins with the first record", "ListUnknown without a limit lists all unknown records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			if limit == 0 {
				after = idempotent.ID{}
			}
			return page(s.all(live), after, limit)
		})},
	{"ListUnknown misses records that are still stored as running", "ListUnknown lists unknown records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return live(r, now) && !r.running() }), after, limit)
		})},
	{"ListUnknown lists running records", "ListUnknown lists no other records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return live(r, now) || r.running() && r.Effect }), after, limit)
		})},
	{"ListUnknown lists abandoned records without an effect", "ListUnknown lists no other records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return live(r, now) || isLate(r, now) }), after, limit)
		})},
	{"ListUnknown lists expired records", "ListUnknown lists no other records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			return page(s.all(func(r record, now time.Duration) bool { return r.unknown(now) }), after, limit)
		})},
	{"ListUnknown ignores the limit", "ListUnknown lists pages in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, _ int) []idempotent.UnknownRecord {
			return page(s.all(live), after, 1000)
		})},
	{"ListUnknown begins with the last ID of the page before", "ListUnknown lists pages in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := s.all(live)
			list = slices.DeleteFunc(list, func(u idempotent.UnknownRecord) bool { return bytes.Compare(u.ID[:], after[:]) < 0 })
			return firstOf(list, limit)
		})},
	{"ListUnknown compares signed bytes", "ListUnknown lists pages in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			signed := func(id idempotent.ID) int { return int(int8(id[0])) }
			list := s.all(live)
			slices.SortStableFunc(list, func(a, b idempotent.UnknownRecord) int { return signed(a.ID) - signed(b.ID) })
			list = slices.DeleteFunc(list, func(u idempotent.UnknownRecord) bool {
				return after != idempotent.ID{} && (signed(u.ID) < signed(after) ||
					signed(u.ID) == signed(after) && bytes.Compare(u.ID[:], after[:]) <= 0)
			})
			return firstOf(list, limit)
		})},
	{"ListUnknown cuts the page before it sorts", "ListUnknown lists pages in the order of IDs", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, 1000)
			if limit == 0 {
				return list
			}
			return slices.Clone(list[max(0, len(list)-limit):])
		})},
	{"ListUnknown returns no scope", "ListUnknown lists unknown records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, limit)
			for i := range list {
				list[i].Scope = idempotent.ID{}
			}
			return list
		})},
	{"ListUnknown returns no time left", "ListUnknown lists unknown records", false,
		wrongList(func(s *Reference, after idempotent.ID, limit int) []idempotent.UnknownRecord {
			list := page(s.all(live), after, limit)
			for i := range list {
				list[i].Left = 0
			}
			return list
		})},
}

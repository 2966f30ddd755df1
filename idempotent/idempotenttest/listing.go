package idempotenttest

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

var listing = []testCase{
	{"ListUnknown lists unknown records", func(f *fixture) {
		enter := f.enterUnknown()
		finished := newClaim()
		f.wantAcquired(finished, 1)
		enter[0](finished)
		takenOver := newClaim()
		takenOver.Scope = idempotent.ID{}
		f.wantAcquired(takenOver, 1)
		f.advance(lease + slack)
		takenOver = rival(takenOver)
		f.wantAcquired(takenOver, 2)
		enter[1](takenOver)

		got := map[idempotent.ID]idempotent.UnknownRecord{}
		for _, u := range f.list(100) {
			got[u.ID] = u
		}
		for _, want := range []idempotent.UnknownRecord{
			{ID: finished.ID, Scope: finished.Scope, Attempt: 1, Left: keep - 2*(lease+slack)},
			{ID: takenOver.ID, Scope: takenOver.Scope, Attempt: 2, Left: keep - (lease + slack)},
		} {
			u, ok := got[want.ID]
			switch {
			case !ok:
				f.Errorf("ListUnknown misses the record with attempt %d", want.Attempt)
			case u.Scope != want.Scope || u.Attempt != want.Attempt:
				f.Errorf("ListUnknown returned Scope %s, Attempt %d; want %s, %d", u.Scope, u.Attempt, want.Scope, want.Attempt)
			case u.Left > want.Left+time.Second || u.Left < want.Left-patience:
				f.Errorf("ListUnknown returned Left %s for attempt %d, want %s", u.Left, u.Attempt, want.Left)
			}
		}
	}},
	{"ListUnknown lists no other records", func(f *fixture) {
		others := []idempotent.Claim{newClaim()}
		expired := f.begin()
		f.ok("Finish", f.finish(expired, unknown))
		f.advance(keep + slack)
		running := f.begin()
		abandoned := newClaim()
		abandoned.Lease = time.Second
		f.wantAcquired(abandoned, 1)
		f.advance(2 * slack)
		others = append(others, expired, running, abandoned)
		for _, o := range []idempotent.Completion{done("response"), notKept, released} {
			c := f.begin()
			f.ok("Finish", f.finish(c, o))
			others = append(others, c)
		}
		for _, u := range f.list(100) {
			if slices.ContainsFunc(others, func(c idempotent.Claim) bool { return c.ID == u.ID }) {
				f.Errorf("ListUnknown listed a record that is not unknown: %s", u.ID)
			}
		}
	}},
	{"ListUnknown lists pages in the order of IDs", func(f *fixture) {
		enter := f.enterUnknown()
		mine := map[idempotent.ID]bool{}
		add := func(way int) {
			c := newClaim()
			if len(mine) < 2 {
				c.ID[0] = byte(0xff * len(mine)) // the order is that of unsigned bytes
			}
			f.wantAcquired(c, 1)
			enter[way](c)
			mine[c.ID] = true
		}
		for range 10 {
			add(0)
		}
		add(1)
		add(1)
		for _, limit := range []int{1, 5, 100} {
			list := f.list(limit)
			seen := map[idempotent.ID]bool{}
			for _, u := range list {
				seen[u.ID] = true
			}
			if len(list) != len(mine) || !maps.Equal(seen, mine) {
				f.Errorf("ListUnknown in pages of %d listed %d records, want the %d unknown ones", limit, len(list), len(mine))
			}
			if !slices.IsSortedFunc(list, func(a, b idempotent.UnknownRecord) int { return bytes.Compare(a.ID[:], b.ID[:]) }) {
				f.Errorf("ListUnknown in pages of %d is not in the order of IDs", limit)
			}
		}
	}},
	{"ListUnknown without a limit lists all unknown records", func(f *fixture) {
		l := f.store.(idempotent.UnknownLister)
		for range many {
			f.begin()
		}
		f.advance(lease + slack)
		all, err := l.ListUnknown(f.Context(), idempotent.ID{}, 0)
		f.ok("ListUnknown", err)
		if len(all) != many {
			f.Fatalf("ListUnknown with the limit 0 listed %d records, want %d", len(all), many)
		}
		rest, err := l.ListUnknown(f.Context(), all[many/3-1].ID, 0)
		f.ok("ListUnknown", err)
		if !slices.EqualFunc(rest, all[many/3:], func(a, b idempotent.UnknownRecord) bool { return a.ID == b.ID }) {
			f.Errorf("ListUnknown with the limit 0, after %d of %d records, listed %d others", many/3, many, len(rest))
		}
	}},
	{"ListUnknown does not end an unknown record", func(f *fixture) {
		l := f.store.(idempotent.UnknownLister)
		f.wantOwnerGoesOn(func(c idempotent.Claim) {
			for _, limit := range []int{100, 0} {
				list, err := l.ListUnknown(f.Context(), idempotent.ID{}, limit)
				f.ok("ListUnknown", err)
				if !slices.ContainsFunc(list, func(u idempotent.UnknownRecord) bool { return u.ID == c.ID }) {
					f.Errorf("ListUnknown with the limit %d misses an unknown record", limit)
				}
			}
		})
	}},
	{"ListUnknown returns nothing of an expired record with the same ID", func(f *fixture) {
		l := f.store.(idempotent.UnknownLister)
		c := f.begin()
		f.ok("Finish", f.finish(c, unknown))
		f.advance(2 * keep) // without a Sweep
		next := rival(c)
		next.Scope[0]++
		f.wantAcquired(next, 1)
		f.ok("BeginEffect", f.beginEffect(next))
		f.advance(lease + slack)
		list, err := l.ListUnknown(f.Context(), idempotent.ID{}, 10)
		f.ok("ListUnknown", err)
		if len(list) != 1 || list[0].ID != next.ID {
			f.Fatalf("ListUnknown listed %d records, want the new one only", len(list))
		}
		if u := list[0]; u.Scope != next.Scope || u.Attempt != 1 || u.Left > keep-lease || u.Left < keep-lease-slack-patience {
			f.Errorf("ListUnknown returned Scope %s, Attempt %d, Left %s; want %s, 1, %s",
				u.Scope, u.Attempt, u.Left, next.Scope, keep-lease-slack)
		}
	}},
	{"ListUnknown lists records until they are resolved", func(f *fixture) {
		r, ok := f.store.(idempotent.Resolver)
		if !ok {
			return
		}
		var mine []idempotent.Claim
		for _, enter := range f.enterUnknown() {
			c := newClaim()
			f.wantAcquired(c, 1)
			enter(c)
			mine = append(mine, c)
		}
		listed := func(c idempotent.Claim) bool {
			return slices.ContainsFunc(f.list(10), func(u idempotent.UnknownRecord) bool { return u.ID == c.ID })
		}
		for _, c := range mine {
			if !listed(c) {
				f.Error("ListUnknown misses an unknown record")
			}
			f.ok("Resolve", r.Resolve(f.Context(), c.ID, done("resolved")))
			if listed(c) {
				f.Error("ListUnknown listed a resolved record")
			}
		}
	}},
}

// list returns all unknown records, page by page.
func (f *fixture) list(limit int) (all []idempotent.UnknownRecord) {
	f.Helper()
	l := f.store.(idempotent.UnknownLister)
	var after idempotent.ID
	for range 10_000 {
		page, err := l.ListUnknown(f.Context(), after, limit)
		f.ok("ListUnknown", err)
		if len(page) > limit {
			f.Fatalf("ListUnknown with the limit %d returned %d records", limit, len(page))
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
	f.Fatal("ListUnknown returned 10,000 pages, none of them empty")
	return nil
}

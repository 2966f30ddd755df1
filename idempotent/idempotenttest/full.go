package idempotenttest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// most is the largest number of records that a store for RunFull may have room for.
const most = 1000

// RunFull checks a store whose room has a bound, when it is full. newStore is as in [Run]. The
// store must have room for at least 4 records, and for at most 1,000 with a response of 1 KiB
// each. The suite fills it with records of one scope.
func RunFull(t *testing.T, newStore func(t *testing.T) (s idempotent.Store, advance func(time.Duration))) {
	t.Helper()
	for _, c := range fullCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, advance := newStore(t)
			c.test(&fixture{T: t, store: s, advance: advance})
		})
	}
}

var fullCases = []testCase{
	{"running and unknown records are not evicted", func(f *fixture) {
		claims := f.fill(func(i int, c idempotent.Claim) {
			if i%2 == 0 {
				f.ok("BeginEffect", f.beginEffect(c))
				f.ok("Finish", f.finish(c, unknown))
			}
		})
		for i, c := range claims {
			if i%2 == 0 {
				f.want(rival(c), idempotent.VerdictUnknown)
			} else {
				f.want(rival(c), idempotent.VerdictRunning)
			}
		}
	}},
	{"a refused claim leaves no record", func(f *fixture) {
		claims := f.fill(func(int, idempotent.Claim) {})
		refused := newClaim()
		for range 3 {
			f.full("Acquire", f.tryAcquire(refused))
		}
		f.lost("Renew", f.renew(refused))
		f.ok("Finish", f.finish(claims[0], released))
		f.wantAcquired(other(refused), 1)
		f.full("Acquire", f.tryAcquire(newClaim()))
	}},
	{"existing records still work", func(f *fixture) {
		claims := f.fill(func(int, idempotent.Claim) {})
		c := claims[0]
		f.wantAcquired(c, 1)
		f.want(rival(c), idempotent.VerdictRunning)
		f.want(other(c), idempotent.VerdictMismatch)
		f.ok("Renew", f.renew(c))
		f.advance(lease + slack)
		next := rival(c)
		f.wantAcquired(next, 2)
		f.ok("BeginEffect", f.beginEffect(next))
		f.advance(lease + slack)
		f.want(rival(c), idempotent.VerdictUnknown)
	}},
	{"only the response of StateDone is refused", func(f *fixture) {
		claims := f.fill(func(i int, c idempotent.Claim) {
			f.ok("BeginEffect", f.beginEffect(c))
			if i%2 == 0 {
				f.finishLarge(c)
			}
		})
		for i, c := range claims {
			if i%2 == 0 {
				continue
			}
			o := []idempotent.Completion{unkept(201), unknown, released}[i/2%3]
			f.ok("Finish", f.finish(c, o))
			if o.State != idempotent.StateAbsent {
				f.wantCompletion(c, o)
			}
		}
	}},
	{"a refused response leaves the record running", func(f *fixture) {
		claims := f.fill(func(int, idempotent.Claim) {})
		for _, c := range claims {
			f.finishLarge(c)
		}
		f.wantFinished(claims)
	}},
	{"the newest record is kept, and expired records make room", func(f *fixture) {
		claims := f.fill(func(_ int, c idempotent.Claim) { f.finishLarge(c) })
		f.wantFinished(claims[len(claims)-1:])
		f.advance(keep + slack)
		for _, c := range claims[:4] {
			f.wantAcquired(rival(c), 1)
		}
	}},
	{"expired records make room without a Sweep", func(f *fixture) {
		over := func() { f.advance(keep + slack) }
		begin := func(_ int, c idempotent.Claim) { f.ok("BeginEffect", f.beginEffect(c)) }
		before := len(f.fill(func(int, idempotent.Claim) {}))
		over()
		f.fill(begin)
		over()
		f.fill(func(i int, c idempotent.Claim) {
			begin(i, c)
			f.ok("Finish", f.finish(c, unknown))
		})
		over()
		var refused [2]error
		for round := range refused {
			f.fill(func(i int, c idempotent.Claim) {
				if i == 0 {
					refused[round] = f.finish(c, large)
				}
				f.finishLarge(c) // which changes nothing if the record is finished
			})
			over()
		}
		if refused[0] == nil && refused[1] != nil {
			f.Errorf("Finish returned %v: expired records take the room of the response", refused[1])
		}
		// A store that is divided by the ID may be full a little earlier or later.
		if now := len(f.fill(func(int, idempotent.Claim) {})); now < before/2 {
			f.Errorf("there is room for %d records, want about %d as before", now, before)
		}
	}},
	{"a refused resolution changes nothing", func(f *fixture) {
		r, ok := f.store.(idempotent.Resolver)
		if !ok {
			return
		}
		claims := f.fill(func(i int, c idempotent.Claim) {
			f.ok("BeginEffect", f.beginEffect(c))
			switch i % 3 {
			case 0:
				f.finishLarge(c)
			case 1:
				f.ok("Finish", f.finish(c, unknown))
			}
		})
		f.advance(lease + slack)
		for i, c := range claims {
			if i%3 == 0 {
				continue
			}
			err := r.Resolve(f.Context(), c.ID, large)
			if err == nil {
				f.wantFinished([]idempotent.Claim{c})
				continue
			}
			f.full("Resolve", err)
			f.want(rival(c), idempotent.VerdictUnknown)
			if i%3 == 2 {
				f.ok("BeginEffect", f.beginEffect(c)) // the record still has its owner
			}
			o := []idempotent.Completion{unkept(201), released}[i%2]
			f.ok("Resolve", r.Resolve(f.Context(), c.ID, o))
			if o.State != idempotent.StateAbsent {
				f.wantCompletion(c, o)
			}
		}
	}},
}

var large = answer(201, string(bytes.Repeat([]byte("a"), 1024)))

// finishLarge finishes with a large response, or without it if the store refuses it.
func (f *fixture) finishLarge(c idempotent.Claim) {
	f.Helper()
	err := f.finish(c, large)
	if err == nil {
		return
	}
	f.full("Finish", err)
	f.want(rival(c), idempotent.VerdictRunning)
	f.ok("Finish", f.finish(c, unkept(201)))
	f.wantCompletion(c, unkept(201))
}

// fill acquires records until the store is full or has 1,000. It calls then for each.
func (f *fixture) fill(then func(i int, c idempotent.Claim)) (claims []idempotent.Claim) {
	f.Helper()
	for len(claims) < most {
		c := newClaim()
		if err := f.tryAcquire(c); err != nil {
			f.full("Acquire", err)
			break
		}
		then(len(claims), c)
		claims = append(claims, c)
	}
	if len(claims) < 4 {
		f.Fatalf("the store has room for %d records, want at least 4", len(claims))
	}
	return claims
}

func (f *fixture) tryAcquire(c idempotent.Claim) error {
	f.Helper()
	d, err := f.store.Acquire(f.Context(), c)
	if err == nil && d.Verdict != idempotent.VerdictAcquired {
		f.Fatalf("Acquire of a new record returned %s", d.Verdict)
	}
	return err
}

// full expects ErrFull. ErrQuota matches it, too.
func (f *fixture) full(op string, err error) {
	f.Helper()
	if !errors.Is(err, idempotent.ErrFull) {
		f.Fatalf("%s returned %v, want ErrFull or ErrQuota", op, err)
	}
}

// wantFinished expects finished records. The store may have dropped their large responses to make
// room.
func (f *fixture) wantFinished(claims []idempotent.Claim) {
	f.Helper()
	for _, c := range claims {
		switch d := f.acquire(rival(c)); d.Verdict {
		case idempotent.VerdictDone:
			if !bytes.Equal(d.Response, large.Response) {
				f.Fatalf("Acquire returned the response %q, want %q", short(d.Response), short(large.Response))
			}
		case idempotent.VerdictNotKept:
		default:
			f.Fatalf("Acquire of a finished record returned %s", d.Verdict)
		}
	}
}

package ratelimittest

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// RunSlots tests an implementation of [ratelimit.Slots].
//
// RunSlots calls newSlots several times. newSlots may use its t for cleanup. It returns an
// implementation whose slots are all free, the lease of a slot, and a function that moves
// the clock of the leases forward. At all other times, that clock must stand still. No
// slot may be renewed during the tests: a lease of a minute is long enough. If slots have
// no lease, it is 0 and advance may be nil.
//
// RunSlots does not test renewals, or a process that dies. Test these cases yourself.
func RunSlots(t *testing.T, newSlots func(t *testing.T) (s ratelimit.Slots, lease time.Duration, advance func(time.Duration))) {
	for _, c := range slotsTests {
		t.Run(c.name, func(t *testing.T) {
			s, _, _ := newSlots(t)
			c.test(t, s)
		})
	}
	if _, lease, _ := newSlots(t); lease > 0 {
		t.Run("a slot is free after its lease", func(t *testing.T) {
			s, lease, advance := newSlots(t)
			lostSlots(t, s, lease, advance)
		})
	}
}

var slotsTests = []struct {
	name string
	test func(t *testing.T, s ratelimit.Slots)
}{
	{"Max entries find a free slot", fullSlots},
	{"entries in shadow mode always take a slot", shadowEntries},
	{"Max may differ between entries", severalMaxima},
	{"rules and keys do not share slots", separateSlots},
	{"leave gives back one slot", leaveOnce},
	{"leave works after the context has ended", leaveAfterEnd},
	{"concurrent entries take exactly Max slots", concurrentEntries},
}

// enter takes a slot, and checks that there is a leave function if and only if one was
// taken.
func enter(t *testing.T, s ratelimit.Slots, e ratelimit.Entry) (leave func(), free bool) {
	t.Helper()
	return enterWith(t.Context(), t, s, e)
}

func enterWith(ctx context.Context, t *testing.T, s ratelimit.Slots, e ratelimit.Entry) (leave func(), free bool) {
	t.Helper()
	leave, free, err := s.Enter(ctx, e)
	if err != nil {
		t.Fatalf("Enter(%+v): %v", e, err)
	}
	if taken := free || e.Shadow; taken != (leave != nil) {
		t.Fatalf("Enter(%+v): free is %v, a leave function was returned: %v", e, free, leave != nil)
	}
	return leave, free
}

// takeSlot takes a slot that must be free.
func takeSlot(t *testing.T, s ratelimit.Slots, e ratelimit.Entry) (leave func()) {
	t.Helper()
	leave, free := enter(t, s, e)
	if !free {
		t.Fatalf("no slot is free for %+v", e)
	}
	return leave
}

// isFull checks that no slot is free.
func isFull(t *testing.T, s ratelimit.Slots, e ratelimit.Entry) {
	t.Helper()
	if _, free := enter(t, s, e); free {
		t.Fatalf("a slot is free for %+v", e)
	}
}

func fullSlots(t *testing.T, s ratelimit.Slots) {
	for _, most := range []int{1, 2, 7} {
		e := ratelimit.Entry{Rule: "p", Key: strings.Repeat("k", most), Max: most}
		for range 3 { // the slots are free again
			var leaves []func()
			for range most {
				leaves = append(leaves, takeSlot(t, s, e))
			}
			for range 3 { // a refused entry takes nothing
				isFull(t, s, e)
			}
			leaves[0]()
			leaves[0] = takeSlot(t, s, e)
			isFull(t, s, e)
			for _, leave := range leaves {
				leave()
			}
		}
	}
}

func shadowEntries(t *testing.T, s ratelimit.Slots) {
	e := ratelimit.Entry{Rule: "p", Key: "k", Max: 2}
	shadow := e
	shadow.Shadow = true
	first, second := takeSlot(t, s, e), takeSlot(t, s, shadow)
	third, free := enter(t, s, shadow)
	if free {
		t.Fatal("a slot is free beside two others")
	}
	first()
	isFull(t, s, e)
	third()
	first = takeSlot(t, s, e)
	isFull(t, s, e)
	first()
	second()
}

// severalMaxima enters with the maxima of two plans, or of two versions of a program.
func severalMaxima(t *testing.T, s ratelimit.Slots) {
	small := ratelimit.Entry{Rule: "p", Key: "k", Max: 1}
	large := ratelimit.Entry{Rule: "p", Key: "k", Max: 3}
	huge := ratelimit.Entry{Rule: "p", Key: "k", Max: math.MaxInt}
	first, second := takeSlot(t, s, large), takeSlot(t, s, large)
	isFull(t, s, small)
	third := takeSlot(t, s, large)
	isFull(t, s, large)
	takeSlot(t, s, huge)()
	first()
	second()
	isFull(t, s, small)
	third()
	takeSlot(t, s, small)()
}

func separateSlots(t *testing.T, s ratelimit.Slots) {
	for _, name := range names {
		e := ratelimit.Entry{Rule: name[0], Key: name[1], Max: 1}
		if _, free := enter(t, s, e); !free {
			t.Errorf("%q shares its slot with an earlier one", name)
		}
		isFull(t, s, e)
	}
}

// leaveOnce leaves several times, as a caller does that has a bug. This must not free the
// slots of others.
func leaveOnce(t *testing.T, s ratelimit.Slots) {
	e := ratelimit.Entry{Rule: "p", Key: "k", Max: 2}
	other := ratelimit.Entry{Rule: "p", Key: "other", Max: 1}
	takeSlot(t, s, other)
	first := takeSlot(t, s, e)
	takeSlot(t, s, e)
	first()
	first()
	takeSlot(t, s, e)
	isFull(t, s, e)
	first()
	isFull(t, s, e)
	isFull(t, s, other)
}

func leaveAfterEnd(t *testing.T, s ratelimit.Slots) {
	e := ratelimit.Entry{Rule: "p", Key: "k", Max: 1}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leave, _ := enterWith(ctx, t, s, e)
	cancel()
	isFull(t, s, e) // a handler may still run
	leave()
	takeSlot(t, s, e)
}

func concurrentEntries(t *testing.T, s ratelimit.Slots) {
	e := ratelimit.Entry{Rule: "p", Key: "k", Max: 5}
	var running, refused atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 25 {
				leave, free, err := s.Enter(t.Context(), e)
				if err != nil {
					t.Error(err)
					return
				}
				if !free {
					refused.Add(1)
					continue
				}
				if n := running.Add(1); n > int64(e.Max) {
					t.Errorf("%d slots are taken, want %d at most", n, e.Max)
				}
				running.Add(-1)
				leave()
			}
		})
	}
	wg.Wait()
	taken := make(chan func(), 64)
	for range 64 {
		wg.Go(func() {
			leave, free, err := s.Enter(t.Context(), e)
			if err != nil {
				t.Error(err)
			} else if free {
				taken <- leave
			}
		})
	}
	wg.Wait()
	if n := len(taken); n != e.Max {
		t.Errorf("%d of 64 entries took a slot, want %d", n, e.Max)
	}
}

// lostSlots takes slots and lets their leases end, as if their process had died.
func lostSlots(t *testing.T, s ratelimit.Slots, lease time.Duration, advance func(time.Duration)) {
	const slack = 10 * time.Millisecond
	e := ratelimit.Entry{Rule: "p", Key: "k", Max: 2}
	first := takeSlot(t, s, e)
	advance(lease / 2)
	second := takeSlot(t, s, e)
	advance(lease/2 - slack)
	isFull(t, s, e)
	advance(2 * slack)
	takeSlot(t, s, e)
	isFull(t, s, e)
	first() // another request has its slot now
	isFull(t, s, e)
	second()
	third := takeSlot(t, s, e)
	isFull(t, s, e)
	third()
	for range 3 { // a refused entry takes nothing, and does not extend a lease
		advance(lease / 4)
	}
	takeSlot(t, s, e)
	isFull(t, s, e)
	advance(lease/4 + slack)
	takeSlot(t, s, e)
	isFull(t, s, e)
}

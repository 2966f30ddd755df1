package ratelimittest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
)

// slotsFaults are the faults that RunSlots must find in the slots of these tests.
var slotsFaults = []string{
	"one slot too many", "one slot too few", "a refused entry takes a slot", "an entry in shadow mode takes no slot", "an entry in shadow mode is free",
	"an entry in shadow mode cannot leave", "the first Max counts", "Max is cut to 32 bits", "rule and key run together", "spaces at the end of a key are cut",
	"a key is cut to 255 bytes", "leave does nothing", "leave frees any slot", "leave needs the context", "counting and taking are two steps",
	"there is no lease", "a lease is a thousand times too short", "a refused entry extends the leases", "an entry extends the leases", "Enter fails",
}

const envSlotsFault = "RATELIMITTEST_SLOTS_FAULT"

func TestRunSlotsFindsEachFault(t *testing.T) {
	t.Parallel()
	for _, fault := range append([]string{none}, slotsFaults...) {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			if fault == "Max is cut to 32 bits" && strconv.IntSize == 32 {
				t.Skip("an int has 32 bits")
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestFaultySlots$", "-test.timeout=1m", "-test.failfast")
			cmd.Env = append(os.Environ(), envSlotsFault+"="+fault)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if found := errors.As(err, &exit); found != (fault != none) {
				t.Errorf("found a fault: %v, %v\n%s", found, err, out)
			}
		})
	}
}

func TestFaultySlots(t *testing.T) {
	t.Parallel()
	fault := os.Getenv(envSlotsFault)
	if fault == "" {
		fault = none
	}
	ratelimittest.RunSlots(t, func(*testing.T) (ratelimit.Slots, time.Duration, func(time.Duration)) {
		s := &leased{fault: fault, ends: map[[2]string]map[int]time.Duration{}, most: map[[2]string]int{}}
		return s, time.Minute, s.advance
	})
}

func TestSlotsNeedNoLease(t *testing.T) {
	t.Parallel()
	ratelimittest.RunSlots(t, func(*testing.T) (ratelimit.Slots, time.Duration, func(time.Duration)) {
		return &leased{ends: map[[2]string]map[int]time.Duration{}, most: map[[2]string]int{}}, 0, nil
	})
}

// leased are slots with a lease of a minute. They have one of the faults, or none.
type leased struct {
	fault string
	mu    sync.Mutex
	now   time.Duration
	last  int                                 // the id of the last slot
	ends  map[[2]string]map[int]time.Duration // the ends of the leases of a key's slots, by id
	most  map[[2]string]int                   // the first Max

	between atomic.Int64 // entries that have counted, and have not taken
}

func (l *leased) advance(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now += d
}

func (l *leased) Enter(ctx context.Context, e ratelimit.Entry) (leave func(), free bool, err error) {
	key, most := l.change(e)
	if l.fault == "Enter fails" {
		return nil, false, errors.New("refused")
	}
	if l.fault == "counting and taking are two steps" {
		free = l.count(key) < most
		l.between.Add(1)
		for i := 0; l.between.Load() < 8 && i < 10_000; i++ { // until others have counted too
			runtime.Gosched()
		}
		l.between.Add(-1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(key)
	if l.fault != "counting and taking are two steps" {
		free = len(l.ends[key]) < most
	}
	if !free && l.fault == "a refused entry extends the leases" || l.fault == "an entry extends the leases" {
		for id := range l.ends[key] {
			l.ends[key][id] = l.now + time.Minute
		}
	}
	switch {
	case free, e.Shadow && l.fault != "an entry in shadow mode takes no slot":
	case e.Shadow:
		return func() {}, false, nil
	default:
		if l.fault == "a refused entry takes a slot" {
			l.take(key)
		}
		return nil, false, nil
	}
	id := l.take(key)
	if e.Shadow && !free {
		switch l.fault {
		case "an entry in shadow mode is free":
			free = true
		case "an entry in shadow mode cannot leave":
			return nil, false, nil
		}
	}
	return func() { l.leave(ctx, key, id) }, free, nil
}

// change returns the key and the number of slots of an entry, with the faults.
func (l *leased) change(e ratelimit.Entry) (key [2]string, most int) {
	key, most = [2]string{e.Rule, e.Key}, e.Max
	switch l.fault {
	case "one slot too many":
		most++
	case "one slot too few":
		most = max(most-1, 1)
	case "Max is cut to 32 bits":
		most = int(int32(most))
	case "rule and key run together":
		key = [2]string{"", e.Rule + ":" + e.Key}
	case "spaces at the end of a key are cut":
		key[1] = strings.TrimRight(e.Key, " ")
	case "a key is cut to 255 bytes":
		key[1] = e.Key[:min(len(e.Key), 255)]
	case "the first Max counts":
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.most[key] == 0 {
			l.most[key] = most
		}
		most = l.most[key]
	}
	return key, most
}

func (l *leased) count(key [2]string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(key)
	return len(l.ends[key])
}

func (l *leased) expire(key [2]string) {
	for id, end := range l.ends[key] {
		if end <= l.now && l.fault != "there is no lease" {
			delete(l.ends[key], id)
		}
	}
}

func (l *leased) take(key [2]string) (id int) {
	if l.ends[key] == nil {
		l.ends[key] = make(map[int]time.Duration)
	}
	lease := time.Minute
	if l.fault == "a lease is a thousand times too short" {
		lease /= 1000
	}
	l.last++
	l.ends[key][l.last] = l.now + lease
	return l.last
}

func (l *leased) leave(ctx context.Context, key [2]string, id int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.fault == "leave does nothing", l.fault == "leave needs the context" && ctx.Err() != nil:
	case l.fault == "leave frees any slot":
		for id := range l.ends[key] {
			delete(l.ends[key], id)
			return
		}
	default:
		delete(l.ends[key], id)
	}
}

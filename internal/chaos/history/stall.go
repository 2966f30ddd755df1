package history

import (
	"context"
	"time"
)

// Stall is the kind of a Period in which a process got no processor. Nothing was done to it: the
// machine was too busy. The checker must not take the effects for those of another fault.
const Stall = "stall"

const (
	tick         = 20 * time.Millisecond
	shortest     = 100 * time.Millisecond // of a stall: a part of the timeout of the store's calls
	longestStall = time.Second            // a longer one is a SIGSTOP, which has its own Period
)

// WatchStalls records the stalls of this process until ctx ends.
func WatchStalls(ctx context.Context, target string, record func(Event)) {
	for from := Now(); Sleep(ctx, tick); from = Now() {
		to := Now()
		if late := time.Duration(to-from) - tick; late > shortest && late < longestStall {
			record(Event{Period: &Period{Kind: Stall, Target: target, From: from, To: to}})
		}
	}
}

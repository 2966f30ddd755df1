package idempotent_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
)

// newMemory returns a store whose clock stands still until it is advanced.
func newMemory(o *idempotent.MemoryOptions) (*idempotent.Memory, func(time.Duration)) {
	m := idempotent.NewMemory(o)
	var now atomic.Int64
	m.SetNow(func() time.Duration { return time.Duration(now.Load()) })
	return m, func(d time.Duration) { now.Add(int64(d)) }
}

func TestMemoryKeepsTheRules(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*idempotent.MemoryOptions{
		"default":   nil,
		"one shard": {MaxEntries: 1000},
		"unbounded": {MaxEntries: -1, MaxBytes: -1, ScopeEntries: -1, ScopeBytes: -1},
		"evicting":  {Evict: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) { return newMemory(o) })
		})
	}
}

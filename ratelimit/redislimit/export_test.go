package redislimit

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// NewGoRedisRunner returns the Runner that New uses.
func NewGoRedisRunner(c redis.UniversalClient) Runner { return newGoRedis(c) }

// SetClock replaces the clock of this process, which measures the age of denials.
func (l *Limiter) SetClock(now func() time.Time) { l.now, l.batches.now = now, now }

// SlotOf is the hash slot of a key of a Redis Cluster.
func SlotOf(key string) uint16 { return slotOf(key) }

// Held returns how many slots this process holds, or may still hold.
func (s *Slots) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// StopTimer stops the timer of the slots, and reports whether it was running.
func (s *Slots) StopTimer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timer.Stop()
}

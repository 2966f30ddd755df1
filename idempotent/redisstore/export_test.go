package redisstore

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// NewGoRedisRunner returns the Runner that New uses.
func NewGoRedisRunner(c redis.UniversalClient) Runner { return newGoRedis(c) }

// SetPoll sets how often Wait looks at the record without a hint.
func (s *Store) SetPoll(d time.Duration) { s.poll = d }

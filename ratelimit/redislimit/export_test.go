package redislimit

import "github.com/redis/go-redis/v9"

// NewGoRedisRunner returns the Runner that New uses.
func NewGoRedisRunner(c redis.UniversalClient) Runner { return &goRedis{client: c} }

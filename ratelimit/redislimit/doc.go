// Package redislimit is a ratelimit.Limiter for many processes: its buckets are in Redis.
package redislimit

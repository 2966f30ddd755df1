// Package redisstore is an idempotent.Store for many processes: its records are in Redis.
package redisstore

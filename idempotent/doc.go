// Package idempotent makes writes safe to repeat: a request that comes with an Idempotency-Key runs once, and each repetition
// gets the recorded answer of the first.
package idempotent

package retry

import (
	"slices"
	"sync"
)

// A Report describes the call that was made with the context of [WithReport], whether it
// succeeded or failed. If several calls were made with the context, for example because
// of a redirect, it describes the last one. It is safe for concurrent use.
type Report struct {
	mu       sync.Mutex
	attempts []Attempt
	reason   Reason
	key      string
}

// Attempts returns the last 100 attempts of the call. It is empty until the call has
// ended.
func (r *Report) Attempts() []Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts)
}

// Reason returns why the call ended. It is empty until then.
func (r *Report) Reason() Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// IdempotencyKey returns the key of the last write that was made with the context,
// including writes of a Transport inside [Do]. It is empty if no write had a key, and
// until the call has ended.
func (r *Report) IdempotencyKey() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.key
}

func (r *Report) set(attempts []Attempt, reason Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts, r.reason = slices.Clone(attempts), reason
}

func (r *Report) setKey(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.key = key
}

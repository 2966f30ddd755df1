package retry

import (
	"slices"
	"sync"
)

// A Report describes the call that was made with the context of [WithReport], whether it
// succeeded or failed. After several calls, such as those of a redirect, it describes the
// last one. Its methods may be called at any time, by any number of goroutines.
type Report struct {
	mu       sync.Mutex
	attempts []Attempt
	reason   Reason
	key      string
}

// Attempts returns the call's attempts, of which it keeps the last 100. There are none
// until the call has ended.
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

// IdempotencyKey returns the key that was sent last, by a Transport in the function of
// [Do] too. It is empty if no key was sent.
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

package idempotent

import "sync"

// flights is the single flight of this process, before any store is asked. Of the calls with
// the same ID and fingerprint, one leads: it asks the store and runs. The others wait for its
// result. A call with another fingerprint does not wait, because the store reports a
// conflict.
type flights struct {
	perKey, perScope, total int // bounds of the waiting calls; 0 means none

	mu      sync.Mutex
	flying  map[flightKey]*flight
	scopes  map[ID]int // waiting calls by scope
	waiting int        // all waiting calls
}

type flightKey struct {
	id          ID
	fingerprint Fingerprint
}

// flight is what the calls with one key share.
type flight struct {
	key     flightKey
	waiting int
	done    chan struct{} // closed when the leader has its result
	result  result        // what the waiting calls are told; set before done is closed
}

// newFlights returns flights in which at most total calls wait, or any number if total is 0.
// One scope can have an eighth of the places, and one key a quarter of those.
func newFlights(total int) *flights {
	fs := &flights{total: total, flying: make(map[flightKey]*flight), scopes: make(map[ID]int)}
	if total > 0 {
		fs.perScope, fs.perKey = max(total/8, 1), max(total/32, 1)
	}
	return fs
}

// join returns the flight of a key. A caller that leads must land it, and any other caller
// waits for its result and must leave it. join returns nil if too many calls wait.
func (fs *flights) join(key flightKey, scope ID) (f *flight, leads bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f = fs.flying[key]; f == nil {
		f = &flight{key: key, done: make(chan struct{})}
		fs.flying[key] = f
		return f, true
	}
	if fs.perKey > 0 && f.waiting >= fs.perKey || !fs.take(scope) {
		return nil, false
	}
	f.waiting++
	return f, false
}

func (fs *flights) leave(f *flight, scope ID) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.waiting--
	fs.free(scope)
}

// land ends a flight and passes its result to the calls that wait.
func (fs *flights) land(f *flight, r result) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.flying, f.key)
	f.result = r
	close(f.done)
}

// takePlace takes a place for a leader that waits for another process. It reports false if
// there is none left.
func (fs *flights) takePlace(scope ID) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.take(scope)
}

// freePlace returns the place that takePlace took.
func (fs *flights) freePlace(scope ID) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.free(scope)
}

// take takes one of the places. The zero scope, which all callers share, is not bounded
// separately.
func (fs *flights) take(scope ID) bool {
	if fs.total > 0 && fs.waiting >= fs.total {
		return false
	}
	if scope != (ID{}) {
		if fs.perScope > 0 && fs.scopes[scope] >= fs.perScope {
			return false
		}
		fs.scopes[scope]++
	}
	fs.waiting++
	return true
}

func (fs *flights) free(scope ID) {
	fs.waiting--
	if scope == (ID{}) {
		return
	}
	if fs.scopes[scope]--; fs.scopes[scope] == 0 {
		delete(fs.scopes, scope)
	}
}

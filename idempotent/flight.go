package idempotent

import "sync"

// flights is the single flight within the process, in front of any store. Of the calls that are the
// same (one ID, one fingerprint) one leads: it asks the store and runs. The others wait for what it
// learns. Calls with another fingerprint are not held up: the store tells them that they conflict.
type flights struct {
	perKey, perScope, total int // bounds of those that wait; 0 is none

	mu      sync.Mutex
	flying  map[flightKey]*flight
	scopes  map[ID]int // how many wait, by scope
	waiting int        // how many wait
}

// setBounds divides the places of those that wait: one principal can use an eighth of them, and
// one key a quarter of that.
func (fs *flights) setBounds(total int) {
	if total > 0 {
		fs.total, fs.perScope, fs.perKey = total, max(total/8, 1), max(total/32, 1)
	}
}

type flightKey struct {
	id          ID
	fingerprint Fingerprint
}

// flight is what the duplicates of one call share.
type flight struct {
	key     flightKey
	waiting int
	done    chan struct{} // closed when it has landed; nil while nobody waits
	result  result        // what the leader has learned, as the others are told it
}

// join returns mine, if there is no flight of its key yet: the caller leads it, and must land
// it. Or it returns another one: the caller waits for done, and must leave. It returns nil if
// too many wait.
func (fs *flights) join(mine *flight, scope ID) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.flying[mine.key]
	if f == nil {
		fs.flying[mine.key] = mine
		return mine
	}
	if fs.perKey > 0 && f.waiting >= fs.perKey || !fs.take(scope) {
		return nil
	}
	f.waiting++
	if f.done == nil {
		f.done = make(chan struct{})
	}
	return f
}

func (fs *flights) leave(f *flight, scope ID) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.waiting--
	fs.free(scope)
}

// land ends a flight and tells those who wait.
func (fs *flights) land(f *flight, r result) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.flying, f.key)
	f.result = r
	if f.done != nil {
		close(f.done)
	}
}

// takePlace takes a place among those who wait, if there is one, for a leader that polls the
// store while another process runs.
func (fs *flights) takePlace(scope ID) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.take(scope)
}

// freePlace gives back what takePlace took.
func (fs *flights) freePlace(scope ID) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.free(scope)
}

// take takes a place among those who wait. The scope that all callers share has no bound.
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

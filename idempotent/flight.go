package idempotent

import "sync"

// flights is the single flight within the process, in front of any store: of the requests that are the same (one ID, one
// print) one asks the store and runs, and the others wait for what it learns. Requests with another print are not held up:
// the store tells them that they conflict.
type flights struct {
	perKey, total int // bounds of those that wait; 0 is none

	mu      sync.Mutex
	flying  map[flightKey]*flight
	waiting int
}

type flightKey struct {
	id    ID
	print Print
}

type flight struct {
	body    []byte // the leader's, nil if it is not in memory
	waiting int
	ended   bool     // for its leader alone
	landing *landing // nil while nobody waits
}

// landing is what the leader found or did, once done is closed. Besides what a store answers: Released when its handler
// failed, the zero State with err when the store did.
type landing struct {
	done    chan struct{}
	verdict Verdict
	err     error
}

// join returns the flight that the caller must wait for, and then leave; or mine, which the caller leads, and must end; or
// nil when too many are waiting.
func (fs *flights) join(key flightKey, mine *flight) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.flying[key]
	switch {
	case f == nil:
		fs.flying[key] = mine
		return mine
	case fs.perKey > 0 && f.waiting >= fs.perKey || fs.full():
		return nil
	case f.landing == nil:
		f.landing = &landing{done: make(chan struct{})}
	}
	f.waiting++
	fs.waiting++
	return f
}

func (fs *flights) leave(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.waiting--
	fs.waiting--
}

func (fs *flights) full() bool { return fs.total > 0 && fs.waiting >= fs.total }

// poll counts a leader among those who wait, when another process runs; it tells whether there was a place. After true,
// polled must be called.
func (fs *flights) poll() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.full() {
		return false
	}
	fs.waiting++
	return true
}

func (fs *flights) polled() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.waiting--
}

// end tells those who wait, once; later calls of the leader do nothing.
func (fs *flights) end(key flightKey, f *flight, v Verdict, err error) {
	if f.ended {
		return
	}
	f.ended = true
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.flying, key)
	if l := f.landing; l != nil {
		l.verdict, l.err = v, err
		close(l.done)
	}
}

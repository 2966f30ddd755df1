package idempotent

// queue holds entries in the order in which they came. The links are the entries' own, so that it allocates nothing.
type queue struct {
	links       int // which of an entry's links are this queue's
	first, last *entry
}

// The queues that an entry can be in.
const (
	ofAll = iota
	ofScope
	queues
)

// link is an entry's place in one queue.
type link struct{ prev, next *entry }

func (q *queue) push(e *entry) {
	e.links[q.links] = link{prev: q.last}
	if q.last == nil {
		q.first = e
	} else {
		q.last.links[q.links].next = e
	}
	q.last = e
}

// remove takes out an entry, which is in the queue.
func (q *queue) remove(e *entry) {
	l := &e.links[q.links]
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.links[q.links].next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.links[q.links].prev = l.prev
	}
	*l = link{}
}

package idempotent

// queue is a linked list of entries, oldest first. The links are in the entries, one for each
// kind of queue.
type queue struct{ first, last *entry }

// link is an entry's place in one queue.
type link struct{ prev, next *entry }

// The kinds of queues. An entry is in at most one queue of each kind.
const (
	ofShard = iota
	ofScope
	ofResponses
	queues
)

func (q *queue) push(e *entry, kind int) {
	e.links[kind] = link{prev: q.last}
	if q.last == nil {
		q.first = e
	} else {
		q.last.links[kind].next = e
	}
	q.last = e
}

// remove removes an entry that is in the queue.
func (q *queue) remove(e *entry, kind int) {
	l := &e.links[kind]
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.links[kind].next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.links[kind].prev = l.prev
	}
	*l = link{}
}

package idempotent

// queue holds entries in the order in which they came. The links are the entries' own, so that it allocates nothing.
type queue struct{ first, last *link }

// link is an entry's place in one queue.
type link struct {
	entry      *entry // nil while it is in none
	prev, next *link
}

func (q *queue) push(l *link, e *entry) {
	*l = link{entry: e, prev: q.last}
	if q.last == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

// remove takes a link out, if it is in the queue.
func (q *queue) remove(l *link) {
	if l.entry == nil {
		return
	}
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.prev = l.prev
	}
	*l = link{}
}

// oldest is the entry that came first of those that are left, nil for none.
func (q *queue) oldest() *entry {
	if q.first == nil {
		return nil
	}
	return q.first.entry
}

package retry

import (
	"container/heap"
	"math"
)

// defaultMaxGroups is the default for the largest number of entries in a table.
const defaultMaxGroups = 1024

// table is a map of limited size. When it is full, it forgets the entry that is worth
// least. If several are worth the same, it forgets the one that was used least recently.
// An entry of infinite worth is never forgotten. The zero value is an empty table. A
// table does not lock itself.
type table[K comparable, V any] struct {
	entries map[K]*entry[K, V]
	order   byWorth[K, V]
	uses    uint64
}

type entry[K comparable, V any] struct {
	key   K
	value V
	worth float64
	used  uint64 // when it was used last, in uses of the table
	at    int    // its index in order
}

// get returns the entry of key, or nil if there is none. It counts as a use of the entry.
func (t *table[K, V]) get(key K) *entry[K, V] {
	e := t.entries[key]
	if e != nil {
		t.setWorth(e, e.worth)
	}
	return e
}

// put adds an entry for a key that has none, and returns it. If there are most entries
// already, one is forgotten.
func (t *table[K, V]) put(key K, value V, worth float64, most int) *entry[K, V] {
	if t.entries == nil {
		t.entries = make(map[K]*entry[K, V])
	}
	if least := t.least(); len(t.entries) >= most && least != nil && !math.IsInf(least.worth, 1) {
		t.remove(least)
	}
	t.uses++
	e := &entry[K, V]{key: key, value: value, worth: worth, used: t.uses}
	t.entries[key] = e
	heap.Push(&t.order, e)
	return e
}

// setWorth sets what an entry is worth, which counts as a use.
func (t *table[K, V]) setWorth(e *entry[K, V], worth float64) {
	t.uses++
	e.worth, e.used = worth, t.uses
	heap.Fix(&t.order, e.at)
}

// least returns the entry that will be forgotten first, or nil.
func (t *table[K, V]) least() *entry[K, V] {
	if len(t.order) == 0 {
		return nil
	}
	return t.order[0]
}

func (t *table[K, V]) remove(e *entry[K, V]) {
	heap.Remove(&t.order, e.at)
	delete(t.entries, e.key)
}

// byWorth is a heap. Its root is the entry to forget first.
type byWorth[K comparable, V any] []*entry[K, V]

func (h byWorth[K, V]) Len() int { return len(h) }

func (h byWorth[K, V]) Less(i, j int) bool {
	if h[i].worth != h[j].worth {
		return h[i].worth < h[j].worth
	}
	return h[i].used < h[j].used
}

func (h byWorth[K, V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *byWorth[K, V]) Push(x any) {
	e := x.(*entry[K, V])
	e.at = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *byWorth[K, V]) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

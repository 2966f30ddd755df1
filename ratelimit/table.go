package ratelimit

import "golang.org/x/time/rate"

// bucketID identifies a bucket: two 64-bit hashes of rule and key, under two random seeds.
type bucketID [2]uint64

// entry is a bucket in a table. It takes 128 bytes.
type entry struct {
	id     bucketID
	limit  Limit  // the limit that the bucket has, with its Burst filled in; zero if the entry is free
	next   uint32 // the next slot of the chain, or of the free list; 0 at the end
	owes   uint32 // when the bucket is full by its earlier limits too, in seconds after shard.since
	bucket rate.Limiter
}

// perBlock is the number of entries in a block: as many as fit into 8 KiB, beside the 8
// bytes that the runtime puts before them.
const perBlock = 63

// table is a chained hash table of entries. The entries are in blocks and never move, so
// the table grows without copying. Slots are numbered from 1. Slot 0 means no slot.
type table struct {
	capacity uint32
	heads    []uint32 // the first slot of each chain
	blocks   []*[perBlock]entry
	used     uint32 // slots that were ever used, including those on the free list
	live     uint32 // slots that are in use
	free     uint32 // the first slot of the free list
}

func (t *table) at(slot uint32) *entry { return &t.blocks[(slot-1)/perBlock][(slot-1)%perBlock] }

// head returns the head of the chain that id belongs to.
func (t *table) head(id bucketID) *uint32 {
	return &t.heads[id[1]%uint64(len(t.heads))]
}

// find returns the slot and the entry of a bucket, or 0 and nil if there is none.
func (t *table) find(id bucketID) (uint32, *entry) {
	if t.heads == nil {
		return 0, nil
	}
	slot := *t.head(id)
	for slot != 0 {
		e := t.at(slot)
		if e.id == id {
			return slot, e
		}
		slot = e.next
	}
	return 0, nil
}

// full reports whether there is no room for another bucket.
func (t *table) full() bool { return t.live == t.capacity }

// add returns a new entry for a bucket that the table does not hold. The table must not
// be full.
func (t *table) add(id bucketID) *entry {
	if t.heads == nil {
		t.heads = make([]uint32, t.capacity)
	}
	slot := t.free
	if slot != 0 {
		t.free = t.at(slot).next
	} else {
		if t.used%perBlock == 0 {
			t.blocks = append(t.blocks, new([perBlock]entry))
		}
		t.used++
		slot = t.used
	}
	t.live++
	e, head := t.at(slot), t.head(id)
	*e = entry{id: id, next: *head}
	*head = slot
	return e
}

// remove takes an entry out of its chain and puts its slot on the free list.
func (t *table) remove(slot uint32) {
	e := t.at(slot)
	link := t.head(e.id)
	for *link != slot {
		link = &t.at(*link).next
	}
	*link = e.next
	*e = entry{next: t.free}
	t.free = slot
	t.live--
}

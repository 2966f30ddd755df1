package redislimit

import "time"

const maxLinks = 64 // of a Cluster

// links are the links to a server, or to the masters of a Cluster. On a Cluster, each has a
// range of hash slots, so that a master that is down affects only its own.
type links []*link

func newLinks(r Runner, timeout time.Duration, cluster bool) links {
	n := 1
	if cluster {
		n = maxLinks
	}
	l := make(links, n)
	for i := range l {
		l[i] = newLink(r, timeout)
	}
	return l
}

// of returns the link for a Redis key.
func (l links) of(key string) *link { return l.at(l.slot(key)) }

// slot returns the hash slot of a Redis key. If there is no Cluster, all keys have slot 0.
func (l links) slot(key string) uint16 {
	if len(l) == 1 {
		return 0
	}
	return slotOf(key)
}

func (l links) at(slot uint16) *link { return l[int(slot)*len(l)/slots] }

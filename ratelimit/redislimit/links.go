package redislimit

import "time"

const maxLinks = 64 // of a Cluster

// links are the links to a server, or to the masters of a Cluster. On a Cluster, each has a
// range of hash slots, so that a master that is down affects only its own.
type links []*link

func newLinks(r Runner, timeout, pause time.Duration, cluster bool) links {
	n := 1
	if cluster {
		n = maxLinks
	}
	l := make(links, n)
	for i := range l {
		l[i] = newLink(r, timeout, pause)
	}
	return l
}

// of returns the link for a Redis key.
func (l links) of(key string) *link {
	if len(l) == 1 {
		return l[0]
	}
	return l[int(slotOf(key))*len(l)/slots]
}

// tag returns what the keys of one call must have in common: on a Cluster, their hash tag. Keys
// with different tags may have the same slot, but on a Ring they can be on different servers.
func (l links) tag(key string) string {
	if len(l) == 1 {
		return ""
	}
	return tagOf(key)
}

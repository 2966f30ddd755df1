package redislimit

import "time"

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
func (l links) of(key string) *link {
	if len(l) == 1 {
		return l[0]
	}
	return l[int(slotOf(key))*len(l)/slots]
}

package retry

import (
	"container/list"
	"net"
	"net/url"
	"strings"
)

// host is what breakers, budgets and holds are kept by: an origin, in lower case and with its port spelled out.
type host struct{ scheme, name, port string }

func hostOf(u *url.URL) host {
	h := host{scheme: strings.ToLower(u.Scheme), name: strings.ToLower(u.Hostname()), port: u.Port()}
	if h.port == "" {
		switch h.scheme {
		case "http":
			h.port = "80"
		case "https":
			h.port = "443"
		}
	}
	return h
}

// clone copies the strings, which are parts of a whole URL: a table that kept them would keep its path and query too.
func (h host) clone() host {
	return host{strings.Clone(h.scheme), strings.Clone(h.name), strings.Clone(h.port)}
}

func (h host) String() string { return net.JoinHostPort(h.name, h.port) }

// defaultMaxHosts bounds each table of per-host state.
const defaultMaxHosts = 1024

// lru is a map that holds at most max entries and forgets the one that was used longest ago. The zero value is empty. It has
// no lock of its own.
type lru[K comparable, V any] struct {
	entries map[K]*list.Element
	order   list.List // of lruEntry[K, V], the most recently used first
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	e, ok := l.entries[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(lruEntry[K, V]).value, true
}

func (l *lru[K, V]) put(key K, value V, most int) {
	if e, ok := l.entries[key]; ok {
		e.Value = lruEntry[K, V]{key, value}
		l.order.MoveToFront(e)
		return
	}
	if l.entries == nil {
		l.entries = make(map[K]*list.Element)
	}
	l.entries[key] = l.order.PushFront(lruEntry[K, V]{key, value})
	for len(l.entries) > most {
		l.remove(l.order.Back().Value.(lruEntry[K, V]).key)
	}
}

func (l *lru[K, V]) remove(key K) {
	l.order.Remove(l.entries[key])
	delete(l.entries, key)
}

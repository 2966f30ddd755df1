package retry

import (
	"hash/maphash"
	"net/http"
	"sync"
	"time"
)

// holds are the times until which servers asked clients to wait, by group and
// credentials. A rate limit applies to one client, so other credentials are not held
// back. If there are too many holds, the one that ends first is forgotten.
type holds struct {
	mu    sync.Mutex
	seed  maphash.Seed
	until table[holder, time.Time]
}

type holder struct {
	group       string
	credentials uint64 // a hash; if two collide, both are held back
}

// hold holds back further requests like req until the given time.
func (h *holds) hold(group string, req *http.Request, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := h.key(group, req)
	e := h.until.get(key)
	switch {
	case e == nil:
		h.until.put(key, until, seconds(until), defaultMaxGroups)
	case until.After(e.value):
		e.value = until
		h.until.setWorth(e, seconds(until))
	}
}

// wait returns how long a request like req is held back. It forgets the holds that are over.
func (h *holds) wait(group string, req *http.Request, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.until.least(); e != nil && !e.value.After(now); e = h.until.least() {
		h.until.remove(e)
	}
	if h.until.least() == nil {
		return 0
	}
	e := h.until.get(h.key(group, req))
	if e == nil {
		return 0
	}
	return e.value.Sub(now)
}

func (h *holds) key(group string, req *http.Request) holder {
	if h.seed == (maphash.Seed{}) {
		h.seed = maphash.MakeSeed()
	}
	var sum maphash.Hash
	sum.SetSeed(h.seed)
	for _, name := range [...]string{"Authorization", "X-Api-Key"} {
		for _, v := range req.Header[name] {
			sum.WriteString(v)
			sum.WriteByte(0)
		}
		sum.WriteByte(1)
	}
	return holder{group, sum.Sum64()}
}

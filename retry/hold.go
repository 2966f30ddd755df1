package retry

import (
	"hash/maphash"
	"net/http"
	"sync"
	"time"
)

// holds remembers which hosts asked, with a Retry-After, to be left alone, and by whom: a rate limit is one caller's.
type holds struct {
	mu    sync.Mutex
	seed  maphash.Seed
	until lru[holder, time.Time]
}

type holder struct {
	host        host
	credentials uint64 // a hash; two that collide are held back together
}

// hold holds back further requests like req until then.
func (h *holds) hold(to host, req *http.Request, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := h.key(to, req)
	if old, _ := h.until.get(key); until.After(old) {
		h.until.put(holder{to.clone(), key.credentials}, until, defaultMaxHosts)
	}
}

// wait is how long a request like req is to be held back.
func (h *holds) wait(to host, req *http.Request, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, _ := h.until.get(h.key(to, req))
	return max(until.Sub(now), 0)
}

func (h *holds) key(to host, req *http.Request) holder {
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
	return holder{to, sum.Sum64()}
}

package limits

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

const patienceOfClients = 500 * time.Millisecond // for a response

// A call is a request as its client saw it.
type call struct {
	span // from sending it to the response

	id     int64
	arm    *arm
	key    string
	cost   int
	server int
	status int // 0 if there was no response
	how    string
	after  time.Duration // Retry-After
}

// A breach is a promise of Retry-After that was broken.
type breach struct{ denied, again call }

// clients send requests to all servers. All goroutines of a clients have ended when run returns.
type clients struct {
	http  *http.Client
	addrs []string
	ids   atomic.Int64
	waits atomic.Int64 // promises of Retry-After that were checked

	mu       sync.Mutex
	calls    []call
	breaches []breach
}

func newClients(servers []*process) *clients {
	c := &clients{http: &http.Client{
		Timeout:   patienceOfClients,
		Transport: &http.Transport{MaxIdleConnsPerHost: 200, DisableCompression: true},
	}}
	for _, p := range servers {
		c.addrs = append(c.addrs, p.addr)
	}
	return c
}

// run sends requests until ctx ends.
func (c *clients) run(ctx context.Context, seed uint64) {
	defer c.http.CloseIdleConnections()
	var wg sync.WaitGroup
	stream := uint64(0)
	for _, a := range arms() {
		for k := range a.keys {
			n := cmp.Or(a.clients, 3)
			if a.alone {
				n = 1
			}
			for range n {
				stream++
				r := rand.New(rand.NewPCG(seed, stream))
				wg.Go(func() {
					var calls []call
					if a.alone {
						calls = c.obey(ctx, r, a, k)
					} else {
						calls = c.hammer(ctx, r, a, k)
					}
					c.mu.Lock()
					defer c.mu.Unlock()
					c.calls = append(c.calls, calls...)
				})
			}
		}
	}
	wg.Wait()
}

// hammer sends bursts of requests, whatever is answered, with rests in which buckets fill.
func (c *clients) hammer(ctx context.Context, r *rand.Rand, a *arm, key int) (calls []call) {
	for ctx.Err() == nil {
		for until := time.Now().Add(between(r, 200*time.Millisecond, 1200*time.Millisecond)); time.Now().Before(until) && ctx.Err() == nil; {
			calls = append(calls, c.send(r, a, fmt.Sprint("k", key), 1+r.IntN(maxCost)))
			history.Sleep(ctx, time.Duration(r.ExpFloat64()*float64(30*time.Millisecond)))
		}
		history.Sleep(ctx, between(r, 0, 1500*time.Millisecond))
	}
	return calls
}

// obey sends requests to a bucket that no one else uses, and waits as it is told. The denied
// request must then be admitted. If it does not know whether a request was charged, it takes
// another bucket.
func (c *clients) obey(ctx context.Context, r *rand.Rand, a *arm, key int) (calls []call) {
	bucket := 0
	send := func(cost int) (sent call, ok bool) {
		sent = c.send(r, a, fmt.Sprintf("k%d.%d", key, bucket), cost)
		calls = append(calls, sent)
		if sent.status == 0 || sent.how != byStore {
			bucket++
			history.Sleep(ctx, 50*time.Millisecond)
			return sent, false
		}
		return sent, true
	}
	for ctx.Err() == nil {
		cost := 1 + r.IntN(aloneLimit.Burst)
		denied, ok := send(cost)
		if !ok || denied.status != http.StatusTooManyRequests {
			history.Sleep(ctx, 10*time.Millisecond)
			continue
		}
		history.Sleep(ctx, denied.after)
		if ctx.Err() != nil {
			return calls
		}
		again, ok := send(cost)
		if !ok {
			continue
		}
		c.waits.Add(1)
		if again.status != http.StatusOK {
			c.mu.Lock()
			c.breaches = append(c.breaches, breach{denied, again})
			c.mu.Unlock()
		}
	}
	return calls
}

// send sends a request to one of the servers. It is not interrupted at the end of the run.
func (c *clients) send(r *rand.Rand, a *arm, key string, cost int) call {
	sent := call{id: c.ids.Add(1), arm: a, key: key, cost: cost, server: r.IntN(len(c.addrs))}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+c.addrs[sent.server]+"/"+a.name, http.NoBody)
	if err != nil {
		panic(err)
	}
	req.Header.Set(headerID, strconv.FormatInt(sent.id, 10))
	req.Header.Set(headerKey, key)
	req.Header.Set(headerCost, strconv.Itoa(cost))
	sent.from = history.Now()
	resp, err := c.http.Do(req)
	if err == nil {
		sent.status, sent.how = resp.StatusCode, resp.Header.Get(headerHow)
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		sent.after = time.Duration(seconds) * time.Second
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	sent.to = history.Now()
	return sent
}

package storm

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const processes = 10

// Second counts the calls that were made in one second of a run, those of them that
// succeeded, and the attempts that arrived at the server in that second.
type Second struct {
	Calls, Attempts, Succeeded int
}

// Run makes calls at random times for the given number of seconds. On average, there are
// rate calls a second. They are spread over the processes of the client. Run returns when
// the last call has ended. Call it in a synctest bubble.
func Run(ctx context.Context, c Client, s *Server, seed uint64, rate float64, seconds int) []Second {
	var (
		transports [processes]http.RoundTripper
		rng        = rand.New(rand.NewPCG(seed, 3))
		result     = make([]Second, seconds)
		start      = time.Now()
		mu         sync.Mutex
		calls      sync.WaitGroup
	)
	for i := range transports {
		transports[i] = c.New(s)
	}
	calls.Go(func() { // the server's own count, second by second
		before := 0
		for i := range result {
			time.Sleep(time.Until(start.Add(time.Duration(i+1)*time.Second - 1)))
			now := s.Attempts()
			mu.Lock()
			result[i].Attempts = now - before
			mu.Unlock()
			before = now
		}
	})
	for {
		time.Sleep(time.Duration(rng.ExpFloat64() / rate * float64(time.Second)))
		at := int(time.Since(start) / time.Second)
		if at >= seconds {
			break
		}
		transport := transports[rng.IntN(processes)]
		calls.Go(func() {
			succeeded := call(ctx, transport)
			mu.Lock()
			defer mu.Unlock()
			result[at].Calls++
			if succeeded {
				result[at].Succeeded++
			}
		})
	}
	calls.Wait()
	return result
}

func call(ctx context.Context, transport http.RoundTripper) (succeeded bool) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://server.example/", nil)
	if err != nil {
		panic(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Sum returns the sum of the seconds.
func Sum(seconds []Second) (total Second) {
	for _, s := range seconds {
		total.Calls += s.Calls
		total.Attempts += s.Attempts
		total.Succeeded += s.Succeeded
	}
	return total
}

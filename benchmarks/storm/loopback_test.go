package storm

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// TestBrownOutOnLoopback is the five-second case of TestBrownOut, with a real server,
// real clients and real time. Its limits are generous, since the machine may be busy.
func TestBrownOutOnLoopback(t *testing.T) { //nolint:paralleltest // the simulations take all processors
	const healthy, slow, after = 4 * time.Second, 5 * time.Second, 6 * time.Second
	// It takes a second to fill the queue, a second until the first attempt times out,
	// and a second to recognize the brown-out.
	const opensWithin, closesWithin = 3 * time.Second, 2500 * time.Millisecond
	clients := map[string]func(observe func(retry.Event)) http.RoundTripper{
		"no retries": func(func(retry.Event)) http.RoundTripper { return timingOut{newBase()} },
		"go-retryablehttp": func(func(retry.Event)) http.RoundTripper {
			c := retryablehttp.NewClient()
			c.HTTPClient = &http.Client{Transport: newBase(), Timeout: time.Second}
			c.Logger = nil
			return &retryablehttp.RoundTripper{Client: c}
		},
		"seawall": func(observe func(retry.Event)) http.RoundTripper {
			return &retry.Transport{
				Base:    newBase(),
				Policy:  &retry.Policy{AttemptTimeout: time.Second},
				Logger:  slog.New(slog.DiscardHandler),
				Observe: func(_ context.Context, e retry.Event) { observe(e) },
			}
		},
	}
	var (
		mu              sync.Mutex
		results         = make(map[string]loopbackRun)
		opened, closed  time.Time // when seawall's circuit first opened and last closed
		arms            sync.WaitGroup
		start           = time.Now()
		began, is, ends = start.Add(healthy), start.Add(healthy + slow), start.Add(healthy + slow + after)
	)
	for name, newClient := range clients {
		arms.Go(func() {
			r := loopback(t.Context(), newClient(func(e retry.Event) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case e.To == retry.StateOpen && opened.IsZero():
					opened = time.Now()
				case e.To == retry.StateClosed:
					closed = time.Now()
				}
			}), began, is, ends)
			mu.Lock()
			defer mu.Unlock()
			results[name] = r
		})
	}
	arms.Wait()
	load := func(r loopbackRun) float64 {
		return float64(r.slowAttempts) / float64(max(r.slowCalls, 1))
	}
	for name, r := range results {
		t.Logf("%-16s  %d of %d calls good, load %.2f", name, r.good, r.calls, load(r))
	}
	t.Logf("seawall opened %v after the brown-out began, and closed %v after it ended",
		opened.Sub(began), closed.Sub(is))
	ours, plain := results["seawall"], results["no retries"]
	require.False(t, opened.IsZero())
	require.Less(t, opened.Sub(began), opensWithin)
	require.Less(t, closed.Sub(is), closesWithin)
	require.LessOrEqual(t, load(ours), 1.1)
	require.GreaterOrEqual(t, float64(ours.good), 0.95*float64(plain.good))
}

type loopbackRun struct{ calls, good, slowCalls, slowAttempts int }

// loopback makes 350 calls a second, whether or not earlier ones have ended, until the
// time ends. The server is slow from the time began to the time over.
func loopback(
	ctx context.Context, client http.RoundTripper, began, over, ends time.Time,
) (r loopbackRun) {
	const rate = 350
	ctx, cancel := context.WithDeadline(ctx, ends.Add(time.Second)) // time for the last answers
	defer cancel()
	isSlow := func() bool { now := time.Now(); return now.After(began) && now.Before(over) }
	var slowAttempts, good atomic.Int64
	jobs := make(chan chan struct{}, 600)
	var workers sync.WaitGroup
	for range 5 {
		workers.Go(func() {
			for done := range jobs { // also for clients that have gone
				if isSlow() {
					time.Sleep(100 * time.Millisecond)
				} else {
					time.Sleep(10 * time.Millisecond)
				}
				close(done)
			}
		})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if isSlow() {
			slowAttempts.Add(1)
		}
		done := make(chan struct{})
		select {
		case jobs <- done:
			<-done
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	var calls sync.WaitGroup
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for now := range tick.C {
		if now.After(ends) {
			break
		}
		r.calls++
		if isSlow() {
			r.slowCalls++
		}
		calls.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
			if err != nil {
				return
			}
			resp, err := client.RoundTrip(req)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			if err == nil && resp.StatusCode == http.StatusOK {
				good.Add(1)
			}
		})
	}
	calls.Wait()
	if c, ok := client.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	server.Close()
	close(jobs)
	workers.Wait()
	r.good, r.slowAttempts = int(good.Load()), int(slowAttempts.Load())
	return r
}

// newBase returns a transport that keeps as many connections as are in use.
func newBase() *http.Transport {
	const connections = 2000
	return &http.Transport{
		MaxIdleConns:        connections,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     5 * time.Second,
	}
}

// timingOut ends every call after a second.
type timingOut struct{ *http.Transport }

func (t timingOut) RoundTrip(r *http.Request) (*http.Response, error) {
	c := http.Client{Transport: t.Transport, Timeout: time.Second}
	return c.Do(r)
}

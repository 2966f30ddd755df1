package brownout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/retry"
)

// A report is what a client process prints at its end. All times are on the clock of history.Now.
type report struct {
	Calls    []call
	Attempts []int64 // when they were made
	Circuit  []change
}

// A call is one call of a client.
type call struct {
	Planned, At int64
	End         int64 // when it ended; 0 if it had not ended when the scenario ended
	Good        bool
}

// A change is a change of the process's circuit.
type change struct {
	At   int64
	Open bool // otherwise it was closed
}

// A recorder makes the report of a process.
type recorder struct {
	base http.RoundTripper

	mu     sync.Mutex
	report report
}

// RoundTrip makes an attempt.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	now := history.Now()
	r.mu.Lock()
	r.report.Attempts = append(r.report.Attempts, now)
	r.mu.Unlock()
	return r.base.RoundTrip(req)
}

// observe records the changes of a circuit.
func (r *recorder) observe(_ context.Context, e retry.Event) {
	if e.Kind != retry.KindCircuit || e.To == retry.StateHalfOpen {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Circuit = append(r.report.Circuit, change{history.Now(), e.To == retry.StateOpen})
}

// arm returns the client of an arm, with its defaults and without a log.
func (r *recorder) arm(name string) (*http.Client, error) {
	switch name {
	case NoRetries:
		return &http.Client{Transport: r}, nil
	case Retryable:
		c := retryablehttp.NewClient()
		c.HTTPClient = &http.Client{Transport: r}
		c.Logger = nil
		return c.StandardClient(), nil
	case Failsafe:
		policy := failsafehttp.NewRetryPolicyBuilder().Build() //nolint:bodyclose // it has no body
		return &http.Client{Transport: failsafehttp.NewRoundTripper(r, policy)}, nil
	case Seawall:
		return &http.Client{Transport: &retry.Transport{
			Base: r, Logger: slog.New(slog.DiscardHandler), Observe: r.observe,
		}}, nil
	}
	return nil, fmt.Errorf("no arm %q", name)
}

// newBase returns a transport that keeps as many connections as are in use.
func newBase() http.RoundTripper {
	const connections = 2000
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: patience}).DialContext,
		ResponseHeaderTimeout: patience,
		MaxIdleConns:          connections,
		MaxIdleConnsPerHost:   connections,
	}
}

// client makes the calls of one process, and prints the report.
func (c config) client() error {
	r := &recorder{base: newBase()}
	client, err := r.arm(c.Arm)
	if err != nil {
		return err
	}
	p, err := awaitPlan()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(p.End-history.Now()))
	defer cancel()
	url := "http://" + c.Addr + "/"
	var work sync.WaitGroup
	for i := range clients {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(c.Seed, uint64(i)))
			const mean = float64(time.Second) * processes * clients / rate
			next := p.Start
			for {
				next += int64(rng.ExpFloat64() * mean)
				if next >= p.End {
					return
				}
				sleepUntil(next)
				planned := next
				work.Go(func() { r.call(ctx, client, url, planned) })
			}
		})
	}
	work.Wait()
	return json.NewEncoder(os.Stdout).Encode(r.report)
}

// call makes a call.
func (r *recorder) call(ctx context.Context, client *http.Client, url string, planned int64) {
	c := call{Planned: planned, At: history.Now()}
	c.Good = get(ctx, client, url)
	if ctx.Err() == nil {
		c.End = history.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Calls = append(r.report.Calls, c)
}

// get reports whether there was a good answer.
func get(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

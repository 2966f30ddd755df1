package storm

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

var write = flag.Bool("write", false, "write the plots into docs")

const seed = 2026

// TestStorm checks the load that clients cause, in two experiments. Their plots are in
// one file.
func TestStorm(t *testing.T) {
	t.Parallel()
	load, recovery := loadPanel(t), recoveryPanel(t)
	if *write {
		plot := []byte(svg(load, recovery))
		require.NoError(t, os.WriteFile("../../docs/retry-storm.svg", plot, 0o644))
	}
}

// loadPanel makes 100 calls a second for a minute to a server that refuses a part of all
// requests.
func loadPanel(t *testing.T) panel {
	const seconds, rate = 60, 100
	p := panel{
		title:  "Load against failure rate",
		yLabel: "requests per call", xLabel: "fraction of requests that fail",
		xMax: 1, yMax: 5, xStep: 0.2, yStep: 1,
	}
	var table strings.Builder
	table.WriteString("failure rate        ")
	for tenth := 0; tenth <= 10; tenth++ {
		fmt.Fprintf(&table, "        %.1f", float64(tenth)/10)
	}
	for _, c := range Clients() {
		l := line{name: c.Name}
		fmt.Fprintf(&table, "\n%-20s", c.Name)
		for tenth := 0; tenth <= 10; tenth++ {
			synctest.Test(t, func(t *testing.T) {
				s := NewServer(seed, 5, 20*time.Millisecond, 2*time.Second)
				s.FailureRate = float64(tenth) / 10
				start := time.Now()

				sum := Sum(Run(t.Context(), c, s, seed, rate, seconds))

				load := float64(s.Attempts()) / float64(sum.Calls)
				l.points = append(l.points, [2]float64{s.FailureRate, load})
				fmt.Fprintf(&table, " %4.2f/%3.0f%%", load, 100*float64(sum.Succeeded)/float64(sum.Calls))
				checkLoad(t, c.Name, s, sum, time.Since(start))
			})
		}
		p.lines = append(p.lines, l)
	}
	t.Logf("requests per call / calls that succeeded\n%s", table.String())
	return p
}

func checkLoad(t *testing.T, name string, s *Server, sum Second, took time.Duration) {
	retries := float64(s.Attempts() - sum.Calls)
	all := s.FailureRate == 1
	switch name {
	case "no retries":
		require.Zero(t, retries)
	case "naive":
		if all {
			require.Equal(t, 4*sum.Calls, s.Attempts())
		}
	case "go-retryablehttp":
		if all {
			require.Equal(t, 5*sum.Calls, s.Attempts())
		}
	case "failsafe-go":
		if all {
			require.Equal(t, 3*sum.Calls, s.Attempts())
		}
	default:
		bound := processes*(10+0.1*took.Seconds()) + 0.1*float64(sum.Succeeded)
		require.LessOrEqual(t, retries, bound, "%s at %.1f", name, s.FailureRate)
		if s.FailureRate <= 0.1 {
			require.Greater(t, float64(sum.Succeeded), 0.99*float64(sum.Calls),
				"%s recovers almost all calls", name)
		}
	}
}

// recoveryPanel uses a server that is busy for 80% of the time, and makes it ten times as
// slow for ten seconds.
func recoveryPanel(t *testing.T) panel {
	const seconds, rate, from, lasts = 120, 200, 20, 10
	p := panel{
		title:  "A brown-out of 10 s at 80% utilization",
		yLabel: "% of calls that succeed", xLabel: "seconds",
		xMax: 90, yMax: 100, xStep: 10, yStep: 20, shade: [2]float64{from, from + lasts},
	}
	recovered := make(map[string]int)
	for _, c := range Clients() {
		l := line{name: c.Name}
		synctest.Test(t, func(t *testing.T) {
			s := NewServer(seed, 5, 20*time.Millisecond, 2*time.Second)
			s.Slow.From = time.Now().Add(from * time.Second)
			s.Slow.For, s.Slow.Factor = lasts*time.Second, 10

			result := Run(t.Context(), c, s, seed, rate, seconds)

			for i, second := range result[:int(p.xMax)] {
				percent := 100 * float64(second.Succeeded) / float64(second.Calls)
				l.points = append(l.points, [2]float64{float64(i), percent})
			}
			recovered[c.Name] = recovery(result, from+lasts)
			peak := 0
			for _, second := range result[from:] {
				peak = max(peak, second.Attempts)
			}
			sum := Sum(result)
			t.Logf("%-20s recovers after %4s, at most %4d requests a second, %2.0f%% succeed", c.Name,
				inWords(recovered[c.Name]), peak, 100*float64(sum.Succeeded)/float64(sum.Calls))
		})
		p.lines = append(p.lines, l)
	}
	require.NotEqual(t, never, recovered["no retries"])
	require.Equal(t, never, recovered["naive"])
	require.LessOrEqual(t, recovered["seawall"], recovered["no retries"])
	require.LessOrEqual(t, recovered["seawall, no breaker"], recovered["no retries"]+1)
	return p
}

const never = -1

func inWords(n int) string {
	if n == never {
		return "never"
	}
	return fmt.Sprintf("%d s", n)
}

// recovery returns the number of seconds from end to the first ten seconds in which 99%
// of all calls succeed.
func recovery(result []Second, end int) int {
	const steady = 10
	for i := end; i+steady <= len(result); i++ {
		if sum := Sum(result[i : i+steady]); float64(sum.Succeeded) >= 0.99*float64(sum.Calls) {
			return i - end
		}
	}
	return never
}

// TestContention starts 100 clients at one instant. The server can serve one of them at a
// time, for 10 ms, and refuses the others with 503.
func TestContention(t *testing.T) {
	t.Parallel()
	type outcome struct {
		attempts int
		took     time.Duration
	}
	contend := func(client func(base http.RoundTripper) http.RoundTripper) (o outcome) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			taken := false
			base := baseFunc(func(*http.Request) (*http.Response, error) {
				mu.Lock()
				o.attempts++
				had := taken
				taken = true
				mu.Unlock()
				if had {
					return response(http.StatusServiceUnavailable), nil
				}
				time.Sleep(10 * time.Millisecond)
				mu.Lock()
				taken = false
				mu.Unlock()
				return response(http.StatusOK), nil
			})
			tr := client(base)
			start := time.Now()
			var clients sync.WaitGroup
			for range 100 {
				clients.Go(func() { require.True(t, call(context.Background(), tr)) })
			}
			clients.Wait()
			o.took = time.Since(start)
		})
		return o
	}

	with := contend(func(base http.RoundTripper) http.RoundTripper {
		return &retry.Transport{
			Base: base, Logger: slog.New(slog.DiscardHandler), Breaker: &retry.Breaker{FailureRatio: -1},
			Policy: &retry.Policy{MaxAttempts: -1, Budget: &retry.Budget{Tokens: -1}},
		}
	})
	without := contend(func(base http.RoundTripper) http.RoundTripper { return inStep{base} })

	t.Logf("with full jitter:    %5d requests, %8.1f s", with.attempts, with.took.Seconds())
	t.Logf("without any jitter:  %5d requests, %8.1f s", without.attempts, without.took.Seconds())
	require.Less(t, 4*with.attempts, without.attempts)
	require.Less(t, 10*with.took, without.took)
}

// inStep retries a 503 with the waits of retry.Policy, but without jitter.
type inStep struct{ base http.RoundTripper }

func (s inStep) RoundTrip(r *http.Request) (*http.Response, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		resp, err := s.base.RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			return resp, err
		}
		resp.Body.Close()
		time.Sleep(wait)
	}
}

type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
}

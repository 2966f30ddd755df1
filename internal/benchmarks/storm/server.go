package storm

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Server is the model of a server, as a base transport.
type Server struct {
	Workers     int
	Service     time.Duration // mean of the exponential distribution
	MaxWait     time.Duration // of the queue
	FailureRate float64

	// From Slow.From on, for Slow.For, service takes Slow.Factor times as long.
	Slow struct {
		From   time.Time
		For    time.Duration
		Factor float64
	}

	mu       sync.Mutex
	rng      *rand.Rand
	free     []time.Time // when each worker is
	attempts int
}

// attemptTimeout is how long a client waits for an answer.
const attemptTimeout = 500 * time.Millisecond

// NewServer seeds a model.
func NewServer(seed uint64, workers int, service, maxWait time.Duration) *Server {
	return &Server{
		Workers: workers, Service: service, MaxWait: maxWait,
		rng: rand.New(rand.NewPCG(seed, 1)), free: make([]time.Time, workers),
	}
}

// Attempts is how many requests have arrived.
func (s *Server) Attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts
}

// RoundTrip waits for the model's answer.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	status, takes := s.serve(time.Now())
	if takes > attemptTimeout {
		time.Sleep(attemptTimeout)
		return nil, errTimeout{}
	}
	time.Sleep(takes)
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r,
	}, nil
}

// serve queues a request. First in, first out, so its end is known when it arrives.
func (s *Server) serve(now time.Time) (status int, takes time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts++
	if s.rng.Float64() < s.FailureRate {
		return http.StatusServiceUnavailable, time.Millisecond
	}
	first := 0
	for i := range s.free {
		if s.free[i].Before(s.free[first]) {
			first = i
		}
	}
	start := s.free[first]
	if start.Before(now) {
		start = now
	}
	if start.Sub(now) > s.MaxWait {
		return http.StatusServiceUnavailable, time.Millisecond
	}
	mean := float64(s.Service)
	if !start.Before(s.Slow.From) && start.Before(s.Slow.From.Add(s.Slow.For)) {
		mean *= s.Slow.Factor
	}
	s.free[first] = start.Add(time.Duration(s.rng.ExpFloat64() * mean))
	return http.StatusOK, s.free[first].Sub(now)
}

type errTimeout struct{}

func (errTimeout) Error() string   { return "no answer within " + attemptTimeout.String() }
func (errTimeout) Timeout() bool   { return true }
func (errTimeout) Temporary() bool { return true }

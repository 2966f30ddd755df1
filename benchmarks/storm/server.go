package storm

import (
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is the model of a server. It is a base transport for clients.
type Server struct {
	Workers     int
	Service     time.Duration // mean of the exponential distribution
	MaxWait     time.Duration // the longest wait in the queue
	MaxQueue    int           // if 0, only MaxWait bounds the queue
	Timeout     time.Duration // how long a client waits for an answer
	FailureRate float64
	FailsFrom   time.Time // when FailureRate begins

	// Slow is a period in which service takes Factor times as long.
	Slow struct {
		From   time.Time
		For    time.Duration
		Factor float64
	}

	// Down is a period without answers. Connections are refused or, if Hangs is true,
	// accepted but not answered.
	Down struct {
		From  time.Time
		For   time.Duration
		Hangs bool
	}

	mu       sync.Mutex
	rng      *rand.Rand
	free     []time.Time // when each worker is free
	queue    []time.Time // when the service of each waiting request begins
	attempts []time.Time // when each attempt arrived
}

// NewServer returns a model whose random numbers come from the seed.
func NewServer(seed uint64, workers int, service, maxWait time.Duration) *Server {
	return &Server{
		Workers: workers, Service: service, MaxWait: maxWait, Timeout: 500 * time.Millisecond,
		rng: rand.New(rand.NewPCG(seed, 1)), free: make([]time.Time, workers),
	}
}

// Attempts returns how many requests have arrived.
func (s *Server) Attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attempts)
}

// Arrivals returns when each request arrived.
func (s *Server) Arrivals() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attempts)
}

// Takes returns how long a request that arrived now would wait for a worker.
func (s *Server) Takes() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isIn(time.Now(), s.Down.From, s.Down.For) {
		return s.Timeout
	}
	return max(time.Until(s.free[s.first()]), 0)
}

func isIn(t, from time.Time, lasts time.Duration) bool {
	return !t.Before(from) && t.Before(from.Add(lasts))
}

// RoundTrip returns the model's answer, after the time that it takes.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	status, takes := s.serve(time.Now())
	if takes > s.Timeout {
		time.Sleep(s.Timeout)
		return nil, errTimeout{}
	}
	time.Sleep(takes)
	if status == 0 {
		return nil, syscall.ECONNREFUSED
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r,
	}, nil
}

// serve queues a request. The queue is first in, first out, so the time of the answer is
// known when the request arrives.
func (s *Server) serve(now time.Time) (status int, takes time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, now)
	if isIn(now, s.Down.From, s.Down.For) {
		if s.Down.Hangs {
			return 0, 2 * s.Timeout
		}
		return 0, time.Millisecond
	}
	if !now.Before(s.FailsFrom) && s.rng.Float64() < s.FailureRate {
		return http.StatusServiceUnavailable, time.Millisecond
	}
	first := s.first()
	start := s.free[first]
	if start.Before(now) {
		start = now
	}
	for len(s.queue) > 0 && !s.queue[0].After(now) {
		s.queue = s.queue[1:]
	}
	if start.Sub(now) > s.MaxWait || s.MaxQueue > 0 && len(s.queue) >= s.MaxQueue {
		return http.StatusServiceUnavailable, time.Millisecond
	}
	s.queue = append(s.queue, start)
	mean := float64(s.Service)
	if isIn(start, s.Slow.From, s.Slow.For) {
		mean *= s.Slow.Factor
	}
	s.free[first] = start.Add(time.Duration(s.rng.ExpFloat64() * mean))
	return http.StatusOK, s.free[first].Sub(now)
}

// first returns the index of the worker that is free first.
func (s *Server) first() int {
	first := 0
	for i := range s.free {
		if s.free[i].Before(s.free[first]) {
			first = i
		}
	}
	return first
}

type errTimeout struct{}

func (errTimeout) Error() string   { return "no answer in time" }
func (errTimeout) Timeout() bool   { return true }
func (errTimeout) Temporary() bool { return true }

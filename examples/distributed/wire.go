package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // an error response, or that there was no response
}

// server returns the name of the process that has answered.
func (a answer) server() string { return a.header.Get("Served-By") }

func (a answer) replayed() bool { return a.header.Get("Idempotent-Replayed") == "true" }

// client sends requests to one URL of a service.
type client struct {
	http *http.Client
	url  string
}

// send sends a request. An empty idempotencyKey is not sent.
func (c client) send(ctx context.Context, method, apiKey, idempotencyKey, body string) answer {
	req, err := http.NewRequestWithContext(ctx, method, c.url, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	if idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", idempotencyKey)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, err: apierror.Parse(resp)}
	if a.err == nil {
		a.body, a.err = io.ReadAll(resp.Body)
	}
	return a
}

// balancer sends requests to the processes in turn, as a load balancer does.
type balancer struct {
	transport *http.Transport
	loseNext  atomic.Bool  // lose the next reply
	lost      atomic.Value // its body, a []byte

	mu      sync.Mutex
	servers []*process // those that were killed too
	turn    int        // how many turns there were
}

// RoundTrip implements [http.RoundTripper].
func (b *balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	p := b.next()
	if p == nil {
		return nil, errors.New("no server is left")
	}
	req = req.Clone(req.Context())
	req.URL.Host = p.addr
	resp, err := b.transport.RoundTrip(req)
	if err != nil || !b.loseNext.CompareAndSwap(true, false) {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	b.lost.Store(body)
	return nil, cmp.Or(err, errors.New("the connection broke before the reply arrived"))
}

// next returns the process whose turn it is. A process that was killed has no turn.
func (b *balancer) next() *process {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.servers {
		p := b.servers[b.turn%len(b.servers)]
		b.turn++
		if !p.killed.Load() {
			return p
		}
	}
	return nil
}

// add adds a process.
func (b *balancer) add(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers = append(b.servers, p)
}

// startWith makes the next request go to p.
func (b *balancer) startWith(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn = slices.Index(b.servers, p)
}

// bank is another service, which charges cards. It runs in the process of the session.
type bank struct {
	url     string
	server  *http.Server
	charges atomic.Int64
	hold    atomic.Value  // the path whose next request gets no answer, a string
	held    chan struct{} // gets a value when a request is held
}

func newBank() (*bank, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &bank{url: "http://" + l.Addr().String(), held: make(chan struct{}, 1)}
	b.server = &http.Server{Handler: b, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = b.server.Serve(l) }()
	return b, nil
}

// ServeHTTP implements [http.Handler].
func (b *bank) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/charge" {
		b.charges.Add(1)
	}
	if b.hold.CompareAndSwap(r.URL.Path, "") {
		_, _ = io.Copy(io.Discard, r.Body) // net/http then notices that the client has gone
		b.held <- struct{}{}
		<-r.Context().Done()
	}
}

// equal reports whether two bodies have the same bytes.
func equal(a, b []byte) bool { return len(a) > 0 && bytes.Equal(a, b) }

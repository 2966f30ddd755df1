package pgtest

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/relay"
)

// A Proxy stands between clients and a server, and causes faults on the way. It understands the
// protocol without encryption. Its methods are safe for concurrent use.
//
// A client can send a COMMIT in a simple query, alone or with other statements, or as the Execute
// of a prepared statement, also in a pipeline. A statement without a transaction has no COMMIT.
type Proxy struct {
	*relay.Relay

	mu     sync.Mutex
	silent bool // swallow what clients send
	next   *fault
	held   int // COMMITs that DelayCommit has not passed on, or whose answer has not come
	counts Counts
}

// Counts is what the server has answered through a proxy. Failed statements do not count.
type Counts struct {
	RoundTrips int // each simple query is one, and each Sync; new connections do not count
	Statements int // all, including the ones below
	Begins     int
	Commits    int
}

// A fault happens at the next COMMIT of a transaction that contains the text.
type fault struct {
	kind  faultKind
	text  string
	delay time.Duration
	done  chan struct{}
}

type faultKind int

const (
	dropReply faultKind = iota
	lose
	delay
)

// NewProxy returns a proxy for the server at an address, until the test ends.
func NewProxy(tb testing.TB, server string) *Proxy {
	tb.Helper()
	p := &Proxy{}
	p.Relay = relay.Start(tb, server, func(_ context.Context, client, server net.Conn) {
		newSession(p, client, server).run()
	})
	return p
}

// URL returns the URL of a database behind the proxy. If the name is empty, the database is
// postgres.
func (p *Proxy) URL(database string) string { return url(p.Addr, database) }

// DropCommitReply makes the proxy drop the server's reply to a COMMIT, and all that follows. The
// server has then committed. The client sees its connection close, and the channel is closed.
//
// This happens once: at the next COMMIT that succeeds and whose transaction has a statement with
// the text. Case does not matter. If the text is empty, any transaction counts. A proxy waits for
// one such fault at a time: DropCommitReply, LoseCommit and DelayCommit replace an earlier one.
func (p *Proxy) DropCommitReply(text string) (dropped <-chan struct{}) {
	return p.arm(fault{kind: dropReply, text: text})
}

// LoseCommit makes the proxy close the connections of the client and of the server instead of
// passing on a COMMIT, or anything that follows. The server never commits. The channel is closed
// then. The text selects the COMMIT as in DropCommitReply, but it need not succeed.
func (p *Proxy) LoseCommit(text string) (lost <-chan struct{}) {
	return p.arm(fault{kind: lose, text: text})
}

// DelayCommit makes the proxy close the client's connection when a COMMIT arrives, and pass on the
// COMMIT after d. The connection to the server stays open until then. The channel is closed when
// the server has answered, or has closed the connection. The text selects the COMMIT as in
// LoseCommit.
func (p *Proxy) DelayCommit(text string, d time.Duration) (answered <-chan struct{}) {
	return p.arm(fault{kind: delay, text: text, delay: d})
}

func (p *Proxy) arm(f fault) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.text, f.done = strings.ToLower(f.text), make(chan struct{})
	p.next = &f
	return f.done
}

// Disarm ends the wait for a COMMIT. A fault that has begun goes on.
func (p *Proxy) Disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = nil
}

// SetSilent swallows all that clients send, as a server would that accepts connections and never
// answers.
func (p *Proxy) SetSilent(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = silent
}

// Counts returns what the server has answered until now. A reply that a client has received counts.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

func (p *Proxy) count(add func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add(&p.counts)
}

// hold adds n COMMITs to those that are held back.
func (p *Proxy) hold(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held += n
}

func (p *Proxy) isHolding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held > 0
}

func (p *Proxy) isSilent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silent
}

// take returns the fault for a COMMIT in the transaction, at most once. DropCommitReply has its
// turn when the server has committed, and the others when the client sends the COMMIT.
func (p *Proxy) take(tx transaction, committed bool) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.next
	if f == nil || (f.kind == dropReply) != committed || !tx.contains(f.text) {
		return nil
	}
	p.next = nil
	return f
}

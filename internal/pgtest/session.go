package pgtest

import (
	"bufio"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// A session is a client's connection through a proxy.
type session struct {
	proxy          *Proxy
	client, server net.Conn
	script         script
	ended          chan struct{} // closed when the server has sent its last message

	mu      sync.Mutex
	commits []commit // sent by the client, not yet answered
}

// A commit is a COMMIT in the batch with a number. A batch is a simple query or the messages up to
// a Sync: the server ends each with one ReadyForQuery.
type commit struct {
	batch int
	tx    transaction
}

func newSession(p *Proxy, client, server net.Conn) *session {
	return &session{proxy: p, client: client, server: server, script: newScript(), ended: make(chan struct{})}
}

func (s *session) run() {
	client := bufio.NewReader(s.client)
	if s.startup(client) != nil {
		return
	}
	go s.replies()
	s.requests(client)
	_ = s.server.Close()
	<-s.ended
}

// startup passes on the packet before the first message. It refuses encryption, since the proxy
// could not read what follows.
func (s *session) startup(client *bufio.Reader) error {
	for {
		packet, err := readPacket(client)
		if err != nil {
			return err
		}
		if s.proxy.isSilent() {
			continue
		}
		if packet.asksToCancel() && s.proxy.isHolding() {
			return io.EOF
		}
		if !packet.asksForEncryption() {
			_, err := s.server.Write(packet.bytes)
			return err
		}
		if _, err := io.WriteString(s.client, "N"); err != nil {
			return err
		}
	}
}

// requests passes on what the client sends, until a fault ends the connection.
func (s *session) requests(client *bufio.Reader) {
	server := bufio.NewWriter(s.server)
	for {
		if client.Buffered() == 0 && server.Flush() != nil {
			return
		}
		m, err := readMessage(client)
		if err != nil {
			_ = server.Flush()
			return
		}
		if s.proxy.isSilent() {
			continue
		}
		if f := s.inspect(m); f != nil {
			_ = server.Flush()
			s.fail(f, m)
			return
		}
		_, _ = server.Write(m.bytes) // Flush returns its error
	}
}

// inspect returns the fault that a client's message causes, if any.
func (s *session) inspect(m message) *fault {
	batch := s.script.batch
	for _, tx := range s.script.add(m) {
		if f := s.proxy.take(tx, false); f != nil {
			return f
		}
		s.mu.Lock()
		s.commits = append(s.commits, commit{batch, tx})
		s.mu.Unlock()
	}
	return nil
}

// fail causes a fault instead of passing on a message with a COMMIT.
func (s *session) fail(f *fault, m message) {
	defer close(f.done)
	if f.kind == delay {
		s.proxy.hold(1)
		defer s.proxy.hold(-1)
	}
	_ = s.client.Close()
	if f.kind == lose {
		_ = s.server.Close()
		return
	}
	select {
	case <-time.After(f.delay):
		// Terminate makes the server close the connection after its answer.
		_, _ = s.server.Write(append(m.bytes, syncAndTerminate...))
	case <-s.ended: // at the latest when the test ends
	}
	<-s.ended
}

// replies passes on what the server sends, until a fault ends the connection. It goes on when the
// client is gone: requests ends the session then, if the server need not answer any more.
func (s *session) replies() {
	defer close(s.ended)
	defer s.client.Close()
	server, client := bufio.NewReader(s.server), bufio.NewWriter(s.client)
	batch := -1 // the server ends the startup with a ReadyForQuery too
	for {
		if server.Buffered() == 0 {
			_ = client.Flush()
		}
		m, err := readMessage(server)
		if err != nil {
			_ = client.Flush()
			return
		}
		switch m.kind {
		case readyForQuery:
			if batch++; batch > 0 {
				s.proxy.count(func(c *Counts) { c.RoundTrips++ })
			}
		case emptyQueryResponse:
			s.proxy.count(func(c *Counts) { c.Statements++ })
		case commandComplete:
			if f := s.complete(m.text(), batch); f != nil {
				_ = client.Flush()
				_ = s.client.Close()
				_ = s.server.Close()
				close(f.done)
				return
			}
		}
		_, _ = client.Write(m.bytes)
	}
}

// complete counts a statement of a batch by its tag. It returns the fault that the reply causes, if
// any.
func (s *session) complete(tag string, batch int) *fault {
	s.proxy.count(func(c *Counts) {
		c.Statements++
		switch tag {
		case "BEGIN", "START TRANSACTION":
			c.Begins++
		case "COMMIT":
			c.Commits++
		}
	})
	if tag != "COMMIT" {
		return nil
	}
	return s.proxy.take(s.committed(batch), true)
}

// committed returns the transaction that the server has committed. Those of earlier batches that it
// has not committed have failed.
func (s *session) committed(batch int) (tx transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = slices.DeleteFunc(s.commits, func(c commit) bool { return c.batch < batch })
	if len(s.commits) > 0 && s.commits[0].batch == batch {
		tx = s.commits[0].tx
		s.commits = s.commits[1:]
	}
	return tx
}

package h2test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// stream is a request that has arrived completely.
type stream struct {
	conn *conn
	id   uint32
	key  string
	body string
}

// conn is the server's side of a connection.
type conn struct {
	*outbox
	framer *http2.Framer
}

// outbox writes to a pipe in the background, and closes it when everything is written. A
// pipe has no buffer: if the server waited for the client to read, both could wait for
// each other forever.
type outbox struct {
	conn   net.Conn
	frames chan []byte
	closed bool
}

func (o *outbox) Write(p []byte) (int, error) {
	if o.closed {
		return 0, net.ErrClosed
	}
	o.frames <- bytes.Clone(p)
	return len(p), nil
}

func (o *outbox) Close() {
	if !o.closed {
		o.closed = true
		close(o.frames)
	}
}

func (o *outbox) send() {
	for p := range o.frames {
		_, _ = o.conn.Write(p)
	}
	o.conn.Close()
}

// server answers the n-th request with the n-th step of its script, and all later ones
// with the last step, over any number of connections.
type server struct {
	script []func(stream)

	mu       sync.Mutex
	requests []stream
	conns    []net.Conn
	serving  sync.WaitGroup
}

// transport returns an http.Transport that sends HTTP/2 to the server over in-memory
// connections.
func (s *server) transport(t *testing.T) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{
		Protocols: protocols,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, c := net.Pipe()
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			out := &outbox{conn: c, frames: make(chan []byte, 100)}
			s.serving.Go(out.send)
			s.serving.Go(func() {
				defer out.Close()
				s.serve(c, &conn{outbox: out, framer: http2.NewFramer(out, c)})
			})
			return client, nil
		},
	}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.serving.Wait()
	})
	return tr
}

// serve reads requests until the connection ends.
func (s *server) serve(in io.Reader, c *conn) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(in, preface); err != nil {
		return
	}
	if c.framer.WriteSettings() != nil {
		return
	}
	keys, bodies := make(map[uint32]string), make(map[uint32]string) // by stream
	decoder := hpack.NewDecoder(4096, nil)
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		id, ended := frame.Header().StreamID, frame.Header().Flags.Has(http2.FlagDataEndStream)
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() && c.framer.WriteSettingsAck() != nil {
				return
			}
			continue
		case *http2.HeadersFrame:
			fields, err := decoder.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				return
			}
			for _, field := range fields {
				if field.Name == "idempotency-key" {
					keys[id] = field.Value
				}
			}
			ended = f.StreamEnded()
		case *http2.DataFrame:
			bodies[id] += string(f.Data())
		default:
			continue
		}
		if ended {
			s.step(stream{c, id, keys[id], bodies[id]})
		}
	}
}

func (s *server) step(st stream) {
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, st)
	s.mu.Unlock()
	s.script[min(n, len(s.script)-1)](st)
}

// The steps of a script.

func answer(status string) func(stream) {
	return func(st stream) {
		var block bytes.Buffer
		_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status})
		_ = st.conn.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: st.id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
		})
	}
}

func reset(code http2.ErrCode) func(stream) {
	return func(st stream) { _ = st.conn.framer.WriteRSTStream(st.id, code) }
}

// goAway reports that streams after last were not processed, and closes the connection.
func goAway(last func(stream) uint32, code http2.ErrCode) func(stream) {
	return func(st stream) {
		_ = st.conn.framer.WriteGoAway(last(st), code, nil)
		st.conn.Close()
	}
}

func hangUp(st stream) { st.conn.Close() }

func this(st stream) uint32 { return st.id }
func none(stream) uint32    { return 0 }

package pgtest_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// A wire is a connection that speaks the PostgreSQL protocol.
type wire struct {
	t       *testing.T
	conn    net.Conn
	replies *bufio.Reader
	pid     uint32 // of the server's process
	secret  string // to cancel a query
}

// dial opens a connection and waits until it may send queries.
func dial(t *testing.T, addr string) *wire {
	t.Helper()
	w := connect(t, addr)
	w.start()
	return w
}

func connect(t *testing.T, addr string) *wire {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{t: t, conn: conn, replies: bufio.NewReader(conn)}
}

// startup is the first packet: version 3.0, and one parameter.
var startup = message(0, "\x00\x03\x00\x00user\x00postgres\x00\x00")[1:]

func (w *wire) start() {
	w.t.Helper()
	w.send(startup)
	w.receive()
}

// cancelRequest is the packet with which another connection cancels the query of this one.
func (w *wire) cancelRequest() string {
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 16}, 80877102)
	return string(binary.BigEndian.AppendUint32(request, w.pid)) + w.secret
}

func (w *wire) send(messages ...string) {
	w.t.Helper()
	if _, err := io.WriteString(w.conn, strings.Join(messages, "")); err != nil {
		w.t.Fatal(err)
	}
}

// receive reads until ReadyForQuery, and requires these tags of commands.
func (w *wire) receive(tags ...string) {
	w.t.Helper()
	got, err := w.read()
	if err != nil || strings.Join(got, ", ") != strings.Join(tags, ", ") {
		w.t.Fatalf("received %q, %v, want %q", got, err, tags)
	}
}

// receiveEnd requires that the connection ends before the reply to a COMMIT.
func (w *wire) receiveEnd() {
	w.t.Helper()
	if got, err := w.read(); err == nil || slices.Contains(got, "COMMIT") {
		w.t.Fatalf("received %q, %v, want an error", got, err)
	}
}

// mustRun sends batches, and waits for the end of each.
func (w *wire) mustRun(batches ...string) {
	w.t.Helper()
	for _, batch := range batches {
		w.send(batch)
		if _, err := w.read(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// read reads until ReadyForQuery. It returns the tags of commands, and the errors.
func (w *wire) read() (tags []string, err error) {
	for {
		kind, body, err := w.readMessage()
		switch {
		case err != nil || kind == 'Z':
			return tags, err
		case kind == 'C':
			tags = append(tags, strings.TrimSuffix(body, "\x00"))
		case kind == 'K':
			w.pid, w.secret = binary.BigEndian.Uint32([]byte(body)), body[4:]
		case kind == 'E':
			tags = append(tags, "error "+body)
		}
	}
}

func (w *wire) readMessage() (kind byte, body string, err error) {
	header := make([]byte, 5)
	if _, err := io.ReadFull(w.replies, header); err != nil {
		return 0, "", err
	}
	b := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
	_, err = io.ReadFull(w.replies, b)
	return header[0], string(b), err
}

func message(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))) + body
}

// query is a simple query.
func query(text string) string { return message('Q', text+"\x00") }

// prepare and run are of the extended protocol, which needs sync at the end.
func prepare(name, text string) string { return message('P', name+"\x00"+text+"\x00\x00\x00") }

func run(name string) string {
	return message('B', "\x00"+name+"\x00\x00\x00\x00\x00\x00\x00") + message('E', "\x00\x00\x00\x00\x00")
}

// unnamed executes a text in the extended protocol, without a name.
func unnamed(text string) string { return prepare("", text) + run("") }

var sync = message('S', "")

package pgtest_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
)

// A wire is a connection that speaks the PostgreSQL protocol.
type wire struct {
	t       *testing.T
	conn    net.Conn
	replies *bufio.Reader
}

// dial opens a connection and waits until it may send queries.
func dial(t *testing.T, addr string) *wire {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := &wire{t, conn, bufio.NewReader(conn)}
	startup := "\x00\x03\x00\x00user\x00postgres\x00\x00" // version 3.0 and one parameter
	w.send(message(0, startup)[1:])
	w.receive()
	return w
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

func (w *wire) read() (tags []string, err error) {
	for {
		kind, body, err := w.readMessage()
		switch {
		case err != nil || kind == 'Z':
			return tags, err
		case kind == 'C':
			tags = append(tags, strings.TrimSuffix(body, "\x00"))
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

func query(text string) string { return message('Q', text+"\x00") }

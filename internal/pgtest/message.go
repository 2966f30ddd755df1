package pgtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// A message is one of the protocol, or a packet before the first message. See "Message Formats" in
// the manual of PostgreSQL.
type message struct {
	kind  byte   // 0 for a packet
	bytes []byte // all of it: the kind except for a packet, the length, the body
}

// The kinds of messages that a proxy looks at.
const (
	// of clients
	parse     = 'P'
	bind      = 'B'
	execute   = 'E'
	closeName = 'C' // of a statement or a portal
	syncBatch = 'S'
	query     = 'Q'
	funcCall  = 'F'

	// of servers
	commandComplete    = 'C'
	emptyQueryResponse = 'I'
	readyForQuery      = 'Z'
)

// syncAndTerminate is two messages of clients.
const syncAndTerminate = "S\x00\x00\x00\x04X\x00\x00\x00\x04"

// maxMessage bounds the length of a message, in bytes.
const maxMessage = 64 << 20

func readMessage(r io.Reader) (message, error) { return read(r, 1) }

func readPacket(r io.Reader) (message, error) { return read(r, 0) }

// read reads a message whose length comes after skip bytes.
func read(r io.Reader, skip int) (m message, err error) {
	header := make([]byte, skip+4)
	if _, err := io.ReadFull(r, header); err != nil {
		return m, err
	}
	length := int(binary.BigEndian.Uint32(header[skip:]))
	if length < 4 || length > maxMessage {
		return m, fmt.Errorf("pgtest: a message of %d bytes", length)
	}
	m.bytes = make([]byte, skip+length)
	copy(m.bytes, header)
	if skip > 0 {
		m.kind = header[0]
	}
	_, err = io.ReadFull(r, m.bytes[len(header):])
	return m, err
}

// body returns what follows the kind and the length.
func (m message) body() []byte { return m.bytes[5:] }

// text returns the string at the beginning of the body.
func (m message) text() string {
	text, _ := cutString(m.body())
	return text
}

// cutString cuts off a string that ends with a zero byte.
func cutString(b []byte) (text string, rest []byte) {
	before, rest, _ := bytes.Cut(b, []byte{0})
	return string(before), rest
}

// endsBatch reports whether the server answers a client's message with ReadyForQuery.
func (m message) endsBatch() bool {
	return m.kind == query || m.kind == syncBatch || m.kind == funcCall
}

// asksForEncryption reports whether a packet is an SSLRequest or a GSSENCRequest.
func (m message) asksForEncryption() bool {
	const sslRequest, gssRequest = 80877103, 80877104
	return m.code() == sslRequest || m.code() == gssRequest
}

// asksToCancel reports whether a packet is a CancelRequest.
func (m message) asksToCancel() bool {
	const cancelRequest = 80877102
	return m.code() == cancelRequest
}

// code returns the number at the beginning of a packet's body. In a startup packet, it is the
// version of the protocol.
func (m message) code() uint32 {
	if len(m.bytes) < 8 {
		return 0
	}
	return binary.BigEndian.Uint32(m.bytes[4:])
}

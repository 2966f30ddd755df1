package idempotent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A Response is what a record holds. The middleware makes and reads it by itself; a service needs it to [Resolver].Resolve.
type Response struct {
	// Status is from 200 to 999.
	Status int
	// Header holds what is kept of the handler's header: not Set-Cookie, Date, Content-Length, the hop-by-hop fields, the
	// request ids, Access-Control-* and RateLimit*.
	Header http.Header
	Body   []byte
	// RequestID is the id of the request that was answered, for Original-Request. "" is not known.
	RequestID string
}

// Encode returns the response as stores keep it. It panics when Status is out of its range.
func (r Response) Encode() []byte {
	if !finalStatus(r.Status) {
		panic(fmt.Sprintf("idempotent: Response.Encode: invalid status %d", r.Status))
	}
	b, _ := newHead(r.Status, r.RequestID, r.Header)
	b = append(b, r.Body...)
	return appendSum(b)
}

// DecodeResponse reads what Encode has written. The response shares b. Anything else is an error, however it was damaged.
func DecodeResponse(b []byte) (Response, error) {
	rec, err := parseRecord(b)
	if err != nil {
		return Response{}, err
	}
	header := make(http.Header)
	maps.Insert(header, rec.fields)
	return Response{Status: rec.status, Header: header, Body: rec.body, RequestID: rec.requestID}, nil
}

// An encoded response is
//
//	version   1 byte: 1
//	head      4 bytes, big endian: how long the head is
//	          uvarint: status
//	          string: request id             a string is its length as a uvarint, and its bytes
//	          uvarint: number of field lines
//	          two strings each: name, value  the lines of one name follow each other
//	body      all the rest but
//	checksum  4 bytes, big endian: CRC-32C of all before it
const (
	recordVersion = 1
	prefixLen     = 5
	sumLen        = 4
)

var errCorrupt = errors.New("idempotent: the stored record is corrupt")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newHead returns all that comes before the body, with room for little more, and how many of the header's fields are in it.
func newHead(status int, requestID string, h http.Header) (head []byte, fields int) {
	names, lines, size := make([]string, 0, 16), 0, prefixLen+len(requestID)+16
	for name, values := range h {
		if !kept(name) {
			continue
		}
		names, lines = append(names, name), lines+len(values)
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	b := make([]byte, prefixLen, size)
	b[0] = recordVersion
	b = binary.AppendUvarint(b, uint64(status))
	b = appendString(b, requestID)
	b = binary.AppendUvarint(b, uint64(lines))
	for _, name := range names {
		for _, v := range h[name] {
			b = appendString(appendString(b, name), v)
		}
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefixLen))
	return b, len(names)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// record is an encoded response, read.
type record struct {
	status    int
	requestID string
	lines     string   // the field lines, as they are encoded
	values    []string // one array for the values of all of the answer's fields
	body      []byte
}

// parseRecord reads a whole encoded response.
func parseRecord(b []byte) (record, error) {
	if len(b) < prefixLen+sumLen {
		return record{}, errCorrupt
	}
	body := len(b) - sumLen
	if crc32.Checksum(b[:body], castagnoli) != binary.BigEndian.Uint32(b[body:]) {
		return record{}, errCorrupt
	}
	return parseUnsummed(b[:body])
}

// parseUnsummed reads an encoded response without its checksum: one that is still being written.
func parseUnsummed(b []byte) (record, error) {
	if b[0] != recordVersion {
		return record{}, fmt.Errorf("%w: unknown version %d", errCorrupt, b[0])
	}
	n := binary.BigEndian.Uint32(b[1:])
	if uint64(n) > uint64(len(b)-prefixLen) {
		return record{}, errCorrupt
	}
	head := reader{rest: string(b[prefixLen : prefixLen+n])}
	rec := record{body: slices.Clip(b[prefixLen+n:])} // who appends to it must not reach the checksum
	rec.status = int(head.uvarint(999))
	rec.requestID = head.string()
	lines := int(head.uvarint(uint64(len(head.rest)) / 2)) // a line takes two bytes at least
	rec.lines = head.rest
	for range 2 * lines {
		head.string()
	}
	if head.bad || head.rest != "" || !finalStatus(rec.status) {
		return record{}, errCorrupt
	}
	rec.values = make([]string, 0, lines+3) // and Content-Length, Idempotent-Replayed, Original-Request
	return rec, nil
}

// fields calls yield for each name, with its values in order.
func (rec *record) fields(yield func(name string, values []string) bool) {
	var name string
	from := len(rec.values)
	for left := (reader{rest: rec.lines}); left.rest != ""; {
		next, value := left.string(), left.string()
		if n := len(rec.values); next != name && n > from {
			if !yield(name, rec.values[from:n:n]) {
				return
			}
			from = n
		}
		name, rec.values = next, append(rec.values, value)
	}
	if n := len(rec.values); n > from {
		yield(name, rec.values[from:n:n])
	}
}

// list returns the values of a field that has one.
func (rec *record) list(value string) []string {
	rec.values = append(rec.values, value)
	n := len(rec.values)
	return rec.values[n-1 : n : n]
}

// reader takes values off a string. After the first that is not there, bad is set and all is zero.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) uvarint(limit uint64) uint64 {
	var v uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64-1; i++ {
		c := r.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 && v <= limit {
			r.rest = r.rest[i+1:]
			return v
		}
	}
	r.rest, r.bad = "", true
	return 0
}

func (r *reader) string() string {
	n := r.uvarint(uint64(len(r.rest)))
	if n > uint64(len(r.rest)) {
		r.rest, r.bad = "", true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func finalStatus(status int) bool { return status >= 200 && status <= 999 }

// kept tells whether a field of the handler's header goes into the record. What it rejects belongs to one request or one
// connection.
func kept(name string) bool {
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Set-Cookie", "Date", "Content-Length", "Request-Id", "X-Request-Id", headerReplayed, headerOriginal,
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return false
	}
	return !strings.HasPrefix(name, "Access-Control-") && !strings.HasPrefix(name, "Ratelimit") &&
		!strings.HasPrefix(name, "X-Ratelimit") && !strings.HasPrefix(name, http.TrailerPrefix)
}

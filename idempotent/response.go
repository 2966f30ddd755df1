package idempotent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Response is what a record holds. The middleware writes and reads it by itself. A service
// needs it for [Resolver].Resolve.
type Response struct {
	// Status is from 200 to 999.
	Status int
	// Header holds the recorded fields. A field with no value is one that the handler has set to
	// nil.
	Header http.Header
	Body   []byte
	// RequestID is the id of the request that was answered, for Original-Request. It is empty if
	// it is not known.
	RequestID string
}

// encode returns the response as stores keep it, without the fields that are never recorded. It
// panics if Status is out of range.
func (r Response) encode() []byte {
	if !finalStatus(r.Status) {
		panic(fmt.Sprintf("idempotent: Response: invalid status %d", r.Status))
	}
	return encode(r.Status, r.RequestID, headerChange{to: r.Header}, r.Body)
}

// Completion returns the completion that makes the response a key's answer for the given retention,
// for [Resolver].Resolve.
func (r Response) Completion(retention time.Duration) Completion {
	return Completion{State: StateDone, Response: r.encode(), Retention: retention}
}

// DecodeResponse reads what [Response.Completion] or the middleware has written. The response shares b.
// Anything else is an error, however it was damaged.
func DecodeResponse(b []byte) (Response, error) {
	rec, err := parseRecord(b)
	if err != nil {
		return Response{}, err
	}
	r := Response{Status: rec.status, Header: make(http.Header), Body: rec.body, RequestID: rec.requestID}
	rec.apply(r.Header)
	return r, nil
}

// An encoded response is
//
//	version   1 byte: 1
//	head      4 bytes, big endian: how long the head is
//	          uvarint: status
//	          string: request id            a string is its length as a uvarint, and its bytes
//	          uvarint: number of values of all fields
//	          for each field
//	            1 byte: 's', the values replace those of outer layers; 'a', they are added;
//	                    'd', the field is deleted
//	            string: name
//	            uvarint: number of values; 's' with none sets the field to nil, so that
//	                     net/http adds no Content-Type
//	            strings: the values
//	body      the rest but for
//	checksum  4 bytes, big endian: CRC-32C of all before it
const (
	recordVersion = 1
	prefixLen     = 5
	sumLen        = 4

	opSet    = 's'
	opAdd    = 'a'
	opDelete = 'd'
)

var errCorrupt = errors.New("idempotent: the stored response is corrupt")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the record of a response.
func encode(status int, requestID string, h headerChange, body []byte) []byte {
	values, size := 0, prefixLen+len(requestID)+len(body)+sumLen+16
	for name, change := range h.all {
		values += len(change.values)
		size += len(name) + 8
		for _, v := range change.values {
			size += len(v) + 4
		}
	}
	b := make([]byte, prefixLen, size)
	b[0] = recordVersion
	b = binary.AppendUvarint(b, uint64(status))
	b = appendString(b, requestID)
	b = binary.AppendUvarint(b, uint64(values))
	for name, change := range h.all {
		b = appendString(append(b, change.op), name)
		b = binary.AppendUvarint(b, uint64(len(change.values)))
		for _, v := range change.values {
			b = appendString(b, v)
		}
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefixLen))
	return appendSum(append(b, body...))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// encodeNotKept returns the record of a response that is not kept: its status and its Location,
// unless that is too long for a record that a store never refuses.
func encodeNotKept(status int, requestID, location string) []byte {
	h := make(http.Header)
	if location != "" && len(location) <= maxLocation {
		h.Set("Location", location)
	}
	return encode(status, requestID, headerChange{to: h}, nil)
}

const maxLocation = 1 << 10

// withoutBody returns what is left of an encoded response whose body is dropped.
func withoutBody(response []byte) []byte {
	r, err := DecodeResponse(response)
	if err != nil {
		return nil
	}
	return encodeNotKept(r.Status, r.RequestID, r.Header.Get("Location"))
}

// record is an encoded response, read.
type record struct {
	status    int
	requestID string
	values    int    // of all fields
	fields    string // encoded
	body      []byte
}

func parseRecord(b []byte) (record, error) {
	if len(b) < prefixLen+sumLen {
		return record{}, errCorrupt
	}
	end := len(b) - sumLen
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return record{}, errCorrupt
	}
	if b[0] != recordVersion {
		return record{}, fmt.Errorf("%w: unknown version %d", errCorrupt, b[0])
	}
	n := binary.BigEndian.Uint32(b[1:])
	if uint64(n) > uint64(end-prefixLen) {
		return record{}, errCorrupt
	}
	head := reader{rest: string(b[prefixLen : prefixLen+n])}
	rec := record{body: slices.Clip(b[prefixLen+n : end])} // who appends to it must not reach the checksum
	rec.status = int(head.uvarint(999))
	rec.requestID = head.string()
	rec.values = int(head.uvarint(uint64(len(head.rest)))) // each takes a byte at least
	rec.fields = head.rest
	left := rec.values
	for head.rest != "" {
		op, _, n := head.field()
		left -= n
		if known := op == opSet || op == opAdd && n > 0 || op == opDelete && n == 0; !known || left < 0 {
			return record{}, errCorrupt
		}
		for range n {
			head.string()
		}
	}
	if head.bad || left != 0 || !finalStatus(rec.status) {
		return record{}, errCorrupt
	}
	return rec, nil
}

// apply makes the recorded changes to h.
func (rec *record) apply(h http.Header) {
	all := make([]string, 0, rec.values)
	for r := (reader{rest: rec.fields}); r.rest != ""; {
		op, name, n := r.field()
		from := len(all)
		for range n {
			all = append(all, r.string())
		}
		values := all[from:len(all):len(all)]
		switch {
		case op == opDelete:
			delete(h, name)
		case op == opAdd:
			h[name] = append(slices.Clip(h[name]), values...)
		case n == 0:
			h[name] = nil
		default:
			h[name] = values
		}
	}
}

// reader takes values off a string. After the first one that is not there, bad is set and all is
// zero.
type reader struct {
	rest string
	bad  bool
}

// field takes what stands before the values of a field, and returns how many they are. There must
// be something to take.
func (r *reader) field() (op byte, name string, values int) {
	op, r.rest = r.rest[0], r.rest[1:]
	name = r.string()
	return op, name, int(r.uvarint(uint64(len(r.rest))))
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

// headerChange is what a handler has done to the header that it was given.
type headerChange struct {
	from, to http.Header
	omit     []string // names that are not recorded, besides those that never are
}

type fieldChange struct {
	op     byte
	values []string
}

// all calls yield for each field that was changed and is recorded.
func (h headerChange) all(yield func(name string, change fieldChange) bool) {
	for name, values := range h.to {
		was, there := h.from[name]
		if !h.recorded(name) || there && slices.Equal(was, values) {
			continue
		}
		change := fieldChange{opSet, values}
		if n := len(was); n > 0 && len(values) > n && slices.Equal(was, values[:n]) {
			change = fieldChange{opAdd, values[n:]}
		}
		if !yield(name, change) {
			return
		}
	}
	for name := range h.from {
		if _, there := h.to[name]; !there && h.recorded(name) && !yield(name, fieldChange{op: opDelete}) {
			return
		}
	}
}

// recorded reports whether a field of the response goes into the record. What it rejects belongs
// to one request or one connection.
func (h headerChange) recorded(name string) bool {
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Set-Cookie", "Date", "Content-Length", "Request-Id", "X-Request-Id", headerReplayed, headerOriginal,
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return false
	}
	return !strings.HasPrefix(name, "Access-Control-") && !strings.HasPrefix(name, "Ratelimit") &&
		!strings.HasPrefix(name, "X-Ratelimit") && !strings.HasPrefix(name, http.TrailerPrefix) &&
		!slices.Contains(h.omit, name)
}

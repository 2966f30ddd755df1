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

// A Response is the content of a finished record. The middleware makes and reads it. A
// service needs it to settle a record with a [Resolver].
type Response struct {
	// Status is from 200 to 999.
	Status int

	// Header holds the recorded fields. A field without values is one that the handler has
	// set to nil.
	Header http.Header
	Body   []byte

	// RequestID is the id of the request that was answered, for Original-Request. It is empty
	// if it is not known.
	RequestID string
}

// Completion returns the completion that records the response for the given retention, for a
// [Resolver]. Fields of Header that are never recorded are left out. It panics if Status is
// out of range.
func (r Response) Completion(retention time.Duration) Completion {
	return Completion{State: StateDone, Response: r.encode(), Retention: retention}
}

// Write sends the response, for a handler that has recorded it in its own transaction
// ([FinishWith]).
func (r Response) Write(w http.ResponseWriter) error {
	for name, values := range r.Header {
		w.Header()[name] = slices.Clone(values)
	}
	w.WriteHeader(r.Status)
	_, err := w.Write(r.Body)
	return err
}

func (r Response) encode() []byte {
	if !finalStatus(r.Status) {
		panic(fmt.Sprintf("idempotent: Response: invalid status %d", r.Status))
	}
	return encode(r.Status, r.RequestID, changedFields(nil, r.Header, nil), r.Body)
}

// DecodeResponse decodes the Response of a [Completion]. The Body of the result shares the
// memory of b. If b is damaged in any way, DecodeResponse returns an error.
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
//	head      4 bytes, big endian: the length of the head
//	          uvarint: status
//	          string: request id            (a string is its length as a uvarint, and its bytes)
//	          uvarint: number of values of all fields
//	          for each field
//	            1 byte: 's', the values replace those of outer layers; 'a', they are added;
//	                    'd', the field is deleted
//	            string: name
//	            uvarint: number of values; 's' with none sets the field to nil, so that
//	                     net/http adds no Content-Type
//	            strings: the values
//	body      everything up to the checksum
//	checksum  4 bytes, big endian: CRC-32C of everything before it
const (
	recordVersion = 1
	prefixLen     = 5
	sumLen        = 4

	opSet    = 's'
	opAdd    = 'a'
	opDelete = 'd'
)

// field is a change that a handler has made to a header field.
type field struct {
	op     byte
	name   string
	values []string
}

var errCorrupt = errors.New("idempotent: the stored response is corrupt")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the record of a response.
func encode(status int, requestID string, fields []field, body []byte) []byte {
	values, size := 0, prefixLen+len(requestID)+len(body)+sumLen+16
	for _, f := range fields {
		values += len(f.values)
		size += len(f.name) + 8
		for _, v := range f.values {
			size += len(v) + 4
		}
	}
	b := make([]byte, prefixLen, size)
	b[0] = recordVersion
	b = binary.AppendUvarint(b, uint64(status))
	b = appendString(b, requestID)
	b = binary.AppendUvarint(b, uint64(values))
	for _, f := range fields {
		b = appendString(append(b, f.op), f.name)
		b = binary.AppendUvarint(b, uint64(len(f.values)))
		for _, v := range f.values {
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

// encodeNotKept returns the record of a response that is not kept: its status and its
// Location. It must be small, because even a full store accepts it: a Location over 1 KiB is
// left out.
func encodeNotKept(status int, requestID, location string) []byte {
	const maxLocation = 1 << 10
	var fields []field
	if location != "" && len(location) <= maxLocation {
		fields = []field{{opSet, "Location", []string{location}}}
	}
	return encode(status, requestID, fields, nil)
}

// withoutBody returns the record that is left of a response whose body is dropped.
func withoutBody(response []byte) []byte {
	r, err := DecodeResponse(response)
	if err != nil {
		return nil
	}
	return encodeNotKept(r.Status, r.RequestID, r.Header.Get("Location"))
}

// record is a decoded response.
type record struct {
	status    int
	requestID string
	fields    []field
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
	rec := record{body: slices.Clip(b[prefixLen+n : end])} // appending to it must not change b
	rec.status = int(head.uvarint(999))
	rec.requestID = head.string()
	values := int(head.uvarint(uint64(len(head.rest)))) // each takes a byte at least
	rec.fields = make([]field, 0, values)               // few fields have no value
	for head.rest != "" {
		f := head.field()
		values -= len(f.values)
		rec.fields = append(rec.fields, f)
	}
	if head.bad || values != 0 || !finalStatus(rec.status) {
		return record{}, errCorrupt
	}
	return rec, nil
}

// apply makes the recorded changes to h.
func (rec *record) apply(h http.Header) {
	for _, f := range rec.fields {
		switch f.op {
		case opDelete:
			delete(h, f.name)
		case opAdd:
			h[f.name] = append(slices.Clip(h[f.name]), f.values...)
		default:
			h[f.name] = f.values
		}
	}
}

// reader reads values from the front of a string. After the first invalid one, bad is set,
// rest is empty and all values are zero.
type reader struct {
	rest string
	bad  bool
}

// field reads a field. The rest must not be empty.
func (r *reader) field() field {
	f := field{op: r.rest[0]}
	r.rest = r.rest[1:]
	f.name = r.string()
	n := int(r.uvarint(uint64(len(r.rest))))
	f.values = slices.Grow(f.values, n)
	for range n {
		f.values = append(f.values, r.string())
	}
	if known := f.op == opSet || f.op == opAdd && n > 0 || f.op == opDelete && n == 0; !known {
		r.rest, r.bad = "", true
	}
	return f
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	if n <= 0 || v > limit {
		r.rest, r.bad = "", true
		return 0
	}
	r.rest = r.rest[n:]
	return v
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

// changedFields returns how a handler has changed a header, without the fields that are not
// recorded.
func changedFields(from, to http.Header, omit []string) []field {
	var fields []field
	for name, values := range to {
		was, ok := from[name]
		if !isRecorded(name, omit) || ok && slices.Equal(was, values) {
			continue
		}
		f := field{opSet, name, values}
		if n := len(was); n > 0 && len(values) > n && slices.Equal(was, values[:n]) {
			f = field{opAdd, name, values[n:]}
		}
		fields = append(fields, f)
	}
	for name := range from {
		if _, ok := to[name]; !ok && isRecorded(name, omit) {
			fields = append(fields, field{op: opDelete, name: name})
		}
	}
	return fields
}

// isRecorded reports whether a header field of the response is recorded. The others belong to
// one request or one connection, or are in omit.
func isRecorded(name string, omit []string) bool {
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Set-Cookie", "Date", "Content-Length", "Request-Id", "X-Request-Id", headerReplayed, headerOriginal,
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return false
	}
	return !strings.HasPrefix(name, "Access-Control-") && !strings.HasPrefix(name, "Ratelimit") &&
		!strings.HasPrefix(name, "X-Ratelimit") && !strings.HasPrefix(name, http.TrailerPrefix) &&
		!slices.Contains(omit, name)
}

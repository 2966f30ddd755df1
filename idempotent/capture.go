package idempotent

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// capture is the ResponseWriter of a keyed request's handler. It has a header of its own, so that what outer layers have set
// (request ids, CORS, rate limits) is never taken for the handler's, and it builds the record in place: the head when the
// status is written, then the body behind it.
//
// A response that is not to be kept whole (over the limit, or streamed) goes straight through from the moment that this is
// known, after seal was asked.
type capture struct {
	w         http.ResponseWriter
	header    http.Header
	requestID string
	limit     int // of the body; negative is none
	// seal is asked once, before the first byte of a response goes out that will not be kept; its error refuses the rest.
	// Where it is nil, nothing goes out before the end.
	seal interface{ seal() error }

	status   int         // 0 until the handler has written one
	location string      // the handler's Location
	declared string      // and its Content-Length
	extra    http.Header // what the handler set and the record does not keep
	buf      []byte      // the record: head and body, no checksum
	headLen  int
	end      int   // of the body in buf, once closed
	streamed bool  // nothing is held back
	through  bool  // the head has gone out
	passed   int64 // body bytes since
	err      error // what every write gets from now on
}

var errHandlerReturned = errors.New("idempotent: write after the handler has returned")

func (c *capture) Header() http.Header { return c.header }

func (c *capture) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("idempotent: invalid WriteHeader code %d", status)) // as net/http does, where the handler's stack shows it
	case status == http.StatusSwitchingProtocols:
		panic("idempotent: a keyed request cannot switch protocols")
	case status < 200:
		c.inform(status)
	case c.status == 0 && c.err == nil:
		c.begin(status)
	}
}

// begin takes the head.
func (c *capture) begin(status int) {
	c.status = status
	c.location, c.declared = c.header.Get("Location"), c.header.Get("Content-Length")
	var fields int
	c.buf, fields = newHead(status, c.requestID, c.header)
	c.headLen = len(c.buf)
	if fields == len(c.header) {
		return
	}
	for name, values := range c.header {
		if !kept(name) && name != "Content-Length" && !strings.HasPrefix(name, http.TrailerPrefix) {
			if c.extra == nil {
				c.extra = make(http.Header)
			}
			c.extra[name] = slices.Clone(values)
		}
	}
}

// inform sends an interim response, which net/http takes from the header of the writer below.
func (c *capture) inform(status int) {
	if c.through || c.err != nil {
		return
	}
	below := c.w.Header()
	was := maps.Clone(below)
	maps.Copy(below, c.header)
	c.w.WriteHeader(status)
	clear(below)
	maps.Copy(below, was)
}

func (c *capture) Write(p []byte) (int, error) {
	if err := c.room(len(p)); err != nil {
		return 0, err
	}
	if c.through {
		n, err := c.w.Write(p)
		c.passed += int64(n)
		return n, err
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}

// WriteString saves io.WriteString a copy.
func (c *capture) WriteString(s string) (int, error) {
	if err := c.room(len(s)); err != nil {
		return 0, err
	}
	if c.through {
		n, err := c.w.Write([]byte(s))
		c.passed += int64(n)
		return n, err
	}
	c.buf = append(c.buf, s...)
	return len(s), nil
}

// room prepares for n more bytes of body.
func (c *capture) room(n int) error {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if c.err == nil && n > 0 && !bodyAllowed(c.status) {
		return http.ErrBodyNotAllowed
	}
	if c.streamed || c.over(n) {
		c.open()
	}
	if c.err == nil && len(c.buf) == c.headLen {
		c.buf = slices.Grow(c.buf, max(n, 512)+sumLen) // most handlers write once
	}
	return c.err
}

// over tells whether n more bytes are too many to keep.
func (c *capture) over(n int) bool { return c.limit >= 0 && len(c.buf)-c.headLen+n > c.limit }

// open lets the response through, with what was held back of it, where that is possible.
func (c *capture) open() {
	if c.err != nil || c.through || c.seal == nil {
		return
	}
	if c.err = c.seal.seal(); c.err != nil {
		return
	}
	c.through = true
	rec, err := parseUnsummed(c.buf)
	if err != nil {
		c.err = err
		return
	}
	copyFields(c.w.Header(), &rec, c.extra)
	if c.declared != "" {
		c.w.Header().Set("Content-Length", c.declared)
	}
	c.w.WriteHeader(c.status)
	if len(rec.body) > 0 {
		_, c.err = c.w.Write(rec.body)
		c.passed = int64(len(rec.body))
	}
	c.buf = nil
}

// Flush holds back: nothing goes out before it is recorded.
func (c *capture) Flush() { _ = c.FlushError() }

// FlushError is what http.ResponseController calls.
func (c *capture) FlushError() error {
	if c.status == 0 && c.err == nil {
		c.begin(http.StatusOK)
	}
	if c.streamed {
		c.open()
	}
	if c.through && c.err == nil {
		return http.NewResponseController(c.w).Flush()
	}
	return c.err
}

// There is no Unwrap, or a handler would write past the record. Deadlines are the connection's, and harmless.

func (c *capture) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(c.w).SetReadDeadline(t)
}

func (c *capture) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(c.w).SetWriteDeadline(t)
}

// close ends the response when the handler has returned. It tells whether the response is whole: as long as the handler
// said that it would be.
func (c *capture) close() (whole bool) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	size := c.passed
	if !c.through {
		size = int64(len(c.buf) - c.headLen)
	}
	c.end = len(c.buf)
	if c.err == nil {
		c.err = errHandlerReturned
	}
	if c.declared == "" || !bodyAllowed(c.status) {
		return true
	}
	declared, err := strconv.ParseInt(c.declared, 10, 64)
	return err != nil || declared == size
}

// sum returns the record of a closed response that was held back.
func (c *capture) sum() []byte {
	c.buf = appendSum(c.buf)
	return c.buf
}

// record is what was captured of such a response.
func (c *capture) record() record {
	rec, _ := parseUnsummed(c.buf[:c.end]) // just written
	return rec
}

// send answers with a record: a first answer (with the fields that are not kept) and a replay alike.
func send(w http.ResponseWriter, rec *record, extra http.Header) {
	h := w.Header()
	copyFields(h, rec, extra)
	if bodyAllowed(rec.status) {
		h["Content-Length"] = rec.list(strconv.Itoa(len(rec.body)))
	}
	w.WriteHeader(rec.status)
	if len(rec.body) > 0 {
		w.Write(rec.body)
	}
}

// copyFields puts the handler's fields in place of those that outer layers have set, as if it had set them itself, or behind
// them where it would have added to them.
func copyFields(to http.Header, rec *record, extra http.Header) {
	for name, values := range rec.fields {
		copyField(to, name, values)
	}
	for name, values := range extra {
		copyField(to, name, values)
	}
}

func copyField(to http.Header, name string, values []string) {
	switch name {
	case "Vary", "Set-Cookie", "Ratelimit", "Ratelimit-Policy":
		values = slices.Concat(to[name], values)
	}
	to[name] = values
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

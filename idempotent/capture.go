package idempotent

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// capture is the ResponseWriter of a keyed request's handler. The handler works on the header of
// the writer below, as it would without a key, and what it writes is held back until it is
// recorded.
//
// A response that is not to be kept (over the limit, or streamed) goes out as it is written,
// from the moment that this is known and recorded.
type capture struct {
	w      http.ResponseWriter
	before http.Header // what outer layers had set
	limit  int         // of the body; negative is none
	// streams reports whether nothing is to be held back. beforeOpen is called once, before the
	// first byte of a response goes out that is not kept, and its error stops the response. If
	// they are nil, nothing goes out before the end.
	streams    func() bool
	beforeOpen func() error

	status  int         // 0 until the handler has written one
	sent    http.Header // the header at that moment
	length  int64       // its Content-Length; negative is none
	asked   int64       // how much the handler has tried to write
	body    []byte      // what is held back
	size    int64       // of the whole body
	flushed bool        // the handler has flushed what is held back
	through bool        // the head has gone out
	err     error       // what every write gets from now on
}

var (
	errHandlerReturned = errors.New("idempotent: write after the handler has returned")
	errTooLarge        = errors.New("idempotent: the response is over Options.MaxResponse, and an Executor holds it until the commit")
)

func newCapture(w http.ResponseWriter, limit int) *capture {
	return &capture{w: w, before: w.Header().Clone(), limit: limit}
}

func (c *capture) Header() http.Header { return c.w.Header() }

func (c *capture) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		// As net/http does, and here the handler's stack shows where.
		panic(fmt.Sprintf("idempotent: invalid WriteHeader code %d", status))
	case status == http.StatusSwitchingProtocols:
		panic("idempotent: a keyed request cannot switch protocols")
	case c.status != 0:
		// the second one, which net/http ignores too
	case status < 200:
		c.w.WriteHeader(status)
	default:
		c.status, c.sent = status, c.w.Header().Clone()
		c.length = contentLength(c.sent)
	}
}

// contentLength returns the Content-Length as net/http reads it. It is negative if there is none.
func contentLength(h http.Header) int64 {
	if declared := h.Get("Content-Length"); declared != "" {
		if length, err := strconv.ParseInt(declared, 10, 64); err == nil {
			return length
		}
	}
	return -1
}

func (c *capture) Write(p []byte) (int, error) {
	if err := c.prepare(len(p)); err != nil {
		return 0, err
	}
	c.size += int64(len(p))
	if c.through {
		return c.w.Write(p)
	}
	c.body = append(c.body, p...)
	return len(p), nil
}

// WriteString saves io.WriteString a copy.
func (c *capture) WriteString(s string) (int, error) {
	if err := c.prepare(len(s)); err != nil {
		return 0, err
	}
	c.size += int64(len(s))
	if c.through {
		return c.w.Write([]byte(s))
	}
	c.body = append(c.body, s...)
	return len(s), nil
}

// prepare makes ready for n more bytes of body.
func (c *capture) prepare(n int) error {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if c.err == nil && n > 0 {
		c.asked += int64(n)
		switch {
		case !bodyAllowed(c.status):
			return http.ErrBodyNotAllowed
		case c.length >= 0 && c.asked > c.length:
			return http.ErrContentLength
		}
	}
	if c.streams != nil && c.streams() || c.limit >= 0 && len(c.body)+n > c.limit {
		c.open()
	}
	return c.err
}

// open lets the response through, with what was held back of it.
func (c *capture) open() {
	switch {
	case c.err != nil || c.through:
		return
	case c.beforeOpen == nil:
		c.err = errTooLarge
		return
	}
	if c.err = c.beforeOpen(); c.err == nil {
		c.through = true
		c.err = c.send()
		c.body = nil
	}
}

// send sends the head, as it was when the handler wrote it, and the body that was held back.
// What the handler has done to the header since then, such as set trailers, it does again.
func (c *capture) send() (err error) {
	h, now := c.w.Header(), c.sent
	if !maps.EqualFunc(h, now, slices.Equal) {
		now = maps.Clone(h)
		replace(h, c.sent)
	}
	c.w.WriteHeader(c.status)
	if len(c.body) > 0 {
		_, err = c.w.Write(c.body)
	}
	if c.flushed { // without it a small response has no trailers (http.TrailerPrefix)
		_ = http.NewResponseController(c.w).Flush()
	}
	change(h, c.sent, now)
	return err
}

// replace makes h the same as with.
func replace(h, with http.Header) {
	clear(h)
	maps.Copy(h, with)
}

// change does to h what was done to one header to make it another.
func change(h, from, to http.Header) {
	for name, values := range to {
		if was, there := from[name]; !there || !slices.Equal(was, values) {
			h[name] = values
		}
	}
	for name := range from {
		if _, there := to[name]; !there {
			delete(h, name)
		}
	}
}

// Flush holds back: nothing goes out before it is recorded.
func (c *capture) Flush() { _ = c.FlushError() }

// FlushError is what http.ResponseController calls.
func (c *capture) FlushError() error {
	if err := c.prepare(0); err != nil {
		return err
	}
	if c.through {
		return http.NewResponseController(c.w).Flush()
	}
	c.flushed = true
	return nil
}

// There is no Unwrap, or a handler could write past the record. Deadlines and full duplex are the
// connection's, and harmless.

func (c *capture) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(c.w).SetReadDeadline(t)
}

func (c *capture) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(c.w).SetWriteDeadline(t)
}

func (c *capture) EnableFullDuplex() error {
	return http.NewResponseController(c.w).EnableFullDuplex()
}

// Rewind takes back what was written, if nothing has gone out. The header stays as the handler has
// left it. It is for an error that is answered in place of a response that had begun.
func (c *capture) Rewind() bool {
	if c.through || c.err != nil && !errors.Is(c.err, errTooLarge) && !errors.Is(c.err, ErrLeaseLost) {
		return false
	}
	if c.err != nil {
		c.streams = nil // an error is held back, and may be replaced by another owner's answer
	}
	c.status, c.sent, c.asked, c.size, c.body, c.flushed, c.err = 0, nil, 0, 0, c.body[:0], false, nil
	return true
}

// restoreHeader takes back what the handler did to the header of a response that has not gone out.
func (c *capture) restoreHeader() { replace(c.w.Header(), c.before) }

// close ends the response when the handler has returned. It reports whether the response is
// whole: as long as its Content-Length says.
func (c *capture) close() (whole bool) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if c.err == nil {
		c.err = errHandlerReturned
	}
	return c.length < 0 || c.length == c.size || !bodyAllowed(c.status)
}

// encode returns the record of a closed response that was held back.
func (c *capture) encode(requestID string, omit []string) []byte {
	return encode(c.status, requestID, headerChange{c.before, c.sent, omit}, c.body)
}

func (c *capture) encodeNotKept(requestID string) []byte {
	return encodeNotKept(c.status, requestID, c.sent.Get("Location"))
}

// replay answers with what was recorded.
func replay(w http.ResponseWriter, rec *record) {
	h := w.Header()
	rec.apply(h)
	own := []string{"true", rec.requestID, strconv.Itoa(len(rec.body))} // one array for three fields
	h[headerReplayed] = own[0:1:1]
	if rec.requestID != "" {
		h[headerOriginal] = own[1:2:2]
	}
	if bodyAllowed(rec.status) {
		h["Content-Length"] = own[2:3:3]
	}
	w.WriteHeader(rec.status)
	if len(rec.body) > 0 {
		w.Write(rec.body)
	}
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

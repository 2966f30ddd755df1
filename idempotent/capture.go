package idempotent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// capture is the ResponseWriter of a handler with a key. The handler changes the header of
// the writer below, as it would without a key. The body is held back until the response is
// recorded.
//
// Once it is known and recorded that a response is not kept (over the limit, or streamed),
// the response is sent as it is written.
type capture struct {
	w      http.ResponseWriter
	ctx    context.Context // the handler's
	before http.Header     // what outer layers had set
	limit  int             // of the body; negative means none
	// streams reports whether to send the response as it is written. beforeOpen is called
	// once before the first byte of a response that is not kept is sent, and its error stops
	// the response. If they are nil, nothing is sent before the handler returns.
	streams    func() bool
	beforeOpen func() error

	status  int         // 0 until the handler writes
	sent    http.Header // the header at that moment
	length  int64       // its Content-Length; negative means none
	asked   int64       // bytes that the handler has tried to write
	body    []byte      // what is held back
	size    int64       // of the whole body
	flushed bool        // the handler has flushed what is held back
	through bool        // the response is sent as it is written
	err     error       // returned by every further write
}

var (
	errHandlerReturned = errors.New("idempotent: write after the handler has returned")
	errTooLarge        = errors.New("idempotent: the response is over Options.MaxResponse, and an Executor must hold it until the commit")
)

func newCapture(ctx context.Context, w http.ResponseWriter, limit int) *capture {
	return &capture{w: w, ctx: ctx, before: w.Header().Clone(), limit: limit}
}

func (c *capture) Header() http.Header { return c.w.Header() }

func (c *capture) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		// net/http panics too, but later. Here the stack shows the handler.
		panic(fmt.Sprintf("idempotent: invalid WriteHeader code %d", status))
	case status == http.StatusSwitchingProtocols:
		panic("idempotent: a request with a key cannot switch protocols")
	case c.status != 0:
		// a second call, which net/http ignores too
	case status < 200:
		c.w.WriteHeader(status)
	default:
		c.status, c.sent = status, c.w.Header().Clone()
		c.length = contentLength(c.sent)
	}
}

// contentLength returns the Content-Length as net/http reads it. It is negative if there is
// none.
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

// WriteString makes the writer an io.StringWriter, as net/http's writers are.
func (c *capture) WriteString(s string) (int, error) { return c.Write([]byte(s)) }

// prepare is called before n bytes of the body are written. It sends the response if the
// response must no longer be held back.
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

// open sends what was held back, and lets the rest of the response pass.
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

// send sends the header as it was when the handler wrote it, and the body that was held back.
// Then it repeats what the handler has done to the header since, such as set trailers.
func (c *capture) send() (err error) {
	h := c.w.Header()
	now := maps.Clone(h)
	replace(h, c.sent)
	c.w.WriteHeader(c.status)
	if len(c.body) > 0 {
		_, err = c.w.Write(c.body)
	}
	if c.flushed { // a small response has trailers (http.TrailerPrefix) only if it was flushed
		_ = http.NewResponseController(c.w).Flush()
	}
	repeatChanges(h, c.sent, now)
	return err
}

// replace makes h equal to with.
func replace(h, with http.Header) {
	clear(h)
	maps.Copy(h, with)
}

// repeatChanges applies to h the differences between the headers from and to.
func repeatChanges(h, from, to http.Header) {
	for name, values := range to {
		if was, ok := from[name]; !ok || !slices.Equal(was, values) {
			h[name] = values
		}
	}
	for name := range from {
		if _, ok := to[name]; !ok {
			delete(h, name)
		}
	}
}

// Flush implements [http.Flusher]. A response that is held back is flushed when it is sent.
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

// CloseNotify implements http.CloseNotifier, as net/http's writers do. The channel receives when
// the handler's context ends, because a client that leaves does not always interrupt the handler.
func (c *capture) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(c.ctx, func() { gone <- true })
	return gone
}

// capture has no Unwrap, because with it a handler could write a response that is not
// recorded. Deadlines and full duplex belong to the connection, so a handler can set them.

func (c *capture) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(c.w).SetReadDeadline(t)
}

func (c *capture) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(c.w).SetWriteDeadline(t)
}

func (c *capture) EnableFullDuplex() error {
	return http.NewResponseController(c.w).EnableFullDuplex()
}

// Rewind discards the response that was written so far. It reports false if a part of it was
// sent. The header stays as the handler has left it. Package apierror calls it before it
// writes an error in place of a response that has begun.
func (c *capture) Rewind() bool {
	if c.through || c.err != nil && !errors.Is(c.err, errTooLarge) && !errors.Is(c.err, ErrLeaseLost) {
		return false
	}
	if c.err != nil {
		c.streams = nil // the error is held back, because another owner's answer may replace it
	}
	c.status, c.sent, c.asked, c.size, c.body, c.flushed, c.err = 0, nil, 0, 0, c.body[:0], false, nil
	return true
}

// restoreHeader undoes what the handler did to the header of a response that was not sent.
func (c *capture) restoreHeader() { replace(c.w.Header(), c.before) }

// close ends the response after the handler has returned. It reports whether the response is
// as long as its Content-Length.
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
	return encode(c.status, requestID, changedFields(c.before, c.sent, omit), c.body)
}

func (c *capture) encodeNotKept(requestID string) []byte {
	return encodeNotKept(c.status, requestID, c.sent.Get("Location"))
}

// replay answers with a recorded response.
func replay(w http.ResponseWriter, rec *record) {
	h := w.Header()
	rec.apply(h)
	h.Set(headerReplayed, "true")
	if rec.requestID != "" {
		h.Set(headerOriginal, rec.requestID)
	}
	if bodyAllowed(rec.status) {
		h.Set("Content-Length", strconv.Itoa(len(rec.body)))
	}
	w.WriteHeader(rec.status)
	if len(rec.body) > 0 {
		w.Write(rec.body)
	}
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

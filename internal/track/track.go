// Package track records the status and the size of a response, and whether its connection was
// hijacked. All middleware shares one record, which it finds through the http.ResponseWriter.
package track

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Response is the record of one response. It is filled while the handler writes to the
// writer that [Wrap] returned.
type Response struct {
	w        http.ResponseWriter
	method   string
	status   int
	bytes    int64
	hijacked bool
	encoded  bool
	informed bool // a 1xx was sent, after which the header may have been cleared

	owner     Owner
	outermost bool

	fields []field  // the fields that the final response must have
	room   [4]field // holds the first fields without another allocation
}

// Owner learns the status of a response when it is sent.
type Owner interface {
	// Answered is called with the status of a record. outermost reports whether no other
	// record of the owner is further out.
	Answered(status int, outermost bool)
}

// field is a header field of the final response.
type field struct {
	key    string
	values []string
}

// tracked is implemented by the writers of this package only.
type tracked interface{ tracker() *Response }

// Wrap returns a writer that records the response, and the record. If w already records,
// Wrap returns w itself. A foreign writer around a recording one gets its own record,
// because it may buffer.
//
// The new writer has the optional interfaces of net/http's HTTP/1 writer (http.Flusher,
// http.Hijacker, io.ReaderFrom, io.StringWriter, http.CloseNotifier) or of its HTTP/2 writer
// (http.Flusher, io.StringWriter, http.CloseNotifier), whichever w has. Otherwise it has only
// Unwrap and FlushError, for http.ResponseController. It has http.Hijacker if w unwraps to a
// writer that has it, because http.ResponseController would otherwise bypass the record.
func Wrap(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *Response) {
	if t, ok := w.(tracked); ok {
		return w, t.tracker()
	}
	encoding := w.Header()["Content-Encoding"]
	t := &Response{w: w, method: r.Method, encoded: len(encoding) > 0 && encoding[0] != ""}
	_, flush := w.(http.Flusher)
	hijack := hijacker(w) != nil
	switch {
	case flush && hijack:
		return connWriter{flushWriter{t}}, t
	case flush:
		return flushWriter{t}, t
	case hijack:
		return hijackWriter{t}, t
	default:
		return t, t
	}
}

// chain iterates over w and the writers that it unwraps to. The last one is usually the
// server's.
func chain(w http.ResponseWriter) iter.Seq[http.ResponseWriter] {
	return func(yield func(http.ResponseWriter) bool) {
		for yield(w) {
			u, ok := w.(interface{ Unwrap() http.ResponseWriter })
			if !ok {
				return
			}
			w = u.Unwrap()
		}
	}
}

// hijacker returns the writer that http.ResponseController would hijack, or nil.
func hijacker(w http.ResponseWriter) http.Hijacker {
	for w := range chain(w) {
		if h, ok := w.(http.Hijacker); ok {
			return h
		}
	}
	return nil
}

// Find returns the committed record nearest to w, among w and the writers that it unwraps to. If
// none is committed, it returns w's own record, or nil if w has none.
func Find(w http.ResponseWriter) *Response {
	for w := range chain(w) {
		if t, ok := w.(tracked); ok && t.tracker().Committed() {
			return t.tracker()
		}
	}
	if own, ok := w.(tracked); ok {
		return own.tracker()
	}
	return nil
}

// OwnerOf returns the owner of the record nearest to w that has one, or nil.
func OwnerOf(w http.ResponseWriter) Owner {
	for w := range chain(w) {
		if t, ok := w.(tracked); ok && t.tracker().owner != nil {
			return t.tracker().owner
		}
	}
	return nil
}

// Rewind discards what was written to w, and reports whether it could. The writer that the
// recording ones wrap must be a buffer with a Rewind method, and that method must return
// true. There may be no other writer in between, because it might remember what was
// written.
func Rewind(w http.ResponseWriter) bool {
	below := w
	for t, ok := below.(tracked); ok; t, ok = below.(tracked) {
		below = t.tracker().w
	}
	r, ok := below.(interface{ Rewind() bool })
	if !ok || !r.Rewind() {
		return false
	}
	for t, ok := w.(tracked); ok; t, ok = t.tracker().w.(tracked) {
		t.tracker().status, t.tracker().bytes = 0, 0
	}
	return true
}

// SetField sets a field of w's header that the final response must have even if a 1xx is
// sent first: httputil.ReverseProxy clears the whole header after a 1xx (golang/go#81207).
// The record nearest to w then restores the field.
func SetField(w http.ResponseWriter, key string, values []string) {
	w.Header()[key] = values
	for w := range chain(w) {
		if t, ok := w.(tracked); ok {
			t.tracker().keep(key, values)
			return
		}
	}
}

func (t *Response) keep(key string, values []string) {
	for i := range t.fields {
		if t.fields[i].key == key {
			t.fields[i].values = values
			return
		}
	}
	if t.fields == nil {
		t.fields = t.room[:0]
	}
	t.fields = append(t.fields, field{key, values})
}

// Restore puts back the fields that are missing since a 1xx was sent. A record does this
// itself before it sends a status, so a call of Restore is only needed for a handler that
// writes nothing else.
func (t *Response) Restore() {
	if !t.informed || t.status != 0 {
		return
	}
	h := t.Header()
	for _, f := range t.fields {
		if !holds(h[f.key], f.values) {
			h[f.key] = slices.Concat(f.values, h[f.key]) // before values that were added since
		}
	}
}

// inform notes that a 1xx was sent. It drops the fields that something further in has
// replaced, because another record may restore those.
func (t *Response) inform() {
	if t.informed {
		return
	}
	t.informed = true
	h := t.Header()
	t.fields = slices.DeleteFunc(t.fields, func(f field) bool {
		return len(h[f.key]) > 0 && !holds(h[f.key], f.values)
	})
}

// holds reports whether the values of a field contain all items of others. An item may have been
// added to a list within a value.
func holds(values, others []string) bool {
	held := items(values)
	return !slices.ContainsFunc(items(others), func(item string) bool { return !slices.Contains(held, item) })
}

// items returns the elements of a list field (RFC 9110, section 5.6.1). It splits the
// values of other fields in the same way.
func items(values []string) (list []string) {
	for _, v := range values {
		start, quoted := 0, false
		for i := 0; i < len(v); i++ {
			switch {
			case v[i] == '"':
				quoted = !quoted
			case v[i] == '\\' && quoted:
				i++
			case v[i] == ',' && !quoted:
				list = append(list, strings.TrimSpace(v[start:i]))
				start = i + 1
			}
		}
		list = append(list, strings.TrimSpace(v[start:]))
	}
	return list
}

// Innermost returns the last writer that w unwraps to, which is usually the server's.
func Innermost(w http.ResponseWriter) (innermost http.ResponseWriter) {
	for w := range chain(w) {
		innermost = w
	}
	return innermost
}

// Status returns the status that was sent, or 0 if only informational ones were.
func (t *Response) Status() int { return t.status }

// Bytes returns how many bytes of the body were written. For a HEAD request it is 0, because
// net/http accepts them and sends none.
func (t *Response) Bytes() int64 {
	if t.method == http.MethodHead {
		return 0
	}
	return t.bytes
}

// Hijacked reports whether the connection was taken over.
func (t *Response) Hijacked() bool { return t.hijacked }

// Committed reports whether the response can no longer be replaced, because its status was
// sent or its connection was hijacked.
func (t *Response) Committed() bool { return t.status != 0 || t.hijacked }

func (t *Response) tracker() *Response          { return t }
func (t *Response) Header() http.Header         { return t.w.Header() }
func (t *Response) Unwrap() http.ResponseWriter { return t.w }

func (t *Response) WriteHeader(status int) {
	final := status >= 200 || status == http.StatusSwitchingProtocols
	if final {
		t.Restore()
	}
	t.w.WriteHeader(status) // panics on an invalid status, before anything is sent
	if final {
		t.commit(status)
	} else {
		t.inform()
	}
}

func (t *Response) Write(p []byte) (int, error) {
	t.Restore()
	t.commit(http.StatusOK)
	n, err := t.w.Write(p)
	t.bytes += int64(n)
	return n, err
}

// FlushError is called by http.ResponseController.
func (t *Response) FlushError() error {
	t.Restore()
	err := http.NewResponseController(t.w).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		t.commit(http.StatusOK)
	}
	return err
}

// commit records the status that is sent.
func (t *Response) commit(status int) {
	if t.status != 0 {
		return
	}
	t.status = status
	t.notify()
}

// notify reports the status to the owner, if there is a status and an owner.
func (t *Response) notify() {
	if t.owner != nil && t.status != 0 {
		t.owner.Answered(t.status, t.outermost)
	}
}

// SetOwner makes o the owner of w's record and of those further out that have none, so that
// layers outside the one that made o find it too. If outermost is true, the last of these
// records becomes o's outermost.
func SetOwner(w http.ResponseWriter, o Owner, outermost bool) {
	var last *Response
	for w := range chain(w) {
		t, ok := w.(tracked)
		if !ok {
			continue
		}
		if t.tracker().Owned() {
			break
		}
		if last != nil {
			last.setOwner(o, false)
		}
		last = t.tracker()
	}
	last.setOwner(o, outermost)
}

func (t *Response) setOwner(o Owner, outermost bool) {
	t.owner, t.outermost = o, outermost
	t.notify()
}

// Owned reports whether the record has an owner.
func (t *Response) Owned() bool { return t.owner != nil }

// Encoded reports whether a Content-Encoding was set before the record was made: a writer further
// out encodes all bodies, so the field must stay when the body is replaced.
func (t *Response) Encoded() bool { return t.encoded }

// Complete reports whether a committed response is known to be complete: its status or
// method allows no body, or all bytes of its Content-Length were written.
func (t *Response) Complete() bool {
	switch {
	case t.hijacked || t.status == 0:
		return false
	case t.method == http.MethodHead, t.status == http.StatusNoContent, t.status == http.StatusNotModified:
		return true
	}
	want, err := strconv.ParseInt(t.Header().Get("Content-Length"), 10, 64)
	return err == nil && want == t.bytes
}

// flushWriter has the interfaces of net/http's HTTP/2 writer and of httptest.ResponseRecorder.
type flushWriter struct{ *Response }

func (f flushWriter) Flush() { _ = f.FlushError() }

func (f flushWriter) WriteString(s string) (int, error) {
	f.Restore()
	f.commit(http.StatusOK)
	n, err := io.WriteString(f.w, s)
	f.bytes += int64(n)
	return n, err
}

// CloseNotify implements http.CloseNotifier. It is deprecated, but gin's Context.Stream calls it
// without asking whether it is there. If no writer below has it, the channel never receives.
func (f flushWriter) CloseNotify() <-chan bool {
	for w := range chain(f.w) {
		if n, ok := w.(interface{ CloseNotify() <-chan bool }); ok {
			return n.CloseNotify()
		}
	}
	return nil
}

// hijack implements http.Hijacker for the writers below.
func (t *Response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := hijacker(t.w).Hijack()
	if err == nil {
		t.hijacked = true
	}
	return conn, rw, err
}

// hijackWriter is for a foreign writer that only has Unwrap, around net/http's HTTP/1 writer.
type hijackWriter struct{ *Response }

func (h hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.hijack() }

// connWriter has the interfaces of net/http's HTTP/1 writer.
type connWriter struct{ flushWriter }

func (c connWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return c.hijack() }

// ReadFrom passes the copy to the writer below, so that a file reaches the ReadFrom of the
// connection (sendfile).
func (c connWriter) ReadFrom(src io.Reader) (n int64, err error) {
	below, ok := c.w.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c.Response}, src)
	}
	c.Restore()
	if c.status != 0 {
		n, err = below.ReadFrom(src)
		c.bytes += n
		return n, err
	}
	c.status = http.StatusOK // stays if src panics
	n, err = below.ReadFrom(src)
	if n == 0 && !errors.Is(err, http.ErrContentLength) {
		c.status = 0 // net/http does not even send a status for an empty source
	}
	c.bytes += n
	c.notify()
	return n, err
}

// Package track records what happened to a response: its status, its size, whether it was
// hijacked. Every middleware that needs to know asks for the same tracker, which is made once
// per request and found again through the ResponseWriter.
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

// Response is the record of one response, filled while the handler writes through the writer
// that Wrap returned.
type Response struct {
	w        http.ResponseWriter
	method   string
	status   int
	bytes    int64
	hijacked bool
	encoded  bool
	informed bool // a 1xx was sent, and may have cleared the header

	owner     Owner
	outermost bool

	fields []field
	room   [4]field // for the first of them
}

// Owner learns the status of a response when it is known.
type Owner interface {
	// Answered is told the status that a record has, and whether that is the outermost one.
	Answered(status int, outermost bool)
}

// field is one that must be in the header of the final response.
type field struct {
	key    string
	values []string
}

// tracked is what a writer of this package has and no other can.
type tracked interface{ tracker() *Response }

// Wrap returns a writer that records, and its record. A writer that records already is returned
// as it is. A foreign writer around one is wrapped anew, never looked through: it may buffer,
// and then only what is written to it tells what the handler did.
//
// The result has the optional interfaces that w has, in three shapes: those of net/http's HTTP/1
// writer (http.Flusher, http.Hijacker, io.ReaderFrom, io.StringWriter), those of its HTTP/2
// writer and of recorders (http.Flusher, io.StringWriter), and, for anything else, Unwrap and
// FlushError alone, for http.ResponseController. A writer that hides http.Hijacker but unwraps
// to one gets it back: http.ResponseController would go past the record otherwise.
func Wrap(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *Response) {
	if t, ok := w.(tracked); ok {
		return w, t.tracker()
	}
	t := new(Response)
	return WrapInto(t, w, r), t
}

// Is reports whether w records.
func Is(w http.ResponseWriter) bool {
	_, ok := w.(tracked)
	return ok
}

// WrapInto is Wrap around a writer that does not record. Its record is t, which is part of
// something larger.
func WrapInto(t *Response, w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	encoding := w.Header()["Content-Encoding"]
	t.w, t.method, t.encoded = w, r.Method, len(encoding) > 0 && encoding[0] != ""
	_, flush := w.(http.Flusher)
	hijack := hijacker(w) != nil
	switch {
	case flush && hijack:
		return connWriter{flushWriter{t}}
	case flush:
		return flushWriter{t}
	case hijack:
		return hijackWriter{t}
	default:
		return t
	}
}

// chain iterates over w and the writers that it unwraps to, towards the one that net/http made.
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

// hijacker is the writer that http.ResponseController would hijack, nil for none.
func hijacker(w http.ResponseWriter) http.Hijacker {
	for w := range chain(w) {
		if h, ok := w.(http.Hijacker); ok {
			return h
		}
	}
	return nil
}

// Find returns the record nearest to w among w and the writers that it unwraps to that are
// committed, else w's own, else nil. A record further out than w may lag behind what was written
// to w, but what it says has gone out has.
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

// OwnerOf returns the owner of the record nearest to w that has one. It is nil if there is none.
func OwnerOf(w http.ResponseWriter) Owner {
	for w := range chain(w) {
		if t, ok := w.(tracked); ok && t.tracker().owner != nil {
			return t.tracker().owner
		}
	}
	return nil
}

// Rewind takes back what was written through w, and reports whether it could: if the writer
// below the trackers holds everything back, and has a method Rewind that says so. Nothing else
// may stand in between, since it may have state about what was written.
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

// SetField sets a field of w's header that must be in the final response too if a 1xx comes
// first. httputil.ReverseProxy clears the whole header after a 1xx (golang/go#81207); the record
// nearest to w puts the field back then.
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

// Restore puts back the fields that are missing since a 1xx was sent. A writer calls it before the
// status goes out; it needs to be called only where nothing was written.
func (t *Response) Restore() {
	if !t.informed || t.status != 0 {
		return
	}
	h := t.Header()
	for _, f := range t.fields {
		if !holds(h[f.key], f.values) {
			h[f.key] = slices.Concat(f.values, h[f.key]) // as if it had been there all the time
		}
	}
}

// inform notes that a 1xx has gone out. A field that somebody further in has replaced is theirs
// to put back, by a record that this one may know nothing of.
func (t *Response) inform() {
	if t.informed {
		return
	}
	t.informed = true
	h := t.Header()
	t.fields = slices.DeleteFunc(t.fields, func(f field) bool { return len(h[f.key]) > 0 && !holds(h[f.key], f.values) })
}

// holds reports whether the values of a field hold all items of some others. Who adds an item to a
// list may do so within a value: whoever is further in, or another record.
func holds(values, others []string) bool {
	held := items(values)
	return !slices.ContainsFunc(items(others), func(item string) bool { return !slices.Contains(held, item) })
}

// items returns the elements of a list field (RFC 9110, section 5.6.1), or the value of another
// one.
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

// Innermost follows Unwrap to the writer that net/http made, or as far as it leads.
func Innermost(w http.ResponseWriter) (innermost http.ResponseWriter) {
	for w := range chain(w) {
		innermost = w
	}
	return innermost
}

// Status is the first status that was not informational, 0 while there is none.
func (t *Response) Status() int { return t.status }

// Bytes is the number of body bytes that the writer below took. Of a response to HEAD it is 0:
// net/http takes them and sends none.
func (t *Response) Bytes() int64 {
	if t.method == http.MethodHead {
		return 0
	}
	return t.bytes
}

// Hijacked reports whether the connection was taken over.
func (t *Response) Hijacked() bool { return t.hijacked }

// Committed reports whether the response can no longer be replaced: its status has gone out or its
// connection is hijacked.
func (t *Response) Committed() bool { return t.status != 0 || t.hijacked }

func (t *Response) tracker() *Response          { return t }
func (t *Response) Header() http.Header         { return t.w.Header() }
func (t *Response) Unwrap() http.ResponseWriter { return t.w }

func (t *Response) WriteHeader(status int) {
	final := status >= 200 || status == http.StatusSwitchingProtocols
	if final {
		t.Restore()
	}
	t.w.WriteHeader(status) // panics on a nonsense status: nothing has gone out then
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

// FlushError is what http.ResponseController calls.
func (t *Response) FlushError() error {
	t.Restore()
	err := http.NewResponseController(t.w).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		t.commit(http.StatusOK)
	}
	return err
}

func (t *Response) commit(status int) {
	if t.status != 0 {
		return
	}
	t.status = status
	t.tell()
}

func (t *Response) tell() {
	if t.owner != nil && t.status != 0 {
		t.owner.Answered(t.status, t.outermost)
	}
}

// SetOwner makes o the owner of w's record, and of those further out that have none: layers outside
// of the one that made o, such as a recovery, find it too. outermost says that o owned none before.
// The last of the records is its outermost then.
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
	t.tell()
}

// Owned reports whether there is an owner.
func (t *Response) Owned() bool { return t.owner != nil }

// Encoded reports whether a Content-Encoding was set before anything inside could: a writer
// further out encodes all bodies, and its header must stay when the body is replaced.
func (t *Response) Encoded() bool { return t.encoded }

// Complete reports whether a committed response lacks nothing, as far as can be known: its status
// or method allows no body, or all bytes of its Content-Length were written.
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

// flushWriter is the shape of net/http's HTTP/2 writer and of httptest.ResponseRecorder. One
// pointer wide, so it fits an interface without an allocation.
type flushWriter struct{ *Response }

func (f flushWriter) Flush() { _ = f.FlushError() }

func (f flushWriter) WriteString(s string) (int, error) {
	f.Restore()
	f.commit(http.StatusOK)
	n, err := io.WriteString(f.w, s)
	f.bytes += int64(n)
	return n, err
}

// hijack is Hijack, for the shapes that have it.
func (t *Response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := hijacker(t.w).Hijack()
	if err == nil {
		t.hijacked = true
	}
	return conn, rw, err
}

// hijackWriter is for a foreign writer that has nothing but Unwrap, around net/http's HTTP/1
// writer.
type hijackWriter struct{ *Response }

func (h hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.hijack() }

// connWriter is the shape of net/http's HTTP/1 writer.
type connWriter struct{ flushWriter }

func (c connWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return c.hijack() }

// ReadFrom hands the copy to the writer below, so that a file still reaches the connection's own
// ReadFrom (sendfile).
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
	c.status = http.StatusOK // stays if src panics half-way
	n, err = below.ReadFrom(src)
	if n == 0 && !errors.Is(err, http.ErrContentLength) {
		c.status = 0 // net/http sends nothing, not even a status, for a source that gave nothing
	}
	c.bytes += n
	c.tell()
	return n, err
}

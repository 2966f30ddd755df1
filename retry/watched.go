package retry

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
)

// fault is the first error of an attempt's bodies. The base transport may still read them
// after it has returned.
type fault struct{ atomic.Pointer[error] }

func (f *fault) set(err error) { f.CompareAndSwap(nil, &err) }

func (f *fault) err() error {
	if err := f.Load(); err != nil {
		return *err
	}
	return nil
}

// watchedBody sets fault if a body cannot be sent, because its reader returns an error or
// its length is not the request's ContentLength. It closes the body once.
type watchedBody struct {
	io.ReadCloser
	fault  *fault
	length int64 // of the request; 0 and -1 mean unknown
	n      int64
	closed atomic.Bool
}

func (w *watchedBody) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.n += int64(n)
	switch {
	case w.closed.Load(): // an error may only say that the body is closed
	case err != nil && err != io.EOF:
		w.fault.set(err)
	case w.length > 0 && (w.n > w.length || err == io.EOF && w.n < w.length):
		w.fault.set(fmt.Errorf("retry: the request body does not have the ContentLength of %d", w.length))
	}
	return n, err
}

func (w *watchedBody) Close() error {
	if w.closed.Swap(true) {
		return nil
	}
	return w.ReadCloser.Close()
}

// The types of the bodies that http.NewRequest makes for bytes and strings.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// inMemory reports whether a body holds bytes or a string, as http.NewRequest makes it,
// and has the request's length. Such a body is not watched. Reading it cannot fail, and
// net/http sends the header and the body in one packet only if the body is not wrapped.
func inMemory(body io.ReadCloser, length int64) bool {
	if t := reflect.TypeOf(body); t != nopCloser && t != nopCloserWriterTo {
		return false
	}
	reader := reflect.ValueOf(body).Field(0).Interface()
	switch reader.(type) {
	case *bytes.Buffer, *bytes.Reader, *strings.Reader:
	default:
		return false
	}
	left := reader.(interface{ Len() int }).Len()
	return length == int64(left) || length <= 0
}

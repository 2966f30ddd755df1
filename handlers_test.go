package seawall_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// plain returns a handler without an error.
func plain(f func(http.ResponseWriter, *http.Request)) http.Handler { return http.HandlerFunc(f) }

var ok = plain(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })

// failing returns a handler that calls f, if it is not nil, and then returns err.
func failing(f func(http.ResponseWriter), err error) http.Handler {
	return apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if f != nil {
			f(w)
		}
		return err
	})
}

func panicking(v any) http.Handler {
	return plain(func(http.ResponseWriter, *http.Request) { panic(v) })
}

// panickyStringer panics when it is printed, with a value that can be printed.
type panickyStringer struct{ Secret string }

func (panickyStringer) String() string { panic("do not look") }

// panickyError panics when it is printed, with itself, which fmt does not catch.
type panickyError struct{ Secret string }

func (s panickyError) Error() string { panic(s) }

func part(w http.ResponseWriter) { io.WriteString(w, `{"id":`) }

func flushedPart(w http.ResponseWriter) {
	part(w)
	w.(http.Flusher).Flush()
}

func whole(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "2")
	io.WriteString(w, "{}")
}

// reading is a handler that reads the body and responds with its length.
var reading = apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	_, err = fmt.Fprint(w, len(b))
	return err
})

func mux(pattern string, h http.Handler) *http.ServeMux {
	m := http.NewServeMux()
	m.Handle(pattern, h)
	return m
}

// showID responds with the request id of its context.
var showID = plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, apierror.RequestIDFrom(r.Context())) })

var showPrincipal = plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, seawall.Principal(r.Context())) })

func method(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }

func path(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }

// body gives a request a body of n bytes, without a Content-Length.
func body(n int) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = http.MethodPost
		r.Body = io.NopCloser(struct{ io.Reader }{strings.NewReader(strings.Repeat("x", n))})
		r.ContentLength = -1
	}
}

func without(keys ...string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		for _, key := range keys {
			require.NotContains(t, a.Header, key)
		}
	}
}

// acceptGzip sets the header itself, so that the client does not decompress.
func acceptGzip(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }

func everyone(*http.Request) bool { return true }

// everybody is the key of every request.
func everybody(*http.Request) (string, error) { return "everybody", nil }

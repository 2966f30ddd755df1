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

// plain is a handler that cannot fail.
func plain(f func(http.ResponseWriter, *http.Request)) http.Handler { return http.HandlerFunc(f) }

var ok = plain(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })

// failing is a handler that answers something and then fails.
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

// panickyStringer cannot be printed, and panics with something that can.
type panickyStringer struct{ Secret string }

func (panickyStringer) String() string { panic("do not look") }

// panickyError cannot be printed, and panics with itself: fmt gives up.
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

// reading is a handler that reads the whole body and says how long it was.
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

// showID answers the id that the context holds.
var showID = plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, apierror.RequestIDFrom(r.Context())) })

var showPrincipal = plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, seawall.Principal(r.Context())) })

func method(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }

func path(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }

// body sends n bytes, of which the server does not know beforehand how many they are.
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

// acceptGzip asks for it by hand: the client then does not decode.
func acceptGzip(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }

func everyone(*http.Request) bool { return true }

// everybody is the key of every request.
func everybody(*http.Request) (string, error) { return "everybody", nil }

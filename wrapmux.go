package seawall

import (
	"net/http"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/route"
)

// WrapMux returns a handler that serves mux and turns the mux's own 404 and 405 responses
// into error objects. A 405 keeps its Allow header. The mux's redirects, and all responses
// of its handlers, are left alone. The access log learns the pattern that matched. WrapMux
// panics if mux is nil.
func WrapMux(mux *http.ServeMux) http.Handler {
	if mux == nil {
		panic("seawall: WrapMux was given a nil *http.ServeMux")
	}
	return wrappedMux{mux}
}

type wrappedMux struct{ mux *http.ServeMux }

// Unrouted implements [route.Router].
func (m wrappedMux) Unrouted(r *http.Request) bool {
	return r.RequestURI == "*" || route.Unrouted(m.mux, r)
}

// ServeHTTP implements [http.Handler].
func (m wrappedMux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.RequestURI == "*" { // the mux would answer without a body
		apierror.Write(w, r, apierror.CodeParameterInvalid.Messagef("The request target * names no resource."))
		return
	}
	h, pattern := m.mux.Handler(r)
	if r.Method == http.MethodConnect && pattern == r.URL.Path+"/" {
		pattern = "" // the mux returns the path as the pattern of a CONNECT that it redirects
	}
	if pattern == "" {
		reqstate.SetNoRoute(w, r)
		serveUnmatched(w, r, h)
		return
	}
	if route.IsRedirect(h) {
		reqstate.SetUnhandled(w, r)
	}
	reqstate.SetPattern(w, r, pattern)
	defer func() { // a mux inside this one may have set a more specific pattern
		if reqstate.Settle(r); r.Pattern != pattern {
			reqstate.SetPattern(w, r, r.Pattern)
		}
	}()
	m.mux.ServeHTTP(w, r)
}

// serveUnmatched answers a request that matches no pattern. h is the handler that the mux chose
// for it, which writes a 404, a 405 or a redirect.
func serveUnmatched(w http.ResponseWriter, r *http.Request, h http.Handler) {
	probe := headRecorder{header: make(http.Header)}
	h.ServeHTTP(&probe, r)
	switch probe.status {
	case http.StatusNotFound:
		apierror.Write(w, r, apierror.CodeResourceMissing.Messagef("The requested URL does not exist."))
	case http.StatusMethodNotAllowed:
		apierror.Write(w, r, apierror.MethodNotAllowed(probe.header.Values("Allow")...))
	default:
		h.ServeHTTP(w, r)
	}
}

// headRecorder records the status and header of a response, and drops the body.
type headRecorder struct {
	header http.Header
	status int
}

func (h *headRecorder) Header() http.Header         { return h.header }
func (h *headRecorder) Write(p []byte) (int, error) { return len(p), nil }
func (h *headRecorder) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

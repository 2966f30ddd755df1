package seawall

import (
	"net/http"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/route"
)

// WrapMux serves mux, with its own 404 and 405 as error objects; the 405 keeps its Allow
// header. Its redirects, and whatever the handlers answer, are left alone. It also makes the
// matched pattern known to [AccessLog].
func WrapMux(mux *http.ServeMux) http.Handler {
	if mux == nil {
		panic("seawall: WrapMux of a nil *http.ServeMux")
	}
	return wrappedMux{mux}
}

// wrappedMux is a mux whose own answers are error objects.
type wrappedMux struct{ mux *http.ServeMux }

// Unrouted implements [route.Router], for package idempotent: what no handler has answered is no
// key's answer.
func (m wrappedMux) Unrouted(r *http.Request) bool {
	return r.RequestURI == "*" || route.Unrouted(m.mux, r)
}

// ServeHTTP implements [http.Handler].
func (m wrappedMux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.RequestURI == "*" { // the mux answers it by itself, without a body; net/http answers OPTIONS * before us
		apierror.Write(w, r, apierror.CodeParameterInvalid.Messagef("The request target * names no resource."))
		return
	}
	h, pattern := m.mux.Handler(r)
	if r.Method == http.MethodConnect && pattern == r.URL.Path+"/" {
		pattern = "" // of a CONNECT that it redirects, the mux takes the path for the pattern
	}
	if pattern == "" {
		reqstate.SetNoRoute(w, r)
		refuse(w, r, h)
		return
	}
	reqstate.SetPattern(w, r, pattern)
	defer func() { // a mux inside this one knows more
		if reqstate.Settle(r); r.Pattern != pattern {
			reqstate.SetPattern(w, r, r.Pattern)
		}
	}()
	m.mux.ServeHTTP(w, r)
}

// refuse answers as the handler that the mux chose for a request without a route does, in our form.
func refuse(w http.ResponseWriter, r *http.Request, h http.Handler) {
	answer := muxAnswer{header: make(http.Header)}
	h.ServeHTTP(&answer, r)
	switch answer.status {
	case http.StatusNotFound:
		apierror.Write(w, r, apierror.CodeResourceMissing.Messagef("The requested URL does not exist."))
	case http.StatusMethodNotAllowed:
		apierror.Write(w, r, apierror.MethodNotAllowed(answer.header.Values("Allow")...))
	default: // a redirect
		h.ServeHTTP(w, r)
	}
}

// muxAnswer keeps status and headers of what a handler of net/http's own writes.
type muxAnswer struct {
	header http.Header
	status int
}

func (a *muxAnswer) Header() http.Header         { return a.header }
func (a *muxAnswer) Write(p []byte) (int, error) { return len(p), nil }
func (a *muxAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

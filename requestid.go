package seawall

import (
	"cmp"
	"log/slog"
	"net/http"

	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// RequestIDOptions are the options of [RequestID].
type RequestIDOptions struct {
	// Inbound reports whether an id that came with the request, as Request-Id or
	// X-Request-Id, may be used: for example because the service's own gateway sets it. If
	// nil, or if it panics, no such id is used, because a client could send the id of
	// another request and so mislead whoever searches the logs. An id is used only if it
	// has 1 to 128 of the characters A-Z a-z 0-9 . _ - and if the request does not have two
	// different ids.
	Inbound func(*http.Request) bool

	// Logger receives a record if Inbound panics. If nil, slog.Default() is used.
	Logger *slog.Logger
}

// RequestID gives each request an id: "req_" and 16 base62 characters from a cryptographic
// source. Before the handler runs, the id is in the request's context
// ([apierror.RequestIDFrom]) and in the response's Request-Id and X-Request-Id headers.
// Inside another RequestID it keeps the outer id. If o is nil, the defaults apply.
func RequestID(o *RequestIDOptions) Middleware {
	opt := valueOf(o)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, c, state := reqstate.Enter(w, r)
			if opt.Inbound != nil && state.RequestID() == "" && opt.trusts(c) {
				state.SetRequestID(inboundID(r.Header))
			}
			state.AnnounceRequestID(w, reqid.New)
			reqstate.Serve(next, w, r, c)
			_, response := track.Wrap(w, c)
			response.Restore() // for a handler that has written nothing after a 1xx
		})
	}
}

// trusts reports whether Inbound accepts the request. It recovers from a panic itself,
// because [Recover] logs the id and so must be further in.
func (o *RequestIDOptions) trusts(r *http.Request) (trusted bool) {
	defer func() {
		if v := recover(); v != nil {
			logPanic(r.Context(), o.Logger, r, "RequestIDOptions.Inbound", v)
		}
	}()
	return o.Inbound(r)
}

// inboundID returns the id in a request's header. It is empty if there is none, if there are two
// different ones, if one is not valid, or if a field has several values.
func inboundID(h http.Header) string {
	id := ""
	for _, key := range [...]string{"Request-Id", "X-Request-Id"} {
		values := h[key]
		if len(values) == 0 {
			continue
		}
		if len(values) > 1 || !reqid.Valid(values[0]) || id != "" && id != values[0] {
			return ""
		}
		id = values[0]
	}
	return id
}

// ForwardRequestID returns an [http.RoundTripper] for the calls that a service makes while
// it serves a request. It sends the id of that request, which it finds in the context of
// the call, as X-Request-Id. A call that already has this header, even an empty one, is
// left alone. If base is nil, http.DefaultTransport is used.
//
// The id is no proof of who is calling. Send it only to services that may see it.
func ForwardRequestID(base http.RoundTripper) http.RoundTripper {
	return forwarder{cmp.Or(base, http.DefaultTransport)}
}

type forwarder struct{ base http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (f forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	id := reqstate.From(r.Context()).RequestID()
	if _, has := r.Header["X-Request-Id"]; has || id == "" {
		return f.base.RoundTrip(r)
	}
	out := *r // a RoundTripper must not change its request
	out.Header = r.Header.Clone()
	if out.Header == nil {
		out.Header = make(http.Header, 1)
	}
	out.Header["X-Request-Id"] = []string{id}
	resp, err := f.base.RoundTrip(&out)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the base.
func (f forwarder) CloseIdleConnections() {
	if c, ok := f.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

package seawall

import (
	"log/slog"
	"net/http"

	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// RequestIDOptions are the options of [RequestID].
type RequestIDOptions struct {
	// Inbound tells whether an id that came with the request (Request-Id or X-Request-Id) may be
	// used: because a gateway of ours set it, say. Nil trusts nobody: whoever chooses the id
	// chooses what support finds in the logs. An id that is not 1 to 128 of A-Z a-z 0-9 . _ - is
	// never used, nor one that came twice, nor two that differ. If it panics nobody is trusted.
	Inbound func(*http.Request) bool

	// Logger gets a record when Inbound panics. Nil is slog.Default().
	Logger *slog.Logger
}

// RequestID gives every request an id: "req_" and 16 base62 characters from a cryptographic
// source. The id is in the request's context ([apierror.RequestIDFrom]) and in the response's
// Request-Id and X-Request-Id headers before the handler runs, so that successes carry it too.
// Inside another RequestID it keeps the outer id. Nil options are the defaults.
func RequestID(o *RequestIDOptions) Middleware {
	var opt RequestIDOptions
	if o != nil {
		opt = *o
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, c, state := reqstate.Enter(w, r)
			if opt.Inbound != nil && state.RequestID() == "" && opt.trusts(c) {
				state.SetRequestID(inboundID(r.Header))
			}
			state.AnnounceRequestID(w, reqid.New)
			reqstate.Serve(next, w, r, c)
			_, response := track.Wrap(w, c)
			response.Restore() // for a handler that has written nothing but a 1xx
		})
	}
}

// trusts asks the hook. It runs outside of Recover, which needs an id to log.
func (o *RequestIDOptions) trusts(r *http.Request) (trusted bool) {
	defer func() {
		if v := recover(); v != nil {
			logPanic(o.Logger, r, "RequestIDOptions.Inbound", v)
		}
	}()
	return o.Inbound(r)
}

// inboundID is the one well-formed id of a request's headers, "" where there is none or more
// than one.
func inboundID(h http.Header) string {
	id := ""
	for _, key := range [...]string{"Request-Id", "X-Request-Id"} {
		switch values := h[key]; {
		case len(values) == 0:
		case len(values) > 1, !reqid.Valid(values[0]), id != "" && id != values[0]:
			return ""
		default:
			id = values[0]
		}
	}
	return id
}

// ForwardRequestID returns a RoundTripper that sends the id of the request on whose behalf a
// call is made (the one in the outbound request's context) along as X-Request-Id, unless the
// call has that header, be it empty. Nil is http.DefaultTransport. An id identifies, it does not
// authenticate: send it only to services that may see it.
func ForwardRequestID(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return forwarder{base}
}

type forwarder struct{ base http.RoundTripper }

func (f forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	id := reqstate.From(r.Context()).RequestID()
	if _, has := r.Header["X-Request-Id"]; has || id == "" {
		return f.base.RoundTrip(r)
	}
	// A RoundTripper must not change the request that it was given.
	out := *r
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

// CloseIdleConnections passes http.Client's call on.
func (f forwarder) CloseIdleConnections() {
	if c, ok := f.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

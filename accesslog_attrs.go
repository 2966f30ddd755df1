package seawall

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/plain"
)

// Bounds of texts in the access log, in bytes.
const (
	maxMethod  = 32  // longer than every registered method (RFC 9110, section 16.1)
	maxPattern = 256 // a router may use the path as its pattern
	maxCode    = 64
)

// accessRecord is what a line of the access log says about a request.
type accessRecord struct {
	method, pattern   string
	status            int
	bytes             int64
	duration          time.Duration
	requestID         string
	code, lateCode    apierror.Code
	replayed, aborted bool
}

// attrs returns the attributes of the line, with our names or with those of OpenTelemetry.
func (a *accessRecord) attrs(semantic bool) []slog.Attr {
	attrs := make([]slog.Attr, 0, 8)
	codeKey := "code"
	if semantic {
		attrs = a.appendSemantic(attrs)
		codeKey = "error.type"
	} else {
		attrs = append(attrs,
			slog.String("method", plain.Text(a.method, maxMethod)),
			slog.String("pattern", plain.Text(a.pattern, maxPattern)),
			slog.Int("status", a.status),
			slog.Int64("bytes", a.bytes),
			slog.Duration("duration", a.duration))
	}
	attrs = append(attrs, slog.String("request_id", a.requestID))
	if a.code != "" {
		attrs = append(attrs, slog.String(codeKey, plain.Text(string(a.code), maxCode)))
	}
	if a.lateCode != "" {
		attrs = append(attrs, slog.String("late_code", plain.Text(string(a.lateCode), maxCode)))
	}
	if a.replayed {
		attrs = append(attrs, slog.Bool("replayed", true))
	}
	if a.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	return attrs
}

// appendSemantic appends the attributes that have a name in
// https://opentelemetry.io/docs/specs/semconv/http/.
//
//nolint:sloglint // those names have dots
func (a *accessRecord) appendSemantic(attrs []slog.Attr) []slog.Attr {
	if hasSemanticName(a.method) {
		attrs = append(attrs, slog.String("http.request.method", a.method))
	} else {
		attrs = append(attrs,
			slog.String("http.request.method", "_OTHER"),
			slog.String("http.request.method_original", plain.Text(a.method, maxMethod)))
	}
	return append(attrs,
		slog.String("http.route", httpRoute(plain.Text(a.pattern, maxPattern))),
		slog.Int("http.response.status_code", a.status),
		slog.Int64("http.response.body.size", a.bytes),
		slog.Float64("http.server.request.duration", a.duration.Seconds()))
}

// hasSemanticName reports whether the conventions know a method.
func hasSemanticName(method string) bool {
	switch method {
	case http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
		http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace, "QUERY":
		return true
	default:
		return false
	}
}

// httpRoute returns a pattern without its method.
func httpRoute(pattern string) string {
	if method, route, ok := strings.Cut(pattern, " "); ok && !strings.Contains(method, "/") {
		return strings.TrimLeft(route, " ")
	}
	return pattern
}

package seawall

import (
	"log/slog"
	"net/http"

	"github.com/seawall-go/seawall/internal/plain"
)

// Bounds of texts in the access log, in bytes.
const (
	maxMethod  = 32  // longer than every registered method (RFC 9110, section 16.1)
	maxPattern = 256 // a router may use the path as its pattern
	maxCode    = 64
)

// attrs returns the attributes of the line, with our names or with those of OpenTelemetry.
func (e *Event) attrs(semantic bool) []slog.Attr {
	attrs := make([]slog.Attr, 0, 8)
	codeKey := "code"
	if semantic {
		attrs = e.appendSemantic(attrs)
		codeKey = "error.type"
	} else {
		attrs = append(attrs,
			slog.String("method", plain.Text(e.Method, maxMethod)),
			slog.String("pattern", plain.Text(e.Pattern, maxPattern)),
			slog.Int("status", e.Status),
			slog.Int64("bytes", e.Bytes),
			slog.Duration("duration", e.Duration))
	}
	attrs = append(attrs, slog.String("request_id", e.RequestID))
	if e.Code != "" {
		attrs = append(attrs, slog.String(codeKey, plain.Text(string(e.Code), maxCode)))
	}
	if e.LateCode != "" {
		attrs = append(attrs, slog.String("late_code", plain.Text(string(e.LateCode), maxCode)))
	}
	if e.Replayed {
		attrs = append(attrs, slog.Bool("replayed", true))
	}
	if e.Aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	return attrs
}

// appendSemantic appends the attributes that have a name in
// https://opentelemetry.io/docs/specs/semconv/http/.
//
//nolint:sloglint // those names have dots
func (e *Event) appendSemantic(attrs []slog.Attr) []slog.Attr {
	if hasSemanticName(e.Method) {
		attrs = append(attrs, slog.String("http.request.method", e.Method))
	} else {
		attrs = append(attrs,
			slog.String("http.request.method", "_OTHER"),
			slog.String("http.request.method_original", plain.Text(e.Method, maxMethod)))
	}
	return append(attrs,
		slog.String("http.route", (&Event{Pattern: plain.Text(e.Pattern, maxPattern)}).Route()),
		slog.Int("http.response.status_code", e.Status),
		slog.Int64("http.response.body.size", e.Bytes),
		slog.Float64("http.server.request.duration", e.Duration.Seconds()))
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

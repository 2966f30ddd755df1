package seawall

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

// logNames is how an access log calls and writes what it tells.
type logNames struct {
	pattern, status, bytes, code string

	method   func(to []slog.Attr, method string) []slog.Attr
	route    func(pattern string) string
	duration func(time.Duration) slog.Attr
}

// maxMethod is longer than every registered method (RFC 9110, section 16.1), and shorter than
// what a stranger may send.
const maxMethod = 32

var plainNames = logNames{
	pattern: "pattern",
	status:  "status",
	bytes:   "bytes",
	code:    "code",
	method: func(to []slog.Attr, method string) []slog.Attr {
		return append(to, slog.String("method", plain.Text(method, maxMethod)))
	},
	route:    func(pattern string) string { return pattern },
	duration: func(d time.Duration) slog.Attr { return slog.Duration("duration", d) },
}

// semanticNames are those of https://opentelemetry.io/docs/specs/semconv/http/.
var semanticNames = logNames{
	pattern: "http.route",
	status:  "http.response.status_code",
	bytes:   "http.response.body.size",
	code:    "error.type",
	method: func(to []slog.Attr, method string) []slog.Attr {
		const key = "http.request.method"
		switch method {
		case http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch,
			http.MethodPost, http.MethodPut, http.MethodTrace, "QUERY":
			return append(to, slog.String(key, method)) //nolint:sloglint // the conventions' name
		default:
			original := slog.String(key+"_original", plain.Text(method, maxMethod))
			return append(to, slog.String(key, "_OTHER"), original) //nolint:sloglint // the same
		}
	},
	route: func(pattern string) string {
		if method, route, ok := strings.Cut(pattern, " "); ok && !strings.Contains(method, "/") {
			return strings.TrimLeft(route, " ")
		}
		return pattern
	},
	duration: func(d time.Duration) slog.Attr {
		return slog.Float64("http.server.request.duration", d.Seconds()) //nolint:sloglint // the same
	},
}

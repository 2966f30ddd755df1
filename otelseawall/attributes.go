package otelseawall

import (
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// The attributes that have no name in the semantic conventions.
const (
	keyRequestID    = attribute.Key("seawall.request.id")
	keyErrorCode    = attribute.Key("seawall.error.code")
	keyErrorType    = attribute.Key("seawall.error.type")
	keyLateCode     = attribute.Key("seawall.error.late_code")
	keyRule         = attribute.Key("seawall.ratelimit.rule")
	keyLimitOutcome = attribute.Key("seawall.ratelimit.outcome")
	keyShadow       = attribute.Key("seawall.ratelimit.shadow")
	keyKeyOutcome   = attribute.Key("seawall.idempotency.outcome")
	keyName         = attribute.Key("seawall.name")
	keyGroup        = attribute.Key("seawall.retry.group")
	keyReason       = attribute.Key("seawall.retry.reason")
	keyAttempts     = attribute.Key("seawall.retry.attempts")
	keyDelay        = attribute.Key("seawall.retry.delay")
	keyDelaySource  = attribute.Key("seawall.retry.delay.source")
	keyHeld         = attribute.Key("seawall.retry.held")
	keyState        = attribute.Key("seawall.retry.circuit.state")
)

// methodOf returns the value of http.request.method for a method.
func methodOf(method string) string {
	switch method {
	case http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
		http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace, "QUERY":
		return method
	case "":
		return http.MethodGet // the default of a client
	default:
		return other
	}
}

// methodAttributes returns the attributes of a method.
func methodAttributes(method string) []attribute.KeyValue {
	known := semconv.HTTPRequestMethodKey.String(methodOf(method))
	if known.Value.AsString() == other {
		return []attribute.KeyValue{known, semconv.HTTPRequestMethodOriginal(method)}
	}
	return []attribute.KeyValue{known}
}

// routeOf returns the value of http.route for a pattern: the pattern without its method.
func routeOf(pattern string) string {
	if method, route, ok := strings.Cut(pattern, " "); ok && !strings.Contains(method, "/") {
		return strings.TrimLeft(route, " ")
	}
	return pattern
}

package otelseawall

import (
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// The attributes that have no name in the semantic conventions.
const (
	keyRequestID    = attribute.Key("seawall.request.id")
	keyOriginal     = attribute.Key("seawall.original_request.id")
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
	keyDelaySource  = attribute.Key("seawall.retry.delay_source")
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
		return []attribute.KeyValue{known, semconv.HTTPRequestMethodOriginal(clean(method))}
	}
	return []attribute.KeyValue{known}
}

// Bounds of strings, in bytes. Exporters refuse a whole batch in which one string is not UTF-8.
const (
	maxText = 500 // as in the events of package retry
	maxURL  = 4 << 10
)

func clean(s string) string    { return cut(s, maxText) }
func cleanURL(s string) string { return cut(s, maxURL) }

func cut(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "\ufffd")
}

// present returns the attributes that are not empty.
func present(attrs ...attribute.KeyValue) []attribute.KeyValue {
	kept := attrs[:0]
	for _, a := range attrs {
		if text := clean(a.Value.AsString()); text != "" {
			kept = append(kept, a.Key.String(text))
		}
	}
	return kept
}

// typed returns an attribute of a metric, with the type that it has in the semantic conventions.
func typed(key attribute.Key, value string) attribute.KeyValue {
	switch key {
	case semconv.HTTPResponseStatusCodeKey:
		if status, err := strconv.Atoi(value); err == nil {
			return key.Int(status)
		}
	case keyShadow:
		return key.Bool(true)
	}
	return key.String(value)
}

package peers_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/require"
)

// envelope is the JSON of Seawall's errors, for the sides that write it by hand.
type envelope struct {
	Error errorObject `json:"error"`
}

type errorObject struct {
	Type      string `json:"type"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	Param     string `json:"param,omitempty"`
	RequestID string `json:"request_id"`
}

// The errors that the sides write by hand. They are the same as Seawall's.
var (
	rateLimited = errorObject{
		Type:    "rate_limit_error",
		Code:    "rate_limit_exceeded",
		Message: "Too many requests: the rate limit was hit.",
	}
	notFound = errorObject{
		Type:    "invalid_request_error",
		Code:    "resource_missing",
		Message: "The requested URL does not exist.",
	}
	methodNotAllowed = errorObject{
		Type:    "invalid_request_error",
		Code:    "method_not_allowed",
		Message: "The resource does not support this method.",
	}
)

// writeError answers with e and the request's id, as Seawall does, by hand.
func writeError(w http.ResponseWriter, r *http.Request, status int, e errorObject) {
	e.RequestID = middleware.GetReqID(r.Context())
	errorHeader(w.Header(), e.RequestID)
	w.Header().Set("Content-Type", "application/json")
	if status < 500 && status != http.StatusTooManyRequests {
		w.Header().Set("X-Should-Retry", "false")
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(envelope{e}); err != nil {
		panic(err)
	}
}

func errorHeader(h http.Header, id string) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Request-Id", id)
	h.Set("X-Request-Id", id)
}

// announceID puts the id that chi's RequestID made into the response, where Seawall has it too.
func announceID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := middleware.GetReqID(r.Context())
		w.Header().Set("Request-Id", id)
		w.Header().Set("X-Request-Id", id)
		next.ServeHTTP(w, r)
	})
}

// sameAnswer asserts that two answers have the same status, the same body except for the
// request id, and the same header fields. The values of the fields may differ, except for
// Content-Type.
func sameAnswer(t *testing.T, want, got *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, want.Code, got.Code)
	require.Equal(t, fields(want.Header()), fields(got.Header()))
	require.Equal(t, want.Header().Get("Content-Type"), got.Header().Get("Content-Type"))
	require.Equal(t, withoutID(t, want), withoutID(t, got))
}

// fields returns the names of the fields in h. The rate-limit fields, which each library
// names in its own way, have one name.
func fields(h http.Header) []string {
	names := make(map[string]bool)
	for name := range h {
		if strings.Contains(strings.ToLower(strings.ReplaceAll(name, "-", "")), "ratelimit") {
			name = "the limit"
		}
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// withoutID returns the body without the request id. The id in an error must be the one
// in the header.
func withoutID(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	id, body := w.Header().Get("Request-Id"), strings.TrimSpace(w.Body.String())
	if w.Code >= 400 {
		require.NotEmpty(t, id)
		require.Equal(t, id, w.Header().Get("X-Request-Id"))
		require.Contains(t, body, `"request_id":"`+id+`"`)
	}
	return strings.ReplaceAll(body, id, "")
}

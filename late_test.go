package seawall_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// Whose late error it is: that of the request whose response had begun.
func TestLateErrorsAreTheirRequests(t *testing.T) {
	t.Parallel()
	late := failing(whole, apierror.CodePermissionDenied)
	for name, row := range map[string]struct {
		h    http.Handler
		code any
	}{
		"the request's":                    {late, "permission_denied"},
		"a clone's with the same writer":   {cloned(late), "permission_denied"},
		"a clone's below a foreign writer": {wrapped(1)(cloned(late)), "permission_denied"},
		"a sub-request's with its own": {plain(func(_ http.ResponseWriter, r *http.Request) {
			late.ServeHTTP(httptest.NewRecorder(), r.Clone(r.Context()))
		}), nil},
		"one that lost its context":         {forgetful(late), "permission_denied"},
		"one that lost its context, cloned": {cloned(forgetful(late)), "permission_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			stack := &seawall.Stack{Logger: logs.logger(), Renderer: &apierror.Renderer{Logger: discard}}
			serveOne(stack.Handler(row.h), nil)
			require.Equal(t, row.code, logs.access(t)[0]["late_code"])
		})
	}
}

// Without any chain an error in the middle aborts the response all the same.
func TestAnErrorInTheMiddleWithoutAChain(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		s := protocol.new(failing(part, apierror.CodePermissionDenied))
		defer s.Close()
		post(t, s, "/").requireBroken(t)
	}
}

// A layer in between may answer something else than what was answered to it. What has gone out
// counts.
func TestAnErrorThatDidNotGoOutIsNotTheRequests(t *testing.T) {
	t.Parallel()
	replacing := func(status int) seawall.Middleware {
		return func(next http.Handler) http.Handler {
			return plain(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&held{ResponseWriter: w}, r)
				w.WriteHeader(status)
			})
		}
	}
	for name, inside := range map[string]seawall.Middleware{
		"nothing":   nil,
		"RequestID": seawall.RequestID(nil),
		"Stack":     (&seawall.Stack{Logger: discard}).Handler,
	} {
		for status, code := range map[int]any{http.StatusAccepted: nil, http.StatusNotFound: "resource_missing"} {
			t.Run(name+"/"+http.StatusText(status), func(t *testing.T) {
				t.Parallel()
				var logs logs
				h := seawall.Chain(replacing(status), inside)(failing(nil, apierror.CodeResourceMissing))
				serveOne((&seawall.Stack{Logger: logs.logger()}).Handler(h), nil)
				line := logs.access(t)[0]
				require.InDelta(t, status, line["status"], 0)
				require.Equal(t, code, line["code"])
			})
		}
	}
}

// A sub-request's route is its own, also where a layer passes on a copy of it.
func TestASubRequestKeepsItsOwnPattern(t *testing.T) {
	t.Parallel()
	var logs logs
	parts := seawall.Timeout(time.Hour)(mux("GET /parts/{id}", ok))
	var part *http.Request
	stack := (&seawall.Stack{Logger: logs.logger()}).Handler(mux("GET /batch", plain(func(_ http.ResponseWriter, r *http.Request) {
		part = r.Clone(r.Context())
		part.URL.Path, part.Pattern = "/parts/17", ""
		parts.ServeHTTP(httptest.NewRecorder(), part)
	})))
	stack.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/batch", nil))
	require.Equal(t, "GET /parts/{id}", part.Pattern)
	require.Equal(t, "GET /batch", logs.access(t)[0]["pattern"])
}

package interop_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/cors"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// browsers allows the pages of one origin to call the service. It belongs around the Stack.
var browsers = cors.New(cors.Options{
	AllowedOrigins: []string{"https://app.example.com"},
	AllowedMethods: []string{"GET", "POST", "PUT", "PATCH", "DELETE"},
	AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key"},
	ExposedHeaders: []string{
		"Request-Id", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "RateLimit", "RateLimit-Policy",
		"Idempotent-Replayed", "Original-Request",
	},
	MaxAge: 600,
})

// keyRequired stands for an authentication that refuses requests without an API key.
func keyRequired(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			apierror.Write(w, r, apierror.CodeAuthenticationFailed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// A preflight has no API key.
func TestPreflightIsAnsweredAroundTheStack(t *testing.T) {
	t.Parallel()
	stack := &seawall.Stack{Logger: discard, Authenticate: keyRequired}
	for _, tt := range []struct {
		name      string
		h         http.Handler
		preflight int
		origin    string // that the browser reads on a refusal
	}{
		{"around", browsers.Handler(stack.Handler(http.HandlerFunc(item))), 204, "https://app.example.com"},
		{"inside", stack.Handler(browsers.Handler(http.HandlerFunc(item))), 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodOptions, "/items/7", nil)
			r.Header.Set("Origin", "https://app.example.com")
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "authorization,content-type,idempotency-key")
			w := httptest.NewRecorder()
			tt.h.ServeHTTP(w, r)
			require.Equal(t, tt.preflight, w.Code)

			r = httptest.NewRequest(http.MethodGet, "/items/7", nil)
			r.Header.Set("Origin", "https://app.example.com")
			w = httptest.NewRecorder()
			tt.h.ServeHTTP(w, r)
			require.Equal(t, 401, w.Code)
			require.Equal(t, tt.origin, w.Header().Get("Access-Control-Allow-Origin"))
			if tt.origin != "" {
				require.Contains(t, w.Header().Get("Access-Control-Expose-Headers"), "Request-Id")
			}
		})
	}
}

// sameOrigin refuses requests that a browser sends from pages of other origins.
func sameOrigin() seawall.Middleware {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return apierror.CodePermissionDenied
	}))
	return protection.Handler
}

func TestCrossOriginProtectionAnswersAnErrorObject(t *testing.T) {
	t.Parallel()
	var log logbuf.Buffer
	stack := &seawall.Stack{
		Logger:       slog.New(slog.NewJSONHandler(&log, nil)),
		Authenticate: seawall.Chain(sameOrigin(), keyRequired),
	}
	h := stack.Handler(http.HandlerFunc(item))
	for site, status := range map[string]int{"cross-site": 403, "same-origin": 200} {
		r := httptest.NewRequest(http.MethodPost, "/items/7", nil)
		r.Header.Set("Authorization", "Bearer key")
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, status, w.Code)
		line := log.Take()
		require.Contains(t, line, w.Header().Get("Request-Id"))
		if status == 403 {
			require.Contains(t, w.Body.String(), `"code":"permission_denied"`)
			require.Contains(t, line, `"code":"permission_denied"`)
		}
	}
}

func TestTimeoutHandlerAnswersNoErrorObject(t *testing.T) {
	t.Parallel()
	slow := apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		return r.Context().Err()
	})
	for _, tt := range []struct {
		name   string
		h      http.Handler
		status int
		body   string
	}{
		{"TimeoutHandler", (&seawall.Stack{Logger: discard}).Handler(http.TimeoutHandler(slow, time.Second, "too late")), 503, "too late"},
		{"Timeout", (&seawall.Stack{Logger: discard, Timeout: time.Second}).Handler(slow), 504, `"code":"timeout"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := memhttp.New(tt.h)
				defer server.Close()

				resp, err := server.Client().Get(server.URL)
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)

				require.NoError(t, err)
				require.Equal(t, tt.status, resp.StatusCode)
				require.Contains(t, string(body), tt.body)
			})
		})
	}
}

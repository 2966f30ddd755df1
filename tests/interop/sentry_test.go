package interop_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getsentry/sentry-go"
	sentryhttp "github.com/getsentry/sentry-go/http"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/logbuf"
)

// withSentry reports panics and 500s to Sentry, with the request's id.
func withSentry(next http.Handler) http.Handler {
	report := func(w http.ResponseWriter, r *http.Request) {
		hub := sentry.GetHubFromContext(r.Context())
		hub.Scope().SetTag("request_id", apierror.RequestIDFrom(r.Context()))
		next.ServeHTTP(w, r)
		if e := seawall.ErrorFrom(r.Context()); e != nil && e.Status() == http.StatusInternalServerError {
			hub.CaptureException(e)
		}
	}
	// Repanic lets Recover answer the panic. Without it, the client would get an empty 200.
	return sentryhttp.New(sentryhttp.Options{Repanic: true}).HandleFunc(report)
}

// authenticate stands for the service's authentication.
func authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, seawall.WithPrincipal(r, "acct_7"))
	})
}

// withHub gives requests a hub whose events go to the transport.
func withHub(t *testing.T, events *sentry.MockTransport) seawall.Middleware {
	t.Helper()
	client, err := sentry.NewClient(sentry.ClientOptions{
		Dsn:          "https://key@sentry.example/1",
		Transport:    events,
		IgnoreErrors: []string{http.ErrAbortHandler.Error()},
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hub := sentry.NewHub(client, sentry.NewScope())
			next.ServeHTTP(w, r.WithContext(sentry.SetHubOnContext(r.Context(), hub)))
		})
	}
}

func TestSentryGetsFaultsOfTheService(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		handler apierror.HandlerFunc
		status  int
		event   string // the text of the exception; empty if Sentry gets none
	}{
		{"success", func(http.ResponseWriter, *http.Request) error { return nil }, 200, ""},
		{"fault of the client", func(http.ResponseWriter, *http.Request) error { return apierror.ParameterMissing("name") }, 400, ""},
		{"overload", func(http.ResponseWriter, *http.Request) error { return apierror.ServiceUnavailable(0) }, 503, ""},
		{"error", func(http.ResponseWriter, *http.Request) error { return errors.New("the disk is full") }, 500, "the disk is full"},
		{"panic", func(http.ResponseWriter, *http.Request) error { panic("a bug") }, 500, "a bug"},
	} {
		for _, key := range []string{"", "order-7"} {
			t.Run(tt.name+"/"+key, func(t *testing.T) {
				t.Parallel()
				var log logbuf.Buffer
				var events sentry.MockTransport
				logger := slog.New(slog.NewJSONHandler(&log, nil))
				stack := &seawall.Stack{
					Logger:       logger,
					Authenticate: seawall.Chain(withSentry, authenticate), // so inside Recover, and around Idempotency
					Idempotency:  idempotent.New(idempotent.NewMemory(nil), idempotent.Global, &idempotent.Options{Logger: logger}),
				}
				mux := http.NewServeMux()
				mux.Handle("POST /orders", tt.handler)
				h := withHub(t, &events)(stack.Handler(mux))
				r := httptest.NewRequest(http.MethodPost, "/orders", nil)
				if key != "" {
					r.Header.Set("Idempotency-Key", key)
				}
				w := httptest.NewRecorder()

				h.ServeHTTP(w, r)

				require.Equal(t, tt.status, w.Code)
				if tt.event == "" {
					require.Empty(t, events.Events())
					return
				}
				require.Len(t, events.Events(), 1)
				event := events.Events()[0]
				text := event.Message
				for _, exception := range event.Exception {
					text += exception.Value
				}
				require.Contains(t, text, tt.event)
				require.Equal(t, w.Header().Get("Request-Id"), event.Tags["request_id"])
				require.Contains(t, w.Body.String(), `"code":"api_error"`)
				require.Contains(t, log.String(), tt.event)
			})
		}
	}
}

// Around the Stack, Sentry sees no panic, because Recover has answered it.
func TestSentryAroundTheStackSeesNoPanic(t *testing.T) {
	t.Parallel()
	var events sentry.MockTransport
	stack := &seawall.Stack{Logger: discard}
	around := sentryhttp.New(sentryhttp.Options{Repanic: true}).Handle(stack.Handler(http.HandlerFunc(panics)))
	w := httptest.NewRecorder()

	withHub(t, &events)(around).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	require.Equal(t, 500, w.Code)
	require.Empty(t, events.Events())
}

func TestSentryWithoutRepanicTurnsAPanicIntoASuccess(t *testing.T) {
	t.Parallel()
	var events sentry.MockTransport
	stack := &seawall.Stack{Logger: discard}
	swallows := stack.Handler(sentryhttp.New(sentryhttp.Options{}).Handle(http.HandlerFunc(panics)))
	w := httptest.NewRecorder()

	withHub(t, &events)(swallows).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	require.Equal(t, 200, w.Code)
	require.Len(t, events.Events(), 1)
}

// An aborted response is no fault. Sentry ignores it if IgnoreErrors has its text.
func TestSentryIgnoresAbortedResponses(t *testing.T) {
	t.Parallel()
	var events sentry.MockTransport
	stack := &seawall.Stack{Logger: discard}
	stack.Authenticate = withSentry
	h := withHub(t, &events)(stack.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})))

	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	})
	require.Empty(t, events.Events())
}

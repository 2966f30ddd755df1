package schematest_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// A service is a whole Stack that serves its own reference.
type service struct {
	http.Handler
	held    chan struct{} // gets a value when a request to /v1/held runs
	release chan struct{}
}

const keysPerHour = 5 // the requests that one API key may make

func newService(t *testing.T, catalog string, strict bool) *service {
	t.Helper()
	docs, err := reference.Parse(exported(t, catalog), nil)
	require.NoError(t, err)
	rd := renderer(t, catalog)
	rd.DocURL = docs.DocURL("/docs/errors")
	rd.Strict = strict
	s := &service{held: make(chan struct{}), release: make(chan struct{})}
	logger := slog.New(slog.DiscardHandler)
	stack := &seawall.Stack{
		Logger:       logger,
		Renderer:     rd,
		Timeout:      time.Millisecond,
		NoTimeout:    func(r *http.Request) bool { return r.URL.Path != "/v1/slow" },
		MaxBody:      64,
		MaxInFlight:  2,
		Authenticate: authenticate,
		RateLimit: ratelimit.New(ratelimit.NewMemory(nil), nil,
			ratelimit.Rule{Key: ratelimit.ByPrincipal, Limit: ratelimit.PerHour(keysPerHour), KeyOptional: true}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal,
			&idempotent.Options{Wait: -1, MaxResponse: 1024, Logger: logger}),
		Skip: func(r *http.Request) bool { return r.URL.Path == "/docs/errors" },
	}
	s.Handler = stack.Handler(s.routes(t, docs))
	return s
}

// authenticate takes the API key of a request as its principal.
func authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := seawall.APIKey(r)
		switch {
		case r.URL.Path == "/docs/errors":
			next.ServeHTTP(w, r)
		case key == "revoked":
			field := apierror.Field{Code: "key_revoked", Param: "Authorization", Message: "The key was revoked."}
			apierror.Write(w, r, apierror.CodeAuthenticationFailed.New().WithParam("Authorization").WithField(field))
		case !ok:
			apierror.Write(w, r, apierror.CodeAuthenticationFailed)
		default:
			next.ServeHTTP(w, seawall.WithPrincipal(r, key))
		}
	})
}

func (s *service) routes(t *testing.T, docs *reference.Reference) *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, f apierror.HandlerFunc) { mux.Handle(pattern, f) }
	mux.Handle("GET /docs/errors", docs)
	handle("POST /v1/payments", func(w http.ResponseWriter, r *http.Request) error {
		var payment struct {
			Amount int `json:"amount"`
		}
		if err := apierror.DecodeJSON(w, r, &payment, nil); err != nil {
			return err
		}
		if payment.Amount == 0 {
			return apierror.ParameterMissing("amount")
		}
		return apierror.CodePermissionDenied
	})
	handle("POST /v1/panics", func(http.ResponseWriter, *http.Request) error { panic("secret") })
	handle("POST /v1/slow", func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		return r.Context().Err()
	})
	handle("POST /v1/held", func(http.ResponseWriter, *http.Request) error {
		s.held <- struct{}{}
		<-s.release
		return apierror.CodeResourceMissing
	})
	handle("POST /v1/long", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, strings.Repeat("a", 2048))
		return err
	})
	handle("POST /v1/effects", func(_ http.ResponseWriter, r *http.Request) error {
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		return io.ErrUnexpectedEOF
	})
	return mux
}

// call returns the response to a request with an API key and an idempotency key, which may be
// empty.
func (s *service) call(method, path, body, apiKey, idempotencyKey string) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if apiKey != "" {
		r.Header.Set("Authorization", "Bearer "+apiKey)
	}
	if idempotencyKey != "" {
		r.Header.Set("Idempotency-Key", idempotencyKey)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

// refusals makes a service refuse requests for every reason that a Stack has.
func (s *service) refusals() (responses []*http.Response) {
	post := func(path, body, apiKey, idempotencyKey string) {
		responses = append(responses, s.call(http.MethodPost, path, body, apiKey, idempotencyKey))
	}
	post("/v1/payments", `{}`, "", "")
	post("/v1/payments", `{}`, "revoked", "")
	post("/v1/none", `{}`, "a", "")
	responses = append(responses, s.call(http.MethodDelete, "/v1/payments", "", "a", ""), s.call(http.MethodPost, "/docs/errors", "", "", ""),
		s.call(http.MethodGet, "/docs/errors?format=none", "", "", ""))
	post("/v1/payments", `{}`, "a", "")
	post("/v1/payments", `{"amount": "1"}`, "a", "")
	post("/v1/payments", `{"amount": 1}`, "a", "")
	post("/v1/payments", `{}`, "a", "") // the limit is reached

	post("/v1/payments", strings.Repeat(" ", 65), "b", "")
	post("/v1/payments", strings.Repeat(" ", 65), "b", "1")
	post("/v1/panics", `{}`, "b", "2")
	post("/v1/slow", `{}`, "b", "3")
	r := httptest.NewRequest(http.MethodPost, "/v1/payments", strings.NewReader("<a/>"))
	r.Header.Set("Content-Type", "text/xml")
	r.Header.Set("Authorization", "Bearer b")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	responses = append(responses, w.Result())

	post("/v1/payments", `{}`, "c", strings.Repeat("x", 256))
	post("/v1/payments", `{}`, "c", "1")
	post("/v1/payments", `{}`, "c", "1") // a replay
	post("/v1/payments", `{"amount": 2}`, "c", "1")
	s.call(http.MethodPost, "/v1/long", `{}`, "d", "1")
	post("/v1/long", `{}`, "d", "1")
	post("/v1/effects", `{}`, "d", "2")
	post("/v1/effects", `{}`, "d", "2")

	done := make(chan *http.Response)
	hold := func(idempotencyKey string) {
		go func() { done <- s.call(http.MethodPost, "/v1/held", `{}`, "e", idempotencyKey) }()
		<-s.held
	}
	hold("1")
	post("/v1/held", `{}`, "e", "1")
	hold("2")
	post("/v1/payments", `{}`, "f", "") // there are two already
	close(s.release)
	return append(responses, <-done, <-done)
}

// Whatever part of a Stack refuses a request, the response is as the catalog's documents say.
func TestEveryRefusalOfAStackConforms(t *testing.T) {
	t.Parallel()
	for _, catalog := range []string{"builtin", "core", "custom"} {
		t.Run(catalog, func(t *testing.T) {
			t.Parallel()
			strict := catalog == "core"
			s := newService(t, catalog, strict)
			page := string(body(t, s.call(http.MethodGet, "/docs/errors", "", "", "")))
			valid := schema(t, catalog)
			var route *routers.Route
			if !strict { // the API's document refers to statuses that are not core
				_, route = api(t, catalog)
			}
			seen := make(map[apierror.Code]bool)
			replays := 0
			for i, resp := range s.refusals() {
				text := body(t, resp)
				resp.Body = io.NopCloser(strings.NewReader(string(text)))
				if route != nil {
					require.NoError(t, conforms(t, route, resp), "response %d: %s", i, text)
				}
				require.NoError(t, valid.Validate(value(t, text)), "response %d: %s", i, text)

				resp.Body = io.NopCloser(strings.NewReader(string(text)))
				var e *apierror.Error
				require.ErrorAs(t, apierror.Parse(resp), &e)
				seen[e.Code()] = true
				require.Equal(t, "/docs/errors#"+string(e.Code()), e.DocURL())
				require.Contains(t, page, `<article id="`+string(e.Code())+`"`)
				if resp.Header.Get("Idempotent-Replayed") != "" {
					replays++
				}
			}
			require.Equal(t, 1, replays)
			want := apierror.DefaultCatalog()
			if strict {
				want = apierror.CoreCatalog()
			}
			for _, d := range want.Definitions() {
				require.True(t, seen[d.Code], "nothing was refused with %s", d.Code)
			}
			require.Len(t, seen, len(want.Definitions()))
		})
	}
}

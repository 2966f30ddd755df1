package peers_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httplog/v3"
	"github.com/go-chi/httprate"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// Each whole stack gives a request an id, logs it, recovers panics, limits the request's
// time and body and the requests in flight, limits the rate by API key with headers, and
// answers an unknown path or method with the error envelope.
const (
	stackTimeout  = 10 * time.Second
	stackBody     = 1 << 20
	stackInFlight = 1024
)

// stack makes a service with one route.
type stack struct {
	name    string
	service func(route) http.Handler
}

// route is GET /v1/resources, which each key may have perHour times.
type route struct {
	handler http.HandlerFunc
	perHour int
	log     slog.Handler
}

// stacks are our Stack, the two stacks that one would compose, and the route alone.
var stacks = []stack{
	{"seawall", seawallStack},
	{"chi", chiStack},
	{"mux", muxStack},
	{"bare", func(to route) http.Handler { return to.mux() }},
}

func seawallStack(to route) http.Handler {
	rule := ratelimit.Rule{
		Limit: ratelimit.Per(to.perHour, time.Hour),
		Key:   ratelimit.ByHeader("X-Api-Key"),
	}
	s := &seawall.Stack{
		Logger:      slog.New(to.log),
		Timeout:     stackTimeout,
		MaxBody:     stackBody,
		MaxInFlight: stackInFlight,
		RateLimit:   ratelimit.New(ratelimit.NewMemory(nil), nil, rule),
	}
	return s.Handler(to.mux())
}

func chiStack(to route) http.Handler {
	router := chi.NewRouter()
	router.Use(composed(to)...)
	router.Get("/v1/resources", to.handler)
	router.NotFound(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, http.StatusNotFound, notFound)
	})
	router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			if router.Match(chi.NewRouteContext(), method, r.URL.Path) {
				w.Header().Add("Allow", method)
			}
		}
		writeError(w, r, http.StatusMethodNotAllowed, methodNotAllowed)
	})
	return router
}

func muxStack(to route) http.Handler {
	mux := to.mux()
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		plain := &discard{header: make(http.Header)}
		refusal.ServeHTTP(plain, r)
		if plain.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", plain.header.Get("Allow"))
			writeError(w, r, http.StatusMethodNotAllowed, methodNotAllowed)
			return
		}
		writeError(w, r, http.StatusNotFound, notFound)
	})
	return chi.Chain(composed(to)...).Handler(service)
}

// composed is the middleware that does what our Stack does. The log has the attributes of ours.
func composed(to route) chi.Middlewares {
	access := httplog.RequestLogger(slog.New(to.log), &httplog.Options{
		Level: slog.LevelInfo,
		Schema: &httplog.Schema{
			ErrorMessage:     "error",
			RequestMethod:    "method",
			RequestPath:      "path",
			ResponseStatus:   "status",
			ResponseBytes:    "bytes",
			ResponseDuration: "duration",
		},
	})
	logID := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := slog.String("request_id", middleware.GetReqID(r.Context()))
			httplog.SetAttrs(r.Context(), id)
			next.ServeHTTP(w, r)
		})
	}
	limit := httprate.LimitBy(to.perHour, time.Hour, byAPIKey,
		httprate.WithLimitHandler(func(w http.ResponseWriter, r *http.Request) {
			writeError(w, r, http.StatusTooManyRequests, rateLimited)
		}))
	return chi.Middlewares{
		middleware.RequestID,
		announceID,
		access,
		logID,
		middleware.Recoverer,
		middleware.Timeout(stackTimeout),
		middleware.RequestSize(stackBody),
		middleware.Throttle(stackInFlight),
		limit,
	}
}

func (to route) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/resources", to.handler)
	return mux
}

// list answers with 1 KiB of JSON.
func list(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(kilobyte)
}

func BenchmarkStack(b *testing.B) {
	to := route{handler: list, perHour: 1e9, log: discardHandler{}}
	var sides []side
	for _, s := range stacks {
		sides = append(sides, side{s.name, func(tb testing.TB) func() {
			return serve(s.service(to), request(tb, http.MethodGet, "/v1/resources?limit=10"))
		}})
	}
	compare(b, sides)
}

func TestStacksAnswerAlike(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, target string
		perHour, status      int
	}{
		{"success", http.MethodGet, "/v1/resources?limit=10", 100, http.StatusOK},
		{"unknown path", http.MethodGet, "/v1/nothing", 100, http.StatusNotFound},
		{"unknown method", http.MethodPut, "/v1/resources", 100, http.StatusMethodNotAllowed},
		{"denied", http.MethodGet, "/v1/resources", 1, http.StatusTooManyRequests},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var answers []*httptest.ResponseRecorder
			for _, s := range stacks[:3] {
				service := s.service(route{list, tt.perHour, slog.DiscardHandler})
				if tt.status == http.StatusTooManyRequests {
					answer(service, request(t, tt.method, tt.target)) // the one that is allowed
				}
				answers = append(answers, answer(service, request(t, tt.method, tt.target)))
			}
			require.Equal(t, tt.status, answers[0].Code)
			sameAnswer(t, answers[0], answers[1])
			sameAnswer(t, answers[0], answers[2])
		})
	}
}

func TestStacksLogAlike(t *testing.T) {
	t.Parallel()
	for _, s := range stacks[:3] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			service := s.service(route{list, 100, slog.NewTextHandler(&log, nil)})

			w := answer(service, request(t, http.MethodGet, "/v1/resources?limit=10"))

			for _, attribute := range []string{
				"level=INFO", "method=GET", "/v1/resources",
				"status=200", "bytes=1024", "duration=",
				"request_id=" + w.Header().Get("Request-Id"),
			} {
				require.Contains(t, log.String(), attribute)
			}
		})
	}
}

func TestStacksBoundTimeAndBody(t *testing.T) {
	t.Parallel()
	for _, s := range stacks[:3] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			check := func(_ http.ResponseWriter, r *http.Request) {
				deadline, ok := r.Context().Deadline()
				require.True(t, ok)
				require.WithinDuration(t, time.Now().Add(stackTimeout), deadline, stackTimeout/2)
				n, err := io.Copy(io.Discard, r.Body)
				require.Error(t, err)
				require.EqualValues(t, stackBody, n)
			}
			r := request(t, http.MethodGet, "/v1/resources")
			r.Body = io.NopCloser(bytes.NewReader(make([]byte, stackBody+1)))
			r.ContentLength = -1 // not announced

			answer(s.service(route{check, 100, slog.DiscardHandler}), r)
		})
	}
}

func TestStacksRecover(t *testing.T) {
	t.Parallel()
	for _, s := range stacks[:3] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			crash := func(http.ResponseWriter, *http.Request) { panic("crash") }
			service := s.service(route{crash, 100, slog.DiscardHandler})

			w := answer(service, request(t, http.MethodGet, "/v1/resources"))

			require.Equal(t, http.StatusInternalServerError, w.Code)
		})
	}
}

func TestStacksBoundTheRequestsInFlight(t *testing.T) {
	t.Parallel()
	for _, s := range stacks[:3] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			started, release := make(chan struct{}), make(chan struct{})
			block := func(http.ResponseWriter, *http.Request) {
				started <- struct{}{}
				<-release
			}
			service := s.service(route{block, 1e9, slog.DiscardHandler})
			var running sync.WaitGroup
			for range stackInFlight {
				running.Go(func() { answer(service, request(t, http.MethodGet, "/v1/resources")) })
				<-started
			}

			w := answer(service, request(t, http.MethodGet, "/v1/resources"))

			close(release)
			running.Wait()
			overloaded := []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}
			require.Contains(t, overloaded, w.Code)
		})
	}
}

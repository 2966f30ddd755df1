package interop_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
)

// keyedEcho is the recipe of docs/KEYED_HANDLERS.md. It answers the error of a handler
// inside the middleware. With echo.WrapMiddleware, echo would answer the error outside,
// after the middleware has recorded an empty 200.
func keyedEcho(keyed func(http.Handler) http.Handler) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			keyed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.SetRequest(r)
				c.SetResponse(echo.NewResponse(w, c.Echo()))
				if err := next(c); err != nil {
					c.Error(err)
				}
			})).ServeHTTP(c.Response(), c.Request())
			return nil
		}
	}
}

func TestErrorsOfEchoAreKeptForAKey(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	router := echo.New()
	router.Use(keyedEcho(idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)))
	router.POST("/:status", func(c echo.Context) error {
		runs.Add(1)
		switch c.Param("status") {
		case "conflict":
			return echo.NewHTTPError(http.StatusConflict, "taken")
		case "broken":
			return echo.NewHTTPError(http.StatusBadGateway, "broken")
		default:
			return c.String(http.StatusCreated, "created")
		}
	})
	for _, tt := range []struct {
		path   string
		status int
		body   string
		runs   int64 // of two requests
	}{
		{"/created", http.StatusCreated, "created", 1},
		{"/conflict", http.StatusConflict, `{"message":"taken"}` + "\n", 1},
		{"/broken", http.StatusBadGateway, `{"message":"broken"}` + "\n", 2},
	} {
		runs.Store(0)
		for range 2 {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, tt.path, nil)
			r.Header.Set("Idempotency-Key", "key-of"+tt.path)
			router.ServeHTTP(w, r)
			require.Equal(t, tt.status, w.Code, tt.path)
			require.Equal(t, tt.body, w.Body.String())
		}
		require.Equal(t, tt.runs, runs.Load(), tt.path)
	}
}

// echo.WrapMiddleware wraps once per request.
func TestMaxInFlightHoldsInEchoWrapMiddleware(t *testing.T) {
	t.Parallel()
	const bound, all = 2, 8
	stack := &seawall.Stack{Logger: discard, MaxInFlight: bound}
	router := echo.New()
	router.Use(echo.WrapMiddleware(stack.Handler))
	var running atomic.Int64
	entered, leave := make(chan struct{}, all), make(chan struct{})
	router.GET("/", func(c echo.Context) error {
		defer running.Add(-1)
		if running.Add(1) > bound {
			t.Error("more than the bound run")
			return c.NoContent(http.StatusNoContent)
		}
		entered <- struct{}{}
		<-leave
		return c.NoContent(http.StatusNoContent)
	})
	server := startServer(t, router, false)
	get := func() int {
		resp, err := server.Client().Get(server.URL)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	var wg sync.WaitGroup
	for range bound {
		wg.Go(func() {
			if status := get(); status != http.StatusNoContent {
				t.Error(status)
			}
		})
	}
	for range bound {
		<-entered
	}
	for range all - bound {
		if status := get(); status != http.StatusServiceUnavailable {
			t.Error(status)
		}
	}
	close(leave)
	wg.Wait()
}

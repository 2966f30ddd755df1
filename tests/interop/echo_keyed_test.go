package interop_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// keyedEcho is the recipe of docs/KEYED_HANDLERS.md: the error of a handler is answered inside
// of the middleware. With echo.WrapMiddleware echo would answer it outside, when a response is
// recorded already: an empty 200.
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

func TestErrorsOfEchoAreTheAnswersOfKeys(t *testing.T) {
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

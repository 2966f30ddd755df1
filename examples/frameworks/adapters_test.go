package frameworks_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks"
)

// A Group of echo v4 with middleware has a route for its unknown paths. So echo answers 404 for a
// wrong method, too.
func TestUnknownPathInAGroupOfEchoIsNotKeptForAKey(t *testing.T) {
	t.Parallel()
	row := framework{handler: func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
		e := echo4.New()
		e.HTTPErrorHandler = frameworks.EchoError
		group := e.Group("/v1", echo4.WrapMiddleware(copied))
		group.POST("/missing", func(echo4.Context) error { return echo4.NewHTTPError(http.StatusNotFound, "no such resource") })
		return stack.Handler(e)
	}}
	c := httpCase{check: func(s *server) {
		for _, r := range []struct{ method, path, replayed string }{
			{"POST", "/v1/nowhere", ""},
			{"DELETE", "/v1/missing", ""},
			{"POST", "/v1/missing", "true"},
		} {
			for _, replayed := range []string{"", r.replayed} {
				resp := s.send(request{method: r.method, path: r.path}.with("Idempotency-Key", r.method+r.path))
				s.requireError(resp, 404, apierror.CodeResourceMissing)
				require.Equal(s, replayed, resp.header.Get("Idempotent-Replayed"), r)
			}
		}
	}}
	require.Empty(t, c.try(t, row))
}

// A Stack as a middleware of these frameworks does not see what is sent: of gin nothing, and of
// echo no error, because echo answers the errors of handlers outside of all middleware. It records
// an empty 200, which a client takes for a success. So the Stack belongs around the framework.
func TestStackAsMiddlewareOfAFrameworkRecordsAnEmptySuccess(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		first   int // the status of the first response
		handler func(*frameworks.Service, *seawall.Stack) http.Handler
	}{
		"gin": {http.StatusConflict, func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
			engine := gin.New()
			engine.Use(func(c *gin.Context) {
				called := false
				next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { // c.Writer stays the one outside
					called = true
					c.Request = r
					c.Next()
				})
				if stack.Handler(next).ServeHTTP(c.Writer, c.Request); !called {
					c.Abort()
				}
			})
			engine.POST("/", func(c *gin.Context) { c.String(http.StatusConflict, "taken") })
			return engine
		}},
		"echo v4": {http.StatusOK, func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
			e := echo4.New()
			e.Logger.SetOutput(io.Discard)
			e.Use(echo4.WrapMiddleware(stack.Handler))
			e.POST("/", func(echo4.Context) error { return echo4.NewHTTPError(http.StatusConflict, "taken") })
			return e
		}},
		"echo v5": {http.StatusOK, func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
			e := echo5.NewWithConfig(echo5.Config{Logger: slog.New(slog.DiscardHandler)})
			e.Use(echo5.WrapMiddleware(stack.Handler))
			e.POST("/", func(*echo5.Context) error { return echo5.NewHTTPError(http.StatusConflict, "taken") })
			return e
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := httpCase{check: func(s *server) {
				first := s.send(request{method: "POST", path: "/"}.keyed())
				require.Equal(s, row.first, first.status)
				second := s.send(request{method: "POST", path: "/"}.keyed())
				require.Equal(s, "true", second.header.Get("Idempotent-Replayed"))
				require.Equal(s, http.StatusOK, second.status)
				require.Empty(s, second.body)
				require.Equal(s, http.StatusOK, s.lines("request")[0].Status, "in the access log")
			}}
			require.Empty(t, c.try(t, framework{handler: row.handler}))
		})
	}
}

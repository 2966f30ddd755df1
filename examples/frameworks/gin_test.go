package frameworks_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks"
	"github.com/seawall-go/seawall/idempotent"
)

// ginRow is a framework with one gin handler, for POST and for GET.
func ginRow(handle gin.HandlerFunc) framework {
	return framework{handler: func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
		engine := gin.New()
		engine.Match([]string{"GET", "POST"}, "/", handle)
		return stack.Handler(engine)
	}}
}

func TestGinStreams(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]request{"plain": {method: "GET", path: "/"}, "keyed": request{method: "POST", path: "/"}.keyed()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			words := make(chan string, 1)
			stream := httpCase{check: func(s *server) {
				words <- "one"
				resp, err := s.open(s.ctx, r)
				require.NoError(s, err)
				defer resp.Body.Close()
				require.Equal(s, http.StatusOK, resp.StatusCode)
				for _, word := range []string{"one", "two"} {
					event := make([]byte, len("event:word\ndata:one\n\n"))
					_, err := io.ReadFull(resp.Body, event)
					require.NoError(s, err)
					require.Equal(s, "event:word\ndata:"+word+"\n\n", string(event))
					words <- "two"
				}
			}}
			require.Empty(t, stream.try(t, ginRow(func(c *gin.Context) {
				idempotent.Stream(c.Request.Context())
				c.Stream(func(io.Writer) bool {
					select {
					case word := <-words:
						c.SSEvent("word", word)
						return true
					case <-c.Request.Context().Done():
						return false
					}
				})
			})))
		})
	}
}

type ginQuery struct {
	Limit int       `form:"limit" binding:"max=10"`
	Since time.Time `form:"since"`
}

func TestErrorsOfGinsBindingAreTheClientsFault(t *testing.T) {
	t.Parallel()
	row := framework{handler: func(_ *frameworks.Service, stack *seawall.Stack) http.Handler {
		frameworks.Gin(new(frameworks.Service), stack) // sets up the validator, which all engines share
		engine := gin.New()
		engine.Use(frameworks.GinErrors)
		engine.Any("/", func(c *gin.Context) {
			var in ginQuery
			if err := c.ShouldBind(&in); err != nil {
				_ = c.Error(err).SetType(gin.ErrorTypeBind)
			}
		})
		return stack.Handler(engine)
	}}
	c := httpCase{set: smallBodies, check: func(s *server) {
		require.Equal(s, http.StatusOK, s.send(get("/?limit=7")).status)
		e := s.requireError(s.send(get("/?limit=77")), 400, apierror.CodeParameterInvalid)
		require.Equal(s, "limit", e.Param)
		for _, query := range []string{"limit=SECRET", "since=SECRET"} {
			e := s.requireError(s.send(get("/?"+query)), 400, apierror.CodeParameterInvalid)
			require.NotContains(s, e.Message, "SECRET")
		}
		form := request{method: "POST", path: "/"}.with("Content-Type", "application/x-www-form-urlencoded")
		form.body = "limit=" + strings.Repeat("1", 2000)
		s.requireError(s.send(form), 413, apierror.CodeRequestTooLarge)
	}}
	require.Empty(t, c.try(t, row))
}

// These functions of gin must not be used, because there is no error object.
func TestGinAnswersWithoutTheStack(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		handle gin.HandlerFunc
		status int
	}{
		{"BindJSON", func(c *gin.Context) {
			var in frameworks.NewResource
			_ = c.BindJSON(&in)
		}, http.StatusBadRequest},
		{"AbortWithStatus", func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) }, http.StatusForbidden},
		{"AbortWithError", func(c *gin.Context) {
			_ = c.AbortWithError(http.StatusConflict, errors.New("taken"))
		}, http.StatusConflict},
		{"a handler that writes nothing after the deadline", func(c *gin.Context) { <-c.Request.Context().Done() }, http.StatusOK},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := httpCase{
				set: func(stack *seawall.Stack) { stack.Timeout = time.Millisecond },
				check: func(s *server) {
					resp := s.send(request{method: "POST", path: "/"})
					require.Equal(s, row.status, resp.status)
					require.Empty(s, resp.body)
				},
			}
			require.Empty(t, c.try(t, ginRow(row.handle)))
		})
	}
}

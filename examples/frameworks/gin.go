package frameworks

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"
	"github.com/go-playground/validator/v10"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// Gin serves the API with github.com/gin-gonic/gin.
//
// Handlers report errors with c.Error, and middleware that refuses a request also calls c.Abort.
// They must not use c.BindJSON, c.AbortWithError and c.AbortWithStatus, because these answer
// immediately, without an error object. A handler that returns without writing has answered 200:
// gin does not leave it to the Stack. The context to pass on is c.Request.Context(): c itself
// serves other requests later, and by default it never ends.
func Gin(s *Service, stack *seawall.Stack) http.Handler {
	ginNames()
	engine := gin.New()                  // gin.Default has a Recovery, which would answer panics before the Stack sees them
	engine.RedirectTrailingSlash = false // a redirect would be recorded for an Idempotency-Key
	engine.HandleMethodNotAllowed = true // the default is 404
	engine.UseEscapedPath = true         // otherwise "%2F" ends a parameter
	engine.Use(ginRoute, GinErrors)
	engine.NoRoute(func(c *gin.Context) { notFound(c.Writer, c.Request) })
	engine.NoMethod(func(c *gin.Context) { methodNotAllowed(c.Writer, c.Request) })

	engine.POST("/v1/resources", func(c *gin.Context) {
		var in NewResource
		if err := c.ShouldBindJSON(&in); err != nil {
			_ = c.Error(err).SetType(gin.ErrorTypeBind) // the client's fault, unless the error says more
			return
		}
		made, err := s.Create(c.Request.Context(), in)
		if err != nil {
			_ = c.Error(err)
			return
		}
		c.JSON(http.StatusCreated, made)
	})
	engine.Match([]string{"GET", "HEAD"}, "/v1/resources/:id", func(c *gin.Context) {
		found, err := s.Get(c.Request.Context(), c.Param("id"))
		if err != nil {
			_ = c.Error(err)
			return
		}
		c.JSON(http.StatusOK, found)
	})
	engine.GET("/v1/events", func(c *gin.Context) {
		if err := s.Events(c.Writer, c.Request); err != nil {
			_ = c.Error(err)
		}
	})

	return stack.Handler(engine) // it cannot be a middleware of gin: see adapters_test.go
}

// ginRoute tells the Stack which route has matched, for the access log and for traces.
func ginRoute(c *gin.Context) {
	if c.FullPath() != "" {
		seawall.SetPattern(c.Request, c.Request.Method+" "+bracedPath(c.FullPath()))
	}
}

// GinErrors answers the last error that the handlers have reported.
func GinErrors(c *gin.Context) {
	c.Next()
	last := c.Errors.Last()
	if last == nil {
		return
	}
	err := bindingError(last)
	if last.IsType(gin.ErrorTypeBind) {
		err = statusError(http.StatusBadRequest, err)
	}
	apierror.Write(c.Writer, c.Request, err)
}

// ginNames makes gin's validator call fields as clients do.
var ginNames = sync.OnceFunc(func() {
	if v, ok := binding.Validator.Engine().(*validator.Validate); ok {
		v.RegisterTagNameFunc(fieldName)
	}
})

package frameworks

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// Echo5 serves the API with github.com/labstack/echo/v5. It is like [Echo], but the router has
// settings for requests that match no route.
func Echo5(s *Service, stack *seawall.Stack) http.Handler {
	e := echo.NewWithConfig(echo.Config{
		HTTPErrorHandler:             echo5Error,
		Validator:                    newEchoValidator(),
		NoGroupAutoRegister404Routes: true, // a Group with middleware would answer 404 for a wrong method
		Router: echo.NewRouter(echo.RouterConfig{
			UnescapePathParamValues: true, // otherwise "%3A" stays as it is
			NotFoundHandler: func(c *echo.Context) error {
				notFound(c.Response(), c.Request())
				return nil
			},
			MethodNotAllowedHandler: func(c *echo.Context) error {
				if allow, ok := c.Get(echo.ContextKeyHeaderAllow).(string); ok {
					c.Response().Header().Set("Allow", allow)
				}
				methodNotAllowed(c.Response(), c.Request())
				return nil
			},
		}),
	})
	e.Use(echo5Route)

	e.POST("/v1/resources", func(c *echo.Context) error {
		var in NewResource
		if err := c.Bind(&in); err != nil {
			return err
		}
		if err := c.Validate(&in); err != nil {
			return err
		}
		made, err := s.Create(c.Request().Context(), in)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, made)
	})
	e.Match([]string{"GET", "HEAD"}, "/v1/resources/:id", func(c *echo.Context) error {
		found, err := s.Get(c.Request().Context(), c.Param("id"))
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, found)
	})
	e.GET("/v1/events", func(c *echo.Context) error { return s.Events(c.Response(), c.Request()) })

	return stack.Handler(e)
}

// echo5Route names the route for the access log, metrics and traces. echo sets Request.Pattern
// itself, but without the method and with ":id".
func echo5Route(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		if path := c.RouteInfo().Path; path != "" {
			seawall.SetPattern(c.Request(), c.Request().Method+" "+bracedPath(path))
		}
		return next(c)
	}
}

// echo5Error is an HTTPErrorHandler. It answers the errors of handlers, of c.Bind and c.Validate,
// and the errors of other middleware that have a status.
func echo5Error(c *echo.Context, err error) {
	err = bindingError(err)
	if status := echo.StatusCode(err); status != 0 {
		err = statusError(status, err)
	}
	apierror.Write(c.Response(), c.Request(), err)
}

package frameworks

import (
	"errors"
	"net/http"

	"github.com/go-playground/validator/v10"
	"github.com/labstack/echo/v4"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// Echo serves the API with github.com/labstack/echo/v4. Do not use echo's Recover: it would turn
// panics into errors, which the Stack cannot tell from others.
func Echo(s *Service, stack *seawall.Stack) http.Handler {
	e := echo.New()
	e.HTTPErrorHandler = EchoError
	e.Validator = newEchoValidator()
	e.POST("/v1/resources", func(c echo.Context) error {
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
	e.Match([]string{"GET", "HEAD"}, "/v1/resources/:id", func(c echo.Context) error {
		found, err := s.Get(c.Request().Context(), unescaped(c.Request(), c.Param("id")))
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, found)
	})
	e.GET("/v1/events", func(c echo.Context) error { return s.Events(c.Response(), c.Request()) })

	// The Stack cannot be a middleware of echo: see adapters_test.go.
	return withRoute(stack.Handler(e), func(r *http.Request) string { return echoRoute(e, r) })
}

// echoRoute returns the route that r matches, or "".
func echoRoute(e *echo.Echo, r *http.Request) string {
	c := e.NewContext(r, nil)
	e.Router().Find(r.Method, echo.GetPath(r), c)
	if c.Get(echo.ContextKeyHeaderAllow) != nil { // another method would match
		return ""
	}
	return c.Path()
}

// EchoError is an HTTPErrorHandler. It answers the errors of handlers, of c.Bind and c.Validate,
// and the echo.HTTPErrors of other middleware. echo.ErrNotFound means that no route matches, so
// handlers return another error for a 404.
func EchoError(err error, c echo.Context) {
	w, r := c.Response(), c.Request()
	switch err := bindingError(err); {
	case c.Get(echo.ContextKeyHeaderAllow) != nil: // the router sets it if the path has no such method
		methodNotAllowed(w, r)
	case errors.Is(err, echo.ErrNotFound): // no route has matched
		notFound(w, r)
	default:
		if he, ok := errors.AsType[*echo.HTTPError](err); ok {
			err = statusError(he.Code, err)
		}
		apierror.Write(w, r, err)
	}
}

// echoValidator implements echo.Validator, because echo has no validator itself.
type echoValidator struct{ validate *validator.Validate }

func newEchoValidator() echoValidator {
	validate := validator.New()
	validate.RegisterTagNameFunc(fieldName)
	return echoValidator{validate}
}

func (v echoValidator) Validate(i any) error { return v.validate.Struct(i) }

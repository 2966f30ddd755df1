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
	e.HTTPErrorHandler = echoError
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
		found, err := s.Get(c.Request().Context(), c.Param("id"))
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

// echoError is an HTTPErrorHandler. It answers the errors of handlers, of c.Bind and c.Validate,
// and the echo.HTTPErrors of other middleware. Do not give middleware to a Group: echo would add
// a route for the group's unknown paths, whose 404 is recorded for a key like that of a handler.
func echoError(err error, c echo.Context) {
	w, r := c.Response(), c.Request()
	switch err := bindingError(err); {
	case c.Get(echo.ContextKeyHeaderAllow) != nil: // the router sets it if the path has no such method
		methodNotAllowed(w, r)
	case c.Path() == "" && errors.Is(err, echo.ErrNotFound): // no route has matched
		notFound(w, r)
	default:
		if he, ok := errors.AsType[*echo.HTTPError](err); ok {
			err = statusError(he.Code, err)
		}
		apierror.Write(w, r, err)
	}
}

// statusError returns the error to send for an error of a framework that has a status. If err wraps
// an error that the Stack knows, such as an *apierror.Error or that of MaxBody, that error is sent.
func statusError(status int, err error) error {
	if apierror.From(err).Code() != apierror.CodeAPIError {
		return err
	}
	code := apierror.CodeAPIError
	switch status {
	case http.StatusUnauthorized:
		code = apierror.CodeAuthenticationFailed
	case http.StatusForbidden:
		code = apierror.CodePermissionDenied
	case http.StatusNotFound:
		code = apierror.CodeResourceMissing
	case http.StatusRequestEntityTooLarge:
		code = apierror.CodeRequestTooLarge
	case http.StatusUnsupportedMediaType:
		code = apierror.CodeUnsupportedMediaType
	case http.StatusTooManyRequests:
		code = apierror.CodeRateLimitExceeded
	case http.StatusServiceUnavailable:
		code = apierror.CodeServiceUnavailable
	default:
		if status >= 400 && status < 500 {
			code = apierror.CodeParameterInvalid
		}
	}
	return code.New().WithCause(err)
}

// echoValidator implements echo.Validator, because echo has no validator itself.
type echoValidator struct{ validate *validator.Validate }

func newEchoValidator() echoValidator {
	validate := validator.New()
	validate.RegisterTagNameFunc(jsonName)
	return echoValidator{validate}
}

func (v echoValidator) Validate(i any) error { return v.validate.Struct(i) }

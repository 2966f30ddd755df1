package interop_test

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// methods returns the methods to register for a route. Only ServeMux adds HEAD to GET itself.
func (rt route) methods() []string {
	if rt.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{rt.method}
}

func notFound(w http.ResponseWriter, r *http.Request) {
	apierror.Write(w, r, apierror.CodeResourceMissing)
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	apierror.Write(w, r, apierror.MethodNotAllowed(w.Header().Values("Allow")...))
}

func chiRouter(s *service, outer ...func(http.Handler) http.Handler) http.Handler {
	router := chi.NewRouter()
	router.Use(outer...)
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if pattern := chi.RouteContext(r.Context()).RoutePattern(); pattern != "" {
					seawall.SetPattern(r, r.Method+" "+pattern)
				}
			}()
			next.ServeHTTP(w, r)
		})
	})
	router.NotFound(notFound)
	router.MethodNotAllowed(methodNotAllowed)
	for _, rt := range s.routes {
		for _, method := range rt.methods() {
			router.Method(method, rt.path, rt.handler)
		}
	}
	return router
}

func echoRouter(s *service, outer ...echo.MiddlewareFunc) http.Handler {
	router := echo.New()
	router.Use(outer...)
	router.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			switch {
			case err == nil:
			case c.Response().Header().Get("Allow") != "":
				methodNotAllowed(c.Response(), c.Request())
			default:
				notFound(c.Response(), c.Request())
			}
			return nil
		}
	})
	for _, rt := range s.routes {
		router.Match(rt.methods(), strings.ReplaceAll(rt.path, "{id}", ":id"), func(c echo.Context) error {
			seawall.SetPattern(c.Request(), rt.pattern())
			rt.handler.ServeHTTP(c.Response(), c.Request())
			return nil
		})
	}
	return router
}

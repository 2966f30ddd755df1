package apierror_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall/apierror"
)

// Map decides in one place what the errors of a service's own layers mean to clients.
func ExampleRenderer() {
	rd := &apierror.Renderer{
		Map: func(err error) *apierror.Error {
			if errors.Is(err, sql.ErrNoRows) {
				return apierror.ResourceMissing("order")
			}
			return nil
		},
	}
	get := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return fmt.Errorf("loading order 7: %w", sql.ErrNoRows)
	})

	w := httptest.NewRecorder()
	rd.Handler(get).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/orders/7", nil))

	e, _ := errors.AsType[*apierror.Error](apierror.Parse(w.Result()))
	fmt.Println(e.Status(), e.Code(), e.Message())
	// Output:
	// 404 resource_missing No such order.
}

// With a catalog, handlers may return a service's own codes.
func ExampleRenderer_catalog() {
	rd := &apierror.Renderer{Catalog: apierror.MustCatalog(apierror.Definition{
		Code: "account_frozen", Type: apierror.TypePermission, Status: 403, Message: "The account is frozen.",
	})}
	handler := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return apierror.Code("account_frozen")
	})

	w := httptest.NewRecorder()
	rd.Handler(handler).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	e, _ := errors.AsType[*apierror.Error](apierror.Parse(w.Result()))
	fmt.Println(e.Status(), e.Type(), e.Message())
	// Output:
	// 403 permission_error The account is frozen.
}

// The strict profile sends only the codes and statuses of the specification.
func ExampleRenderer_strict() {
	rd := &apierror.Renderer{Strict: true}
	handler := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return apierror.MethodNotAllowed(http.MethodGet)
	})

	w := httptest.NewRecorder()
	rd.Handler(handler).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))

	fmt.Println(w.Code, apierror.CodeOf(apierror.Parse(w.Result())))
	// Output:
	// 404 resource_missing
}

// A client that prefers RFC 9457's problem details gets them.
func ExampleRenderer_problem() {
	rd := &apierror.Renderer{
		Problem: true,
		DocURL:  func(c apierror.Code) string { return "https://docs.example.com/errors/" + string(c) },
	}
	handler := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return apierror.CodePermissionDenied
	})

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "application/problem+json")
	w := httptest.NewRecorder()
	rd.Handler(handler).ServeHTTP(w, r)

	fmt.Println(w.Header().Get("Content-Type"))
	e, _ := errors.AsType[*apierror.Error](apierror.Parse(w.Result()))
	fmt.Println(e.Status(), e.Code(), e.DocURL())
	// Output:
	// application/problem+json
	// 403 permission_denied https://docs.example.com/errors/permission_denied
}

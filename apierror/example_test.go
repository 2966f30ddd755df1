package apierror_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// A handler returns an error, and the client gets the same error.
func Example() {
	create := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.FormValue("name") == "" {
			return apierror.ParameterMissing("name")
		}
		_, err := io.WriteString(w, "created")
		return err
	})

	w := httptest.NewRecorder()
	create.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/resources", nil))
	err := apierror.Parse(w.Result())

	fmt.Println(errors.Is(err, apierror.CodeParameterMissing))
	fmt.Println(errors.Is(err, apierror.TypeInvalidRequest))
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		fmt.Println(e.Status(), e.Param(), e.Message())
	}
	// Output:
	// true
	// true
	// 400 name Missing required parameter: name.
}

// A handler may return a code, an error that wraps one, or any other error.
func ExampleHandlerFunc() {
	for _, err := range []error{
		apierror.CodePermissionDenied,
		fmt.Errorf("loading order 7: %w", apierror.ResourceMissing("order")),
		errors.New("dial tcp 10.0.0.7:5432: connection refused"),
	} {
		handler := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

		e, _ := errors.AsType[*apierror.Error](apierror.Parse(w.Result()))
		fmt.Println(e.Status(), e.Message())
	}
	// Output:
	// 403 The API key lacks permission for this resource.
	// 404 No such order.
	// 500 An unexpected error occurred on our side.
}

// Middleware, and handlers that do not return an error, send errors with Write.
func ExampleWrite() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			apierror.Write(w, r, apierror.CodeAuthenticationFailed)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	fmt.Println(apierror.CodeOf(apierror.Parse(w.Result())))
	// Output:
	// 401 Bearer
	// authentication_failed
}

// New makes an error of a code, so that something can be added to it.
func ExampleCode_New() {
	err := apierror.CodePermissionDenied.New().WithMetadata("scope", "orders:write")

	fmt.Println(err.Status(), err.Message(), err.Metadata())
	// Output:
	// 403 The API key lacks permission for this resource. map[scope:orders:write]
}

// The message is for the client, and the cause is for the log.
func ExampleCode_Messagef() {
	err := apierror.CodeResourceMissing.Messagef("No such order: %d.", 7).WithCause(io.EOF)

	fmt.Println(err.Message())
	fmt.Println(err)
	// Output:
	// No such order: 7.
	// resource_missing: No such order: 7.: EOF
}

func ExampleParameterMissing() {
	err := apierror.ParameterMissing("name")

	fmt.Println(err.Status(), err.Code(), err.Param())
	fmt.Println(err.Message())
	// Output:
	// 400 parameter_missing name
	// Missing required parameter: name.
}

// Errors about several parameters can be joined. One answer names all of them.
func ExampleFrom() {
	err := apierror.From(errors.Join(
		apierror.ParameterMissing("name"),
		apierror.ParameterInvalid("items[1].price", "must be a whole number"),
	))

	fmt.Println(err.Message())
	for _, f := range err.Fields() {
		fmt.Println("-", f.Code, f.Param)
	}
	// Output:
	// Missing required parameter: name.
	// - parameter_missing name
	// - parameter_invalid items[1].price
}

// A client switches on the code.
func ExampleCodeOf() {
	err := fmt.Errorf("calling the ledger: %w", apierror.RateLimitExceeded(time.Second))

	switch apierror.CodeOf(err) {
	case apierror.CodeResourceMissing:
		fmt.Println("create it")
	case apierror.CodeRateLimitExceeded:
		fmt.Println("slow down")
	default:
		fmt.Println("fail")
	}
	// Output:
	// slow down
}

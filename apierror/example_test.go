package apierror_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// A handler returns what went wrong. A client gets it back as the same error.
func Example() {
	server := memhttp.New(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.FormValue("name") == "" {
			return apierror.ParameterMissing("name")
		}
		_, err := io.WriteString(w, "created")
		return err
	}))
	defer server.Close()

	resp, err := server.Client().Post(server.URL+"/v1/resources", "", nil)
	if err == nil {
		err = apierror.Parse(resp)
	}

	fmt.Println("code:", errors.Is(err, apierror.CodeParameterMissing))
	fmt.Println("type:", errors.Is(err, apierror.TypeInvalidRequest))
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		fmt.Println(e.Status(), e.Message(), e.Param(), len(e.RequestID()))
	}
	// Output:
	// code: true
	// type: true
	// 400 Missing required parameter: name. name 20
}

// show prints what a handler answers.
func show(h http.Handler) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	e, _ := errors.AsType[*apierror.Error](apierror.Parse(w.Result()))
	fmt.Println(w.Code, e.Code(), "-", e.Message())
}

// A code alone, a code with a message, an error that nobody named: each has its answer.
func ExampleHandlerFunc() {
	for _, err := range []error{
		apierror.CodePermissionDenied,
		apierror.CodeResourceMissing.Messagef("No such order: %d.", 7),
		fmt.Errorf("loading order 7: %w", apierror.ResourceMissing("order")),
		errors.New("dial tcp 10.0.0.7:5432: connection refused"),
	} {
		show(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err }))
	}
	// Output:
	// 403 permission_denied - The API key lacks permission for this resource.
	// 404 resource_missing - No such order: 7.
	// 404 resource_missing - No such order.
	// 500 api_error - An unexpected error occurred on our side.
}

// A handler of the ordinary kind, or a middleware, answers with Write.
func ExampleWrite() {
	show(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			apierror.Write(w, r, apierror.CodeAuthenticationFailed.New())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	// Output:
	// 401 authentication_failed - No valid API key was provided.
}

// The cause is for the log. Here it is a driver's error, in which errors.Is still finds it.
func ExampleError_WithCause() {
	cause := fmt.Errorf("ledger: %w", io.ErrUnexpectedEOF)
	err := apierror.ServiceUnavailable(0).WithCause(cause)

	fmt.Println("for the client:", err.Message())
	fmt.Println("for the log:   ", err)
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// for the client: The service is temporarily unavailable.
	// for the log:    service_unavailable: The service is temporarily unavailable.: ledger: unexpected EOF
	// true
}

// Several parameters at fault are named in one answer.
func ExampleError_Fields() {
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

// New makes an Error of a code, with the code's default message, to add something to it.
func ExampleCode_New() {
	err := apierror.CodePermissionDenied.New().WithMetadata("scope", "orders:write")

	fmt.Println(err.Status(), err.Message())
	// Output:
	// 403 The API key lacks permission for this resource.
}

// A key that is given twice has both values.
func ExampleError_WithHeader() {
	err := apierror.CodeAuthenticationFailed.New().
		WithHeader("WWW-Authenticate", `Bearer realm="orders"`).
		WithHeader("WWW-Authenticate", "Basic")

	w := httptest.NewRecorder()
	apierror.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), err)
	fmt.Println(w.Header().Values("WWW-Authenticate"))
	// Output:
	// [Bearer realm="orders" Basic]
}

// In a batch each part has its own result. The cause stays out of it.
func ExampleError_MarshalJSON() {
	part := struct {
		Error *apierror.Error `json:"error"`
	}{apierror.ParameterMissing("name").WithCause(io.ErrUnexpectedEOF)}

	b, err := json.MarshalIndent(part, "", "  ")
	fmt.Println(string(b), err)
	// Output:
	// {
	//   "error": {
	//     "type": "invalid_request_error",
	//     "code": "parameter_missing",
	//     "message": "Missing required parameter: name.",
	//     "param": "name"
	//   }
	// } <nil>
}

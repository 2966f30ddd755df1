package apierror_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// The client does not see the cause, but errors.Is finds it.
func ExampleError_WithCause() {
	cause := fmt.Errorf("ledger: %w", io.ErrUnexpectedEOF)
	err := apierror.ServiceUnavailable(time.Second).WithCause(cause)

	fmt.Println("for the client:", err.Message())
	fmt.Println("for the log:   ", err)
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// for the client: The service is temporarily unavailable.
	// for the log:    service_unavailable: The service is temporarily unavailable.: ledger: unexpected EOF
	// true
}

// A service may use its own words for its users.
func ExampleError_WithMessage() {
	err := apierror.ParameterMissing("name").WithMessage("Please choose a name.")

	fmt.Println(err.Code(), err.Param(), err.Message())
	// Output:
	// parameter_missing name Please choose a name.
}

// A handler can collect all mistakes and report them in one response.
func ExampleError_WithField() {
	invalid := apierror.CodeParameterInvalid.New()
	for _, name := range []string{"name", "city"} {
		invalid = invalid.WithField(apierror.Field{
			Code: apierror.CodeParameterMissing, Param: name, Message: "Missing required parameter: " + name + ".",
		})
	}

	fmt.Println(invalid.Code(), invalid.Param())
	for _, f := range invalid.Fields() {
		fmt.Println("-", f.Message)
	}
	// Output:
	// parameter_missing name
	// - Missing required parameter: name.
	// - Missing required parameter: city.
}

// A key that is used twice has both values.
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

// An export that has failed would fail again, so clients must not retry it.
func ExampleError_WithNotRetryable() {
	err := apierror.CodeAPIError.Messagef("The export failed.").WithNotRetryable()

	w := httptest.NewRecorder()
	apierror.Write(w, httptest.NewRequest(http.MethodPost, "/v1/exports", nil), err)
	fmt.Println(w.Code, "X-Should-Retry:", w.Header().Get("X-Should-Retry"))
	// Output:
	// 500 X-Should-Retry: false
}

func ExampleError_LogValue() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))

	logger.Error("import failed", "error", apierror.ParameterMissing("name").WithCause(io.ErrUnexpectedEOF))
	// Output:
	// level=ERROR msg="import failed" error.code=parameter_missing error.type=invalid_request_error error.status=400 error.message="Missing required parameter: name." error.param=name error.cause="unexpected EOF"
}

// In a batch, each part has its own result. The JSON of an error does not show its cause.
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

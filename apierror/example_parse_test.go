package apierror_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/seawall-go/seawall/apierror"
)

func ExampleParse() {
	resp := &http.Response{
		StatusCode: http.StatusBadRequest,
		Body: io.NopCloser(strings.NewReader(
			`{"error": {"type": "invalid_request_error", "code": "parameter_missing", "message": "No name.", "param": "name"}}`)),
	}

	err := apierror.Parse(resp)

	fmt.Println(errors.Is(err, apierror.CodeParameterMissing), errors.Is(err, apierror.TypeInvalidRequest))
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		fmt.Println(e.Status(), e.Param())
	}
	// Output:
	// true true
	// 400 name
}

// A proxy's error page becomes an error too, but FromServer is false.
func ExampleParse_proxy() {
	resp := &http.Response{
		StatusCode: http.StatusServiceUnavailable,
		Header:     http.Header{"Retry-After": {"30"}},
		Body:       io.NopCloser(strings.NewReader("<html>\n<h1>Service Unavailable</h1>\n</html>")),
	}

	err := apierror.Parse(resp)

	fmt.Println(err)
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		fmt.Println(e.FromServer(), e.Retryable(), e.RetryAfter())
	}
	// Output:
	// 503 api_error: The server answered Service Unavailable: <html> <h1>Service Unavailable</h1> </html>
	// false true 30s
}

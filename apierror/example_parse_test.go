package apierror_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// What a proxy writes is an error too, but not the service's.
func ExampleParse() {
	resp := &http.Response{
		StatusCode: http.StatusServiceUnavailable,
		Header:     http.Header{"Retry-After": {"30"}, "X-Request-Id": {"lb-7"}},
		Body:       io.NopCloser(strings.NewReader("<html>\n<h1>Service Unavailable</h1>\n</html>")),
	}

	err := apierror.Parse(resp)

	fmt.Println(err)
	if e := apierror.From(err); e != nil { // a handler that returns it does not relay it
		fmt.Println(e.Code(), e.Message())
	}
	// Output:
	// 503 api_error: The server answered Service Unavailable: <html> <h1>Service Unavailable</h1> </html> (request lb-7)
	// api_error An unexpected error occurred on our side.
}

// A switch over the codes that a client handles.
func ExampleCodeOf() {
	react := func(err error) string {
		switch apierror.CodeOf(err) {
		case apierror.CodeResourceMissing:
			return "create it"
		case apierror.CodeRateLimitExceeded:
			return "slow down"
		default:
			return "give up"
		}
	}
	fmt.Println(react(fmt.Errorf("call: %w", apierror.ResourceMissing("order"))))
	fmt.Println(react(apierror.RateLimitExceeded(time.Second)))
	fmt.Println(react(io.EOF))
	// Output:
	// create it
	// slow down
	// give up
}

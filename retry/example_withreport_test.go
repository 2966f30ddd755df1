package retry_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// busy is a server that answers its first request with a 503 and asks for a wait of 20
// milliseconds.
type busy struct{ requests int }

func (b *busy) RoundTrip(*http.Request) (*http.Response, error) {
	b.requests++
	if b.requests == 1 {
		h := http.Header{"Retry-After-Ms": {"20"}}
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: h, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// A report describes the attempts of a call, whether it succeeded or failed.
func ExampleWithReport() {
	client := &http.Client{Transport: &retry.Transport{Base: new(busy)}}

	ctx, report := retry.WithReport(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/v1/resources", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for _, a := range report.Attempts() {
		fmt.Println(a.Number, a.Status, a.RetryAfter)
	}
	fmt.Println(report.Reason())
	// Output:
	// 1 503 20ms
	// 2 200 0s
	// succeeded
}

package retry_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// restart is a server that answers its first request with a 502.
type restart struct{ requests int }

func (r *restart) RoundTrip(*http.Request) (*http.Response, error) {
	r.requests++
	if r.requests == 1 {
		return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// Observe can feed metrics.
func ExampleTransport_observe() {
	client := &http.Client{Transport: &retry.Transport{
		Base: new(restart),
		Observe: func(_ context.Context, e retry.Event) {
			switch e.Kind {
			case retry.KindAttempt:
				fmt.Println("attempt", e.Attempt.Number, e.Attempt.Status)
			case retry.KindCall:
				fmt.Println("call", e.Reason)
			case retry.KindCircuit:
				fmt.Println("circuit", e.From, "to", e.To)
			}
		},
	}}

	resp, err := client.Get("https://api.example.com/v1/resources")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	// Output:
	// attempt 1 502
	// attempt 2 200
	// call succeeded
}

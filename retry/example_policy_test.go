package retry_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/retry"
)

// patient is a server that asks all clients to wait for an hour.
type patient struct{}

func (patient) RoundTrip(*http.Request) (*http.Response, error) {
	h := http.Header{"Retry-After": {"3600"}}
	return &http.Response{StatusCode: http.StatusTooManyRequests, Header: h, Body: http.NoBody}, nil
}

// A call does not wait longer than its policy allows. It ends with the response instead.
func ExamplePolicy() {
	client := &http.Client{Transport: &retry.Transport{
		Base: patient{},
		Policy: &retry.Policy{
			MaxAttempts:    5,
			MaxRetryAfter:  time.Minute,
			AttemptTimeout: 10 * time.Second,
		},
	}}

	resp, err := client.Get("https://api.example.com/v1/resources")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("Retry-After"))
	// Output: 429 3600
}

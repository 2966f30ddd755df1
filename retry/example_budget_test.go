package retry_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// outage is a server that is down. It counts the requests.
type outage struct{ requests int }

func (o *outage) RoundTrip(*http.Request) (*http.Response, error) {
	o.requests++
	return nil, errors.New("connection refused")
}

// In an outage, a budget of 5 tokens allows 5 retries, and 100 calls send 105 requests instead
// of 300.
func ExampleBudget() {
	server := new(outage)
	client := &http.Client{Transport: &retry.Transport{
		Base:    server,
		Policy:  &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: 5, PerSecond: -1}},
		Breaker: &retry.Breaker{FailureRatio: -1}, // a breaker would stop even earlier
	}}

	for range 100 {
		resp, err := client.Get("https://api.example.com/v1/resources")
		if err == nil {
			resp.Body.Close()
		}
	}
	fmt.Println(server.requests)
	// Output: 105
}

package retry_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/retry"
)

// webhooks is a host with the webhooks of two tenants. One of them fails.
type webhooks struct{}

func (webhooks) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/acme" {
		return nil, errors.New("connection reset by peer")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// Each tenant of the host has its own circuit and budget.
func ExampleTransport_group() {
	client := &http.Client{Transport: &retry.Transport{
		Base:    webhooks{},
		Policy:  &retry.Policy{BaseDelay: -1},
		Breaker: &retry.Breaker{MinCalls: 5, ProbeAfter: time.Minute},
		Group:   func(r *http.Request) string { return retry.Origin(r.URL) + r.URL.Path },
	}}
	for range 3 {
		resp, err := client.Post("https://hooks.example.com/acme", "text/plain", nil)
		if err == nil {
			resp.Body.Close()
		}
	}

	for _, tenant := range []string{"acme", "globex"} {
		resp, err := client.Post("https://hooks.example.com/"+tenant, "text/plain", nil)
		if err == nil {
			resp.Body.Close()
		}
		fmt.Println(tenant, "is refused:", errors.Is(err, retry.ErrCircuitOpen))
	}
	// Output:
	// acme is refused: true
	// globex is refused: false
}

package retry_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/retry"
)

// shop is a service with two hosts. One of them is down.
type shop struct{}

func (shop) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Host, "search.") {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// Circuits shows which hosts work.
func ExampleBreaker_Circuits() {
	breaker := &retry.Breaker{ProbeAfter: time.Minute}
	client := &http.Client{Transport: &retry.Transport{
		Base:    shop{},
		Policy:  &retry.Policy{BaseDelay: -1},
		Breaker: breaker,
	}}
	for range 20 {
		for _, url := range []string{"https://cart.example.com", "https://search.example.com"} {
			resp, err := client.Get(url)
			if err == nil {
				resp.Body.Close()
			}
		}
	}

	for _, c := range breaker.Circuits() {
		fmt.Println(c.Group, c.State)
	}
	// Output:
	// https://cart.example.com:443 closed
	// https://search.example.com:443 open
}

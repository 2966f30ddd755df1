package retry_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seawall-go/seawall/retry"
)

// payments is a server that honors Idempotency-Key. The connection of its first request breaks
// after the charge was made.
type payments struct {
	requests int
	charges  map[string]bool // by key
}

func (p *payments) RoundTrip(r *http.Request) (*http.Response, error) {
	p.requests++
	p.charges[r.Header.Get("Idempotency-Key")] = true
	if p.requests == 1 {
		return nil, errors.New("connection reset by peer")
	}
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
}

// A write whose first response is lost is sent twice and carried out once.
func Example() {
	server := &payments{charges: make(map[string]bool)}
	client := &http.Client{Transport: &retry.Transport{Base: server}}

	resp, err := client.Post("https://api.example.com/v1/charges", "application/json", strings.NewReader(`{"amount":100}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, "after", server.requests, "requests and", len(server.charges), "charge")
	// Output: 201 after 2 requests and 1 charge
}

package retry_test

import (
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// hiccup is a server that answers its first request with a 503.
type hiccup struct{ requests int }

func (h *hiccup) RoundTrip(*http.Request) (*http.Response, error) {
	h.requests++
	if h.requests == 1 {
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// The zero Transport is ready to use. This one has a Base only so that the example needs
// no network.
func ExampleTransport() {
	server := new(hiccup)
	client := &http.Client{Transport: &retry.Transport{Base: server}}

	resp, err := client.Get("https://api.example.com/v1/resources")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, "after", server.requests, "requests")
	// Output: 200 after 2 requests
}

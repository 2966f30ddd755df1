package retry_test

import (
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// cache is a server that answers 404 until its entry has arrived.
type cache struct{ requests int }

func (c *cache) RoundTrip(*http.Request) (*http.Response, error) {
	c.requests++
	if c.requests == 1 {
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// Retryable can call DefaultRetryable, to retry other statuses in addition to the default
// ones.
func ExampleDefaultRetryable() {
	client := &http.Client{Transport: &retry.Transport{
		Base: new(cache),
		Policy: &retry.Policy{
			Retryable: func(f retry.Failure) bool {
				return f.Status == http.StatusNotFound || retry.DefaultRetryable(f)
			},
		},
	}}

	resp, err := client.Get("https://cache.example.com/entry")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// queue is a server that is down. It counts the requests.
type queue struct{ requests int }

func (q *queue) RoundTrip(*http.Request) (*http.Response, error) {
	q.requests++
	return nil, errors.New("connection refused")
}

// A job queue that retries its jobs itself needs a single attempt for each call.
func ExampleWithoutRetry() {
	server := new(queue)
	client := &http.Client{Transport: &retry.Transport{Base: server}}

	ctx := retry.WithoutRetry(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/v1/resources", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	fmt.Println(server.requests, "request")
	// Output: 1 request
}

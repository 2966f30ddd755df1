package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/retry"
)

// reports is a server that allows one request per minute.
type reports struct{}

func (reports) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// Pace keeps a client below the server's known rate limit. If a call's turn would come
// after its deadline, the call fails immediately.
func ExampleTransport_pace() {
	client := &http.Client{Transport: &retry.Transport{
		Base: reports{},
		Pace: rate.NewLimiter(rate.Every(time.Minute), 1),
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/v1/reports", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			fmt.Println(errors.Is(err, context.DeadlineExceeded))
			return
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}
	// Output:
	// 200
	// true
}

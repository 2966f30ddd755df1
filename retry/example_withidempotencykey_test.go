package retry_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// register prints the keys that it gets.
type register struct{}

func (register) RoundTrip(r *http.Request) (*http.Response, error) {
	fmt.Println(r.Header.Get("Idempotency-Key"))
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
}

// A key that comes from the order's number is the same after a restart of the process.
func ExampleWithIdempotencyKey() {
	client := &http.Client{Transport: &retry.Transport{Base: register{}}}

	ctx := retry.WithIdempotencyKey(context.Background(), "order-4711")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com/v1/charges", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	// Output: order-4711
}

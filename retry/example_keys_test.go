package retry_test

import (
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// legacy is a server that honors Idempotency-Key only where its documentation says so. It
// is down.
type legacy struct{ requests int }

func (l *legacy) RoundTrip(*http.Request) (*http.Response, error) {
	l.requests++
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
}

// With KeysCallerOnly, only a write with the caller's key is retried.
func ExampleKeys() {
	server := new(legacy)
	client := &http.Client{Transport: &retry.Transport{
		Base:   server,
		Policy: &retry.Policy{Keys: retry.KeysCallerOnly, BaseDelay: -1},
	}}
	for _, key := range []string{"", "order-4711"} {
		server.requests = 0
		req, err := http.NewRequest(http.MethodPost, "https://api.example.com/v1/charges", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		resp, err := client.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Printf("key %q: %d requests\n", key, server.requests)
	}
	// Output:
	// key "": 1 requests
	// key "order-4711": 3 requests
}

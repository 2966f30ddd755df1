package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// importer is a server that is down. It counts the requests.
type importer struct{ requests int }

func (i *importer) RoundTrip(*http.Request) (*http.Response, error) {
	i.requests++
	return nil, errors.New("connection refused")
}

// A call in the background can make more attempts than other calls.
func ExampleWithPolicy() {
	server := new(importer)
	client := &http.Client{Transport: &retry.Transport{Base: server}}

	ctx := retry.WithPolicy(context.Background(), &retry.Policy{MaxAttempts: 6, BaseDelay: -1})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/v1/resources", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	fmt.Println(server.requests, "requests")
	// Output: 6 requests
}

package retry_test

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/seawall-go/seawall/retry"
)

// healthy is a server that works.
type healthy struct{}

func (healthy) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// Hold stops all requests to a host, for example during its maintenance.
func ExampleBreaker_Hold() {
	breaker := new(retry.Breaker)
	client := &http.Client{Transport: &retry.Transport{Base: healthy{}, Breaker: breaker}}
	get := func() {
		resp, err := client.Get("https://api.example.com/v1/resources")
		if errors.Is(err, retry.ErrCircuitOpen) {
			fmt.Println("held")
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.StatusCode)
	}

	breaker.Hold("https://api.example.com:443")
	get()
	breaker.Reset("https://api.example.com:443")
	get()
	// Output:
	// held
	// 200
}

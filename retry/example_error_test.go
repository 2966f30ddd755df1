package retry_test

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/seawall-go/seawall/retry"
)

// unplugged is a server that cannot be reached.
type unplugged struct{}

func (unplugged) RoundTrip(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }

// The error of a call holds the network's error, and the reason why the call ended.
func ExampleError() {
	client := &http.Client{Transport: &retry.Transport{
		Base:   unplugged{},
		Policy: &retry.Policy{BaseDelay: -1},
	}}

	resp, err := client.Get("https://api.example.com/v1/resources")
	if err == nil {
		resp.Body.Close()
	}
	if e, ok := errors.AsType[*retry.Error](err); ok {
		fmt.Println(len(e.Attempts), e.Reason == retry.ReasonAttemptsExhausted)
	}
	fmt.Println(errors.Is(err, syscall.ECONNREFUSED))
	// Output:
	// 3 true
	// true
}

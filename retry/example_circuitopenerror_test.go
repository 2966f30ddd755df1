package retry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/retry"
)

// cutOff is a server whose connections break.
type cutOff struct{}

func (cutOff) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// The error of a refused call has the host, and the time when the next attempt may be
// sent.
func ExampleCircuitOpenError() {
	client := &http.Client{Transport: &retry.Transport{
		Base:    cutOff{},
		Policy:  &retry.Policy{MaxAttempts: 1},
		Breaker: &retry.Breaker{MinCalls: 1, ProbeAfter: time.Minute, ProbeEvery: time.Minute},
	}}
	for range 2 {
		resp, err := client.Get("https://api.example.com/v1/resources")
		if err == nil {
			resp.Body.Close()
		}
		if refused, ok := errors.AsType[*retry.CircuitOpenError](err); ok {
			fmt.Println(refused.Host, "within a minute:", time.Until(refused.Until) <= time.Minute)
		} else {
			fmt.Println("sent:", errors.Is(err, io.ErrUnexpectedEOF))
		}
	}
	// Output:
	// sent: true
	// api.example.com:443 within a minute: true
}

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// A write whose first answer is lost is carried out once: both attempts carry the same key.
func Example() {
	effects := make(map[string]bool)
	server := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if !effects[key] {
			effects[key] = true
			panic(http.ErrAbortHandler) // done, but the connection dies before the client hears of it
		}
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()

	client := &http.Client{Transport: &retry.Transport{Base: server.Transport(), Logger: slog.New(slog.DiscardHandler)}}
	resp, err := client.Post(server.URL+"/v1/charges", "application/json", strings.NewReader(`{"amount":100}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, "after", len(effects), "charge")
	// Output: 201 after 1 charge
}

// The report of a call tells what it took, also when it succeeded.
func ExampleWithReport() {
	failing := true
	server := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if failing {
			failing = false
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: &retry.Transport{Base: server.Transport(), Logger: slog.New(slog.DiscardHandler)}}

	ctx, report := retry.WithReport(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for _, a := range report.Attempts() {
		fmt.Printf("attempt %d: %d, retry after %v\n", a.Number, a.Status, a.RetryAfter)
	}
	fmt.Println(report.Reason())
	// Output:
	// attempt 1: 503, retry after 1s
	// attempt 2: 200, retry after 0s
	// succeeded
}

// An open circuit is told from a broken connection by errors.Is.
func ExampleCircuitOpenError() {
	client := &http.Client{Transport: &retry.Transport{
		Base:    broken{},
		Breaker: &retry.Breaker{MinCalls: 2, ProbeAfter: time.Minute},
		Logger:  slog.New(slog.DiscardHandler),
	}}
	for range 2 {
		resp, err := client.Get("http://api.example/v1/resources")
		if err == nil {
			resp.Body.Close()
		}
		fmt.Println(errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, retry.ErrCircuitOpen))
		if open, ok := errors.AsType[*retry.CircuitOpenError](err); ok {
			fmt.Println("ask", open.Host, "again within a minute:", time.Until(open.Until) <= time.Minute)
		}
	}
	// Output:
	// true true
	// ask api.example:80 again within a minute: true
	// false true
	// ask api.example:80 again within a minute: true
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// Do retries work that is not one HTTP request.
func ExampleDo() {
	attempt := 0
	balance, err := retry.Do(context.Background(), nil, func(context.Context) (int, error) {
		if attempt++; attempt < 3 {
			return 0, errors.New("deadlock detected")
		}
		return 42, nil
	})
	fmt.Println(balance, err, attempt)

	_, err = retry.Do(context.Background(), nil, func(context.Context) (int, error) {
		return 0, retry.Permanent(errors.New("no such account"))
	})
	fmt.Println(err)
	// Output:
	// 42 <nil> 3
	// retry: told-not-to (attempt 1): no such account
}

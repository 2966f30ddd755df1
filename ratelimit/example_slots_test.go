package ratelimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/seawall-go/seawall/ratelimit"
)

// Each account may have one request running at a time. In this example, the handler sends
// the second request itself.
func ExampleMaxConcurrent() {
	limit := ratelimit.MaxConcurrent(1, ratelimit.ByHeader("X-Account"), nil)
	var h http.Handler
	send := func(name string) {
		r := httptest.NewRequest(http.MethodPost, "/v1/reports", nil)
		r.Header.Set("X-Account", "acme")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(name, w.Code)
	}
	nested := true
	h = limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if nested {
			nested = false
			send("while the first one runs:")
		}
	}))

	send("the first one:")
	send("after that:")
	// Output:
	// while the first one runs: 429
	// the first one: 200
	// after that: 200
}

// Charges matter most, and other writes matter more than reads. In this example, the
// handler of a charge sends the other requests itself, while its own request takes half
// of the capacity.
func ExampleShed() {
	shed := ratelimit.Shed(2, func(r *http.Request) ratelimit.Class {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1/charges"):
			return ratelimit.ClassCritical
		case r.Method != http.MethodGet:
			return ratelimit.ClassHigh
		default:
			return ratelimit.ClassNormal
		}
	}, nil)
	var h http.Handler
	send := func(method, path string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		fmt.Println(method, path, w.Code)
	}
	h = shed(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/charges" {
			send(http.MethodGet, "/v1/resources")
			send(http.MethodPost, "/v1/charges/1")
		}
	}))

	send(http.MethodPost, "/v1/charges")
	// Output:
	// GET /v1/resources 503
	// POST /v1/charges/1 200
	// POST /v1/charges 200
}

package ratelimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/seawall-go/seawall/ratelimit"
)

// The key is the address of the client, as the service's own proxies report it. Addresses
// that the client itself has written into the header are ignored.
func ExampleByForwardedFor() {
	key := ratelimit.ByForwardedFor(netip.MustParsePrefix("10.0.0.0/8"))

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.1:41250"
	r.Header.Set("X-Forwarded-For", "198.51.100.7, 203.0.113.9, 10.0.0.2")
	fmt.Println(key(r))
	// Output: addr:203.0.113.9 <nil>
}

// The proxy sets a header with a single address. IPv6 addresses are limited by /48
// prefix.
func ExampleByAddress() {
	key := ratelimit.ByAddress(&ratelimit.AddressOptions{
		Trusted:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Header:   "CF-Connecting-IP",
		IPv6Bits: 48,
	})

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.1:41250"
	r.Header.Set("CF-Connecting-IP", "2001:db8:1:2::3")
	fmt.Println(key(r))
	// Output: addr:2001:db8:1::/48 <nil>
}

// Each API key has a bucket for each route.
func ExampleJoin() {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/resources/{id}", http.NotFoundHandler())
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Name:  "route",
		Limit: ratelimit.PerMinute(10),
		Key:   ratelimit.Join(ratelimit.ByAPIKey, ratelimit.ByPattern(mux)),
	})
	h := limit(mux)

	for _, path := range []string{"/v1/resources/1", "/v1/resources/2", "/v1/other"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-Api-Key", "sk_test_1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(path, w.Header().Get("RateLimit"))
	}
	// Output:
	// /v1/resources/1 "route";r=9;t=6
	// /v1/resources/2 "route";r=8;t=6
	// /v1/other "route";r=9;t=6
}

// The key is the principal, or the address if the caller is not logged in.
func ExampleFirst() {
	key := ratelimit.First(ratelimit.ByPrincipal, ratelimit.ByRemoteAddr)

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "203.0.113.9:41250"
	fmt.Println(key(r))
	// Output: addr:203.0.113.9 <nil>
}

package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// Each API key may send two requests per minute. The third request is denied, and
// Retry-After says when it would be admitted.
func ExampleNew() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Limit: ratelimit.PerMinute(2),
		Key:   ratelimit.ByAPIKey,
	})
	h := limit(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))

	for range 3 {
		r := httptest.NewRequest(http.MethodGet, "/v1/resources", nil)
		r.Header.Set("Authorization", "Bearer sk_test_1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%d %s, retry after %q\n", w.Code, w.Header().Get("RateLimit"), w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 "default";r=1;t=30, retry after ""
	// 200 "default";r=0;t=30, retry after ""
	// 429 "default";r=0;t=30, retry after "30"
}

// This service has a limit by address in front of authentication, and a limit by
// principal behind it. A request with invalid credentials takes a unit only from its
// address.
func ExampleNew_addressAndPrincipal() {
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, _, ok := r.BasicAuth()
			if !ok {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, seawall.WithPrincipal(r, user))
		})
	}
	limiter := ratelimit.NewMemory(nil)
	byAddress := ratelimit.New(limiter, nil, ratelimit.Rule{
		Name: "address", Limit: ratelimit.PerMinute(60), Key: ratelimit.ByRemoteAddr,
	})
	byPrincipal := ratelimit.New(limiter, nil, ratelimit.Rule{
		Name: "principal", Limit: ratelimit.PerMinute(10), Key: ratelimit.ByPrincipal,
	})
	h := byAddress(authenticate(byPrincipal(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))))

	for _, user := range []string{"", "acct_1"} {
		r := httptest.NewRequest(http.MethodGet, "/v1/resources", nil)
		if user != "" {
			r.SetBasicAuth(user, "secret")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("RateLimit"))
	}
	// Output:
	// 401 "address";r=59;t=1
	// 200 "address";r=58;t=1, "principal";r=9;t=6
}

// This service has a limit by API key and one by organization. A request is charged by
// both rules or by neither.
func ExampleNew_severalRules() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil,
		ratelimit.Rule{Name: "key", Limit: ratelimit.PerMinute(60), Key: ratelimit.ByAPIKey},
		ratelimit.Rule{Name: "organization", Limit: ratelimit.PerHour(1), Key: ratelimit.ByHeader("X-Organization")},
	)
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "/v1/resources", nil)
		r.Header.Set("X-Api-Key", "sk_test_1")
		r.Header.Set("X-Organization", "acme")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("RateLimit"))
	}
	// Output:
	// 200 "key";r=59;t=1, "organization";r=0;t=3600
	// 429 "key";r=59;t=1, "organization";r=0;t=3600
}

// Shadow mode shows what a limit would do before it does it.
func ExampleOptions_shadow() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
		Shadow: true,
		Observe: func(_ context.Context, e ratelimit.Event) {
			fmt.Println(e.Rule, e.Outcome, "in shadow:", e.Shadow)
		},
	}, ratelimit.Rule{
		Name:  "strict",
		Limit: ratelimit.PerHour(1),
		Key:   ratelimit.ByRemoteAddr,
	})
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code)
	}
	// Output:
	// strict allowed in shadow: false
	// 200
	// strict denied in shadow: true
	// 200
}

// Observe counts requests by rule and outcome, for metrics.
func ExampleOptions_observe() {
	counts := map[string]int{}
	limit := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
		Observe: func(_ context.Context, e ratelimit.Event) {
			counts[e.Rule+" "+string(e.Outcome)]++ // a server needs a lock, or the counters of a metrics library
		},
	}, ratelimit.Rule{Limit: ratelimit.PerHour(2), Key: ratelimit.ByAPIKey})
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	for _, key := range []string{"sk_1", "sk_1", "sk_1", ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Api-Key", key)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	fmt.Println(counts)
	// Output: map[default allowed:2 default denied:1 default no_key:1]
}

// Deny replaces the answer to a request that is over a limit.
func ExampleOptions_deny() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
		Deny: func(w http.ResponseWriter, _ *http.Request, rule string, d ratelimit.Decision) {
			http.Error(w, fmt.Sprintf("over the limit %q, try again in %v", rule, d.RetryAfter), http.StatusTooManyRequests)
		},
	}, ratelimit.Rule{Limit: ratelimit.PerMinute(1), Key: ratelimit.ByRemoteAddr})
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output: 200 429 over the limit "default", try again in 1m0s
}

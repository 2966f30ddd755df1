package ratelimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall/ratelimit"
)

// Each plan has a limit, and staff has none.
func ExampleRule_limitFor() {
	plans := map[string]ratelimit.Limit{
		"gold":  ratelimit.PerMinute(600),
		"staff": ratelimit.Unlimited(),
	}
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Limit: ratelimit.PerMinute(60), // for all other plans
		Key:   ratelimit.ByHeader("X-Account"),
		LimitFor: func(r *http.Request) ratelimit.Limit {
			return plans[r.Header.Get("X-Plan")]
		},
	})
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	for _, plan := range []string{"free", "gold", "staff"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Account", plan+" account")
		r.Header.Set("X-Plan", plan)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%s: %s\n", plan, w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// free: "default";q=60;w=60
	// gold: "default";q=600;w=60
	// staff:
}

// A search costs ten times as much as other requests.
func ExampleRule_cost() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Limit: ratelimit.PerMinute(60),
		Key:   ratelimit.ByRemoteAddr,
		Cost: func(r *http.Request) int {
			if r.URL.Path == "/v1/search" {
				return 10
			}
			return 1
		},
	})
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	for _, path := range []string{"/v1/resources", "/v1/search"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(path, w.Header().Get("RateLimit"))
	}
	// Output:
	// /v1/resources "default";r=59;t=1
	// /v1/search "default";r=49;t=1
}

// A login page counts only failed attempts, and does not show how many are left.
func ExampleRule_costAfter() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
		NoFields: func(*http.Request) bool { return true },
	}, ratelimit.Rule{
		Name:  "login",
		Limit: ratelimit.PerHour(3),
		Key:   ratelimit.ByRemoteAddr,
		CostAfter: func(_ *http.Request, status int) int {
			if status == http.StatusUnauthorized {
				return 1
			}
			return 0
		},
	})
	h := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))

	for _, password := range []string{"secret", "secret", "secret", "secret", "guess", "guess", "guess", "guess"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/login?password="+password, nil))
		fmt.Print(w.Code, " ")
	}
	// Output: 200 200 200 200 401 401 401 429
}

// The number of tokens that a language model uses is known only after it has answered.
// The rule charges an estimate before, and the handler settles the real number.
func ExampleSettle() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Name:    "tokens",
		Limit:   ratelimit.PerMinute(1000),
		Key:     ratelimit.ByHeader("X-Account"),
		Cost:    func(*http.Request) int { return 600 }, // such as max_tokens of the request
		Settled: true,
	})
	h := limit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		used := 150 // what the model reports
		if err := ratelimit.Settle(r.Context(), "tokens", used); err != nil {
			fmt.Println(err) // the estimate stays charged
		}
	}))

	for range 3 {
		r := httptest.NewRequest(http.MethodPost, "/v1/complete", nil)
		r.Header.Set("X-Account", "acme")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("RateLimit"))
	}
	// Output:
	// 200 "tokens";r=400;t=1
	// 200 "tokens";r=250;t=1
	// 200 "tokens";r=100;t=1
}

// A successful login forgives the failed ones before it.
func ExampleReset() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Name:    "login",
		Limit:   ratelimit.PerHour(3),
		Key:     ratelimit.ByRemoteAddr,
		Settled: true,
	})
	h := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if err := ratelimit.Reset(r.Context(), "login"); err != nil {
			fmt.Println(err)
		}
	}))

	for _, password := range []string{"guess", "guess", "secret", "guess", "guess", "guess", "guess"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/login?password="+password, nil))
		fmt.Print(w.Code, " ")
	}
	// Output: 401 401 200 401 401 401 429
}

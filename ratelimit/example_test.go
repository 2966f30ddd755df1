package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }

// Two requests a minute for each API key: the third is denied, and told when it will be admitted.
func ExampleNew() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Limit: ratelimit.PerMinute(2),
		Key:   ratelimit.ByAPIKey,
	})
	h := limit(http.HandlerFunc(hello))

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

// A key's limit and its organisation's: a request is charged by both, or by none.
func ExampleNew_severalRules() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil,
		ratelimit.Rule{Name: "key", Limit: ratelimit.PerMinute(60), Key: ratelimit.ByAPIKey},
		ratelimit.Rule{Name: "organisation", Limit: ratelimit.PerHour(1), Key: ratelimit.ByHeader("X-Organisation")},
	)
	h := limit(http.HandlerFunc(hello))

	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "/v1/resources", nil)
		r.Header.Set("X-Api-Key", "sk_test_1")
		r.Header.Set("X-Organisation", "acme")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("RateLimit"))
	}
	// Output:
	// 200 "key";r=59;t=1, "organisation";r=0;t=3600
	// 429 "key";r=59;t=1, "organisation";r=0;t=3600
}

// Limits by plan, and routes that cost more.
func ExampleRule() {
	plans := map[string]ratelimit.Limit{"gold": ratelimit.PerMinute(600)}
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Limit: ratelimit.PerMinute(60), // of every other plan
		Key:   ratelimit.ByHeader("X-Account"),
		LimitFor: func(r *http.Request) ratelimit.Limit {
			return plans[r.Header.Get("X-Plan")]
		},
		Cost: func(r *http.Request) int {
			if strings.HasPrefix(r.URL.Path, "/v1/search") {
				return 10
			}
			return 1
		},
	})
	h := limit(http.HandlerFunc(hello))

	for _, plan := range []string{"gold", "free"} {
		r := httptest.NewRequest(http.MethodGet, "/v1/search", nil)
		r.Header.Set("X-Account", "account of "+plan)
		r.Header.Set("X-Plan", plan)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Header().Get("RateLimit-Policy"), w.Header().Get("RateLimit"))
	}
	// Output:
	// "default";q=600;w=60 "default";r=590;t=1
	// "default";q=60;w=60 "default";r=50;t=1
}

// What a limit would do, before it does.
func ExampleNew_shadow() {
	denials := 0
	limit := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
		Shadow: true,
		Observe: func(_ context.Context, e ratelimit.Event) {
			if e.Outcome == ratelimit.OutcomeDenied {
				denials++
			}
		},
	}, ratelimit.Rule{Limit: ratelimit.PerHour(1), Key: ratelimit.ByRemoteAddr})
	h := limit(http.HandlerFunc(hello))

	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code)
	}
	fmt.Println(denials, "would have been denied")
	// Output:
	// 200
	// 200
	// 200
	// 2 would have been denied
}

// Tokens of a language model: an estimate is charged before the model runs, and settled when the
// answer is there.
func ExampleSettle() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Name:    "tokens",
		Limit:   ratelimit.PerMinute(1000),
		Key:     ratelimit.ByHeader("X-Account"),
		Cost:    func(*http.Request) int { return 600 }, // max_tokens of the request, say
		Settled: true,
	})
	h := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		used := 150 // what the model says
		if err := ratelimit.Settle(r.Context(), "tokens", used); err != nil {
			fmt.Println(err) // the estimate stays charged
		}
		fmt.Fprint(w, "hello")
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

// A log-in page counts failed attempts only: what the response says decides afterwards. Its answers
// do not tell how many are left.
func ExampleRule_costAfter() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
		NoFields: func(*http.Request) bool { return true },
	}, ratelimit.Rule{
		Name:  "log-in",
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
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/log-in?password="+password, nil))
		fmt.Print(w.Code, " ")
	}
	// Output: 200 200 200 200 401 401 401 429
}

// A log-in that succeeds forgives the failed ones before it.
func ExampleReset() {
	limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Name:    "log-in",
		Limit:   ratelimit.PerHour(3),
		Key:     ratelimit.ByRemoteAddr,
		Settled: true,
	})
	h := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if err := ratelimit.Reset(r.Context(), "log-in"); err != nil {
			fmt.Println(err)
		}
	}))

	for _, password := range []string{"guess", "guess", "secret", "guess", "guess", "guess", "guess"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/log-in?password="+password, nil))
		fmt.Print(w.Code, " ")
	}
	// Output: 401 401 200 401 401 401 429
}

// The decision without HTTP, for a job that sends mail.
func ExampleMemory_Take() {
	limiter := ratelimit.NewMemory(nil)
	for range 3 {
		d, err := limiter.Take(context.Background(), ratelimit.Charge{
			Rule:  "mail",
			Key:   "account:acct_1",
			Limit: ratelimit.PerHour(2),
			Cost:  1,
		})
		if err != nil {
			panic(err)
		}
		fmt.Println(d.Allowed, d.Remaining, d.RetryAfter.Round(time.Minute))
	}
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 30m0s
}

// The address of the client, as the service's own proxies saw it: what the client wrote itself does
// not count.
func ExampleByForwardedFor() {
	key := ratelimit.ByForwardedFor(netip.MustParsePrefix("10.0.0.0/8"))

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.1:41250"
	r.Header.Set("X-Forwarded-For", "198.51.100.7, 203.0.113.9, 10.0.0.2")
	fmt.Println(key(r))
	// Output: addr:203.0.113.9 <nil>
}

// Requests of the account that are slow: one at a time.
func ExampleMaxConcurrent() {
	limit := ratelimit.MaxConcurrent(1, ratelimit.ByHeader("X-Account"), nil)
	request := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/v1/reports", nil)
		r.Header.Set("X-Account", "acme")
		return r
	}
	var h http.Handler
	h = limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request()) // while the first one runs
		fmt.Println("the second:", w.Code)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request())
	fmt.Println("the first:", w.Code)
	// Output:
	// the second: 429
	// the first: 200
}

// Writes matter more than reads, and charges most.
func ExampleShed() {
	shed := ratelimit.Shed(200, func(r *http.Request) ratelimit.Class {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v1/charges"):
			return ratelimit.ClassCritical
		case r.Method != http.MethodGet:
			return ratelimit.ClassHigh
		default:
			return ratelimit.ClassNormal
		}
	}, nil)
	h := shed(http.HandlerFunc(hello))

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/resources", nil))
	fmt.Println(w.Code)
	// Output: 200
}

package seawall_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/ratelimit"
)

// Load shedding and a limit of concurrent requests are added to the limits of a Stack. In this
// example, the handler sends the second request itself.
func Example_concurrency() {
	quiet := slog.New(slog.DiscardHandler)
	limits := &ratelimit.Options{Logger: quiet}
	shed := ratelimit.Shed(1000, func(*http.Request) ratelimit.Class { return ratelimit.ClassNormal }, nil)
	byAddress := ratelimit.New(ratelimit.NewMemory(nil), limits,
		ratelimit.Rule{Name: "address", Limit: ratelimit.PerSecond(300), Key: ratelimit.ByRemoteAddr})
	perAccount := ratelimit.New(ratelimit.NewMemory(nil), limits,
		ratelimit.Rule{Limit: ratelimit.PerSecond(100), Key: ratelimit.ByPrincipal})
	concurrent := ratelimit.MaxConcurrent(1, ratelimit.ByPrincipal, nil)
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, seawall.WithPrincipal(r, "acct_7"))
		})
	}

	stack := &seawall.Stack{
		Logger:       quiet,
		AddressLimit: seawall.Chain(shed, byAddress), // Shed first: it only needs to know the load
		Authenticate: authenticate,
		RateLimit:    seawall.Chain(perAccount, concurrent), // MaxConcurrent needs the principal
	}

	var h http.Handler
	get := func(name string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(name, w.Code)
	}
	nested := true
	h = stack.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if nested {
			nested = false
			get("while the first one runs:")
		}
	}))
	get("the first one:")
	get("after that:")
	// Output:
	// while the first one runs: 429
	// the first one: 200
	// after that: 200
}

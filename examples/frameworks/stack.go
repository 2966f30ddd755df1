package frameworks

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// NewStack returns the Stack that all frameworks use. It goes around the router, so that the
// router's own 404 and 405 pass through it too.
func NewStack(logger *slog.Logger) *seawall.Stack {
	return &seawall.Stack{
		Logger:       logger,
		Timeout:      10 * time.Second,
		NoTimeout:    func(r *http.Request) bool { return r.URL.Path == "/v1/events" },
		MaxBody:      1 << 20,
		Authenticate: authenticate,
		RateLimit: ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
			Limit: ratelimit.PerSecond(100), Key: ratelimit.ByPrincipal,
		}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, &idempotent.Options{Logger: logger}),
	}
}

// authenticate lets in one account. Your service looks the key up.
func authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key, _ := seawall.APIKey(r); key != "sk_test_demo" {
			apierror.Write(w, r, apierror.CodeAuthenticationFailed)
			return
		}
		next.ServeHTTP(w, seawall.WithPrincipal(r, "acct_demo"))
	})
}

package seawall_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/retry"
)

// A service that calls another one gives it a key that is derived from the client's, and chooses
// what its own clients see of the other service's errors.
func Example_upstream() {
	bank := &upstream{client: &http.Client{Transport: &retry.Transport{
		Base:   seawall.ForwardRequestID(bankIsDown), // the same request id in both services' logs
		Policy: &retry.Policy{MaxAttempts: 1},
		Logger: slog.New(slog.DiscardHandler),
	}}}
	stack := &seawall.Stack{
		Logger:      slog.New(slog.DiscardHandler),
		Renderer:    &apierror.Renderer{Map: unavailable},
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil),
	}
	service := stack.Handler(apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		return bank.charge(r.Context())
	}))

	r := httptest.NewRequest(http.MethodPost, "/v1/charges", nil)
	r.Header.Set("Idempotency-Key", "order-7")
	w := httptest.NewRecorder()
	service.ServeHTTP(w, r)
	fmt.Println(w.Code, "Retry-After:", w.Header().Get("Retry-After"))
	// Output:
	// the bank gets a key of 32 characters
	// 503 Retry-After: 7
}

type upstream struct{ client *http.Client }

func (u *upstream) charge(ctx context.Context) error {
	ctx = retry.WithIdempotencyKey(ctx, idempotent.DerivedKey(ctx, "bank")) // the same in every retry of our client
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://bank.example/charges", nil)
	if err != nil {
		return err
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return apierror.Parse(resp)
}

// unavailable lets clients retry what the other service says can be retried. Its other errors are
// answered with 500.
func unavailable(err error) *apierror.Error {
	if open, ok := errors.AsType[*retry.CircuitOpenError](err); ok {
		return apierror.ServiceUnavailable(time.Until(open.Until)).WithCause(err)
	}
	if e, ok := errors.AsType[*apierror.Error](err); ok && e.FromServer() && e.Retryable() {
		return apierror.ServiceUnavailable(e.RetryAfter()).WithCause(err)
	}
	return nil
}

// bankIsDown stands for a bank that is busy for 7 seconds.
var bankIsDown = roundTripper(func(r *http.Request) (*http.Response, error) {
	fmt.Println("the bank gets a key of", len(r.Header.Get("Idempotency-Key")), "characters")
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "7")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = strings.NewReader(`{"error":{"type":"api_error","code":"service_unavailable"}}`).WriteTo(w)
	return w.Result(), nil
})

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

package peers_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/gojek/heimdall/v7"
	"github.com/gojek/heimdall/v7/httpclient"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/sony/gobreaker/v2"

	"github.com/seawall-go/seawall/retry"
)

// memory is a RoundTripper that answers each request from memory, when it has read the body. Of every call it fails the first
// so many attempts.
type memory struct {
	fail   int
	failed int
}

var (
	okHeader     = http.Header{"Content-Type": {"application/json"}, "Request-Id": {"req_Hd92kLpQ7mXw3TzB"}}
	unavailable  = []byte(`{"error":{"type":"api_error","code":"service_unavailable","message":"Busy.","request_id":"req_Hd92kLpQ7mXw3TzB"}}`)
	errExhausted = errors.New("still unavailable")
)

func (m *memory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
	}
	if m.failed < m.fail {
		m.failed++
		body := io.NopCloser(bytes.NewReader(unavailable))
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: okHeader, Body: body, Request: r}, nil
	}
	m.failed = 0
	return &http.Response{StatusCode: http.StatusOK, Header: okHeader, Body: http.NoBody, Request: r}, nil
}

// calls makes the contenders of one kind of call: with next as the request, and with attempts that fail first.
func calls(fail int, next func(tb testing.TB) func() *http.Request) []contender {
	through := func(client func(base http.RoundTripper) http.RoundTripper) func(testing.TB) func() {
		return func(tb testing.TB) func() {
			next, rt := next(tb), client(&memory{fail: fail})
			return func() {
				resp, err := rt.RoundTrip(next())
				if err == nil && resp.StatusCode != http.StatusOK {
					err = errExhausted
				}
				if err != nil {
					panic(err)
				}
				resp.Body.Close()
			}
		}
	}
	contenders := []contender{
		{"seawall", through(seawallTransport(fail > 0))},
		{"bare", through(func(base http.RoundTripper) http.RoundTripper { return bare{base} })},
		{"rehttp+gobreaker", through(func(base http.RoundTripper) http.RoundTripper {
			worth := rehttp.RetryAny(rehttp.RetryTimeoutErr(), rehttp.RetryStatusInterval(500, 600))
			return rehttp.NewTransport(withBreaker(base), rehttp.RetryAll(rehttp.RetryMaxRetries(2), worth), rehttp.ConstDelay(0))
		})},
		{"go-retryablehttp", through(func(base http.RoundTripper) http.RoundTripper {
			c := retryablehttp.NewClient()
			c.HTTPClient.Transport, c.Logger, c.RetryWaitMin, c.RetryWaitMax = base, nil, 0, 0
			return c.StandardClient().Transport
		})},
		{"failsafe", through(func(base http.RoundTripper) http.RoundTripper {
			again := failsafehttp.NewRetryPolicyBuilder().Build()
			breaker := circuitbreaker.NewBuilder[*http.Response]().WithFailureRateThreshold(0.9, 20, 10*time.Second).Build()
			return failsafehttp.NewRoundTripper(base, again, breaker)
		})},
		{"heimdall", through(func(base http.RoundTripper) http.RoundTripper {
			again := heimdall.NewRetrier(heimdall.NewConstantBackoff(0, 0))
			c := httpclient.NewClient(httpclient.WithHTTPClient(doer{base}), httpclient.WithRetrier(again), httpclient.WithRetryCount(2))
			return doerTripper{c}
		})},
	}
	if fail == 0 {
		contenders = append(contenders, contender{"gobreaker", through(withBreaker)}, contender{"gobreaker-window", through(withWindow)})
	}
	return contenders
}

// bare is no library: when an attempt fails it tries again.
type bare struct{ base http.RoundTripper }

func (b bare) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return b.base.RoundTrip(r)
	}
	return resp, err
}

// seawallTransport is the zero Transport. When every other attempt fails, as it does in no service for long, its budget and its
// breaker are told to let that pass, and it does not wait.
func seawallTransport(failing bool) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		t := &retry.Transport{Base: base, Logger: quiet}
		if failing {
			t.Policy = &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}
			t.Breaker = &retry.Breaker{FailureRatio: 0.9}
		}
		return t
	}
}

// withBreaker is gobreaker as its README wraps a call, in the one place where an http.Client has room for it. As for every
// Transport here a 5xx is a failure.
func withBreaker(base http.RoundTripper) http.RoundTripper {
	return &breakerTransport{base, gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{Name: "HTTP"})}
}

type breakerTransport struct {
	base    http.RoundTripper
	breaker *gobreaker.CircuitBreaker[*http.Response]
}

// withWindow is gobreaker as a Transport needs it: the outcome is reported when it is known, and counts for some seconds.
func withWindow(base http.RoundTripper) http.RoundTripper {
	settings := gobreaker.Settings{Name: "HTTP", Interval: 10 * time.Second, BucketPeriod: time.Second}
	return &windowTransport{base, gobreaker.NewTwoStepCircuitBreaker[struct{}](settings)}
}

type windowTransport struct {
	base    http.RoundTripper
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
}

func (t *windowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	done, err := t.breaker.Allow()
	if err != nil {
		return nil, err
	}
	resp, err := t.base.RoundTrip(r)
	done(err)
	return resp, err
}

var errStatus = errors.New("status 5xx")

func (t *breakerTransport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	resp, err = t.breaker.Execute(func() (*http.Response, error) {
		resp, err := t.base.RoundTrip(r)
		if err == nil && resp.StatusCode >= 500 {
			err = errStatus
		}
		return resp, err
	})
	if err == errStatus { //nolint:errorlint // the very value from above
		err = nil
	}
	return resp, err
}

// doer lets heimdall use a RoundTripper without an http.Client in between, which nobody else here pays for.
type doer struct{ http.RoundTripper }

func (d doer) Do(r *http.Request) (*http.Response, error) { return d.RoundTrip(r) }

type doerTripper struct{ *httpclient.Client }

func (d doerTripper) RoundTrip(r *http.Request) (*http.Response, error) { return d.Do(r) }

// get sends one request again and again.
func get(tb testing.TB) func() *http.Request {
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "https://api.example.com/v1/resources", nil)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	return func() *http.Request { return r }
}

// post sends 1 KiB, each time with a body of its own and GetBody, as http.NewRequest makes them.
func post(tb testing.TB) func() *http.Request {
	template, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, "https://api.example.com/v1/resources", bytes.NewReader(kilobyte))
	if err != nil {
		tb.Fatal(err)
	}
	template.Header.Set("Authorization", "Bearer "+key)
	template.Header.Set("Content-Type", "application/json")
	return func() *http.Request {
		r := *template
		r.Body, _ = r.GetBody()
		return &r
	}
}

func BenchmarkGet(b *testing.B)   { compare(b, calls(0, get)) }
func BenchmarkPost(b *testing.B)  { compare(b, calls(0, post)) }
func BenchmarkRetry(b *testing.B) { compare(b, calls(1, get)) }

package peers_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/google/uuid"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/retry"
)

// Each client adds an Idempotency-Key to a POST, the same for all attempts. It makes up
// to three attempts, within a retry budget, and obeys Retry-After. A breaker with a
// rolling window of ten seconds watches every attempt. Each host has its own breaker and
// budget.
//
// In these benchmarks, up to half of the attempts fail, and no client should wait. So
// each breaker opens only if 90% of the attempts fail, each budget is large, and no delay
// is added to Retry-After.
const (
	attempts     = 3
	failureRatio = 0.9
	minAttempts  = 20
	window       = 10 * time.Second
	largeBudget  = 1e9
)

// client wraps a base transport.
type client struct {
	name string
	over func(base http.RoundTripper) http.RoundTripper
}

// clients are our client, the ones that one would compose, and the base transport alone.
var clients = []client{
	{"seawall", func(base http.RoundTripper) http.RoundTripper {
		return &retry.Transport{
			Base: base,
			Policy: &retry.Policy{
				BaseDelay: -1,
				Budget:    &retry.Budget{Tokens: largeBudget, PerSecond: largeBudget},
			},
			Breaker: &retry.Breaker{FailureRatio: failureRatio},
			Logger:  quiet,
		}
	}},
	{"retryablehttp", func(base http.RoundTripper) http.RoundTripper {
		return keyed{&perHost{client: func() http.RoundTripper { return retryable(base) }}}
	}},
	{"failsafe", func(base http.RoundTripper) http.RoundTripper {
		return keyed{&perHost{client: func() http.RoundTripper { return failsafed(base) }}}
	}},
	{"rehttp", func(base http.RoundTripper) http.RoundTripper {
		return keyed{&perHost{client: func() http.RoundTripper { return retrying(base) }}}
	}},
	{"bare", func(base http.RoundTripper) http.RoundTripper { return bare{base} }},
}

// keyed puts an Idempotency-Key on a POST that has none.
type keyed struct{ next http.RoundTripper }

func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && r.Header.Get("Idempotency-Key") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Idempotency-Key", uuid.NewString())
	}
	return k.next.RoundTrip(r)
}

// perHost keeps a client for every host.
type perHost struct {
	client func() http.RoundTripper
	hosts  sync.Map // string to http.RoundTripper
}

func (p *perHost) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := p.hosts.Load(r.URL.Host)
	if !ok {
		c, _ = p.hosts.LoadOrStore(r.URL.Host, p.client())
	}
	return c.(http.RoundTripper).RoundTrip(r)
}

// retryable is go-retryablehttp with gobreaker and a budget in golang.org/x/time/rate.
func retryable(base http.RoundTripper) http.RoundTripper {
	tokens := rate.NewLimiter(largeBudget, largeBudget)
	c := retryablehttp.NewClient()
	c.HTTPClient.Transport = newBreaker(base)
	c.Logger = nil
	c.RetryMax = attempts - 1
	c.RetryWaitMin, c.RetryWaitMax = 0, 0
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	c.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		again, err := retryablehttp.DefaultRetryPolicy(ctx, resp, err)
		return again && tokens.Allow(), err
	}
	return c.StandardClient().Transport
}

// failsafed is failsafe-go with its own breaker and budget.
func failsafed(base http.RoundTripper) http.RoundTripper {
	retries := failsafehttp.NewRetryPolicyBuilder().
		WithMaxRetries(attempts - 1).
		WithBudget(budget.NewBuilder().WithMaxRate(1).Build()).
		OnRetry(func(e failsafe.ExecutionEvent[*http.Response]) { drain(e.LastResult()) }).
		ReturnLastFailure().
		Build()
	breaker := circuitbreaker.NewBuilder[*http.Response]().
		HandleIf(func(resp *http.Response, err error) bool {
			return err != nil || resp.StatusCode >= http.StatusInternalServerError
		}).
		WithFailureRateThreshold(failureRatio, minAttempts, window).
		Build()
	return failsafehttp.NewRoundTripper(base, retries, breaker)
}

// retrying is rehttp with gobreaker, a budget in golang.org/x/time/rate, and Retry-After.
func retrying(base http.RoundTripper) http.RoundTripper {
	tokens := rate.NewLimiter(largeBudget, largeBudget)
	again := rehttp.RetryAll(
		rehttp.RetryMaxRetries(attempts-1),
		rehttp.RetryAny(
			rehttp.RetryIsErr(func(err error) bool { return err != nil }),
			rehttp.RetryStatuses(http.StatusTooManyRequests),
			rehttp.RetryStatusInterval(500, 600),
		),
		func(rehttp.Attempt) bool { return tokens.Allow() },
	)
	delay := func(a rehttp.Attempt) time.Duration {
		if a.Response == nil {
			return 0
		}
		seconds, _ := strconv.Atoi(a.Response.Header.Get("Retry-After"))
		return time.Duration(seconds) * time.Second
	}
	return rehttp.NewTransport(newBreaker(base), again, delay)
}

// breaker is gobreaker around every attempt. A 5xx is a failure.
type breaker struct {
	base    http.RoundTripper
	breaker *gobreaker.CircuitBreaker[*http.Response]
}

func newBreaker(base http.RoundTripper) *breaker {
	return &breaker{base, gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Interval:     window,
		BucketPeriod: window / 10,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= minAttempts &&
				float64(c.TotalFailures) >= failureRatio*float64(c.Requests)
		},
	})}
}

var errServer = errors.New("the server failed")

func (t *breaker) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	resp, err = t.breaker.Execute(func() (*http.Response, error) {
		resp, err := t.base.RoundTrip(r)
		if err == nil && resp.StatusCode >= http.StatusInternalServerError {
			err = errServer
		}
		return resp, err
	})
	if errors.Is(err, errServer) {
		err = nil
	}
	return resp, err
}

// bare is the lower bound: a second attempt after a 503, and nothing else.
type bare struct{ base http.RoundTripper }

func (b bare) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		return resp, err
	}
	drain(resp)
	if r.GetBody != nil {
		r.Body, _ = r.GetBody()
	}
	return b.base.RoundTrip(r)
}

// drain reads the rest of a response and closes it, so that its connection can be used
// again.
func drain(resp *http.Response) {
	if resp != nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// memory is a base transport that reads the request's body and answers from memory. The
// first attempts of every call fail: their number is fail.
type memory struct {
	fail, failed int
	retryAfter   string    // if not "0"
	attempts     []attempt // if keep is set
	keep         bool
}

type attempt struct {
	key, body string
	closed    bool // the response's body
}

var (
	okHeader   = http.Header{"Content-Type": {"application/json"}, "Request-Id": {requestID}}
	busyHeader = http.Header{
		"Content-Type": {"application/json"},
		"Request-Id":   {requestID},
		"Retry-After":  {"0"},
	}
	busy = []byte(`{"error":{"type":"api_error","code":"service_unavailable",` +
		`"message":"Busy.","request_id":"` + requestID + `"}}`)
)

func (m *memory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if m.keep {
			body, _ := io.ReadAll(r.Body)
			key := r.Header.Get("Idempotency-Key")
			m.attempts = append(m.attempts, attempt{key: key, body: string(body)})
		} else if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
	}
	if m.failed < m.fail {
		m.failed++
		header := busyHeader
		if m.retryAfter != "" {
			header = header.Clone()
			header.Set("Retry-After", m.retryAfter)
		}
		return &http.Response{
			StatusCode: http.StatusServiceUnavailable, Header: header, Request: r,
			Body: &busyBody{Reader: bytes.NewReader(busy), m: m},
		}, nil
	}
	m.failed = 0
	return respondOK(r), nil
}

// busyBody is the body of a 503.
type busyBody struct {
	*bytes.Reader
	m *memory
}

func (b *busyBody) Close() error {
	if n := len(b.m.attempts); n > 0 {
		b.m.attempts[n-1].closed = true
	}
	return nil
}

func respondOK(r *http.Request) *http.Response {
	return &http.Response{StatusCode: 200, Header: okHeader, Body: http.NoBody, Request: r}
}

// calls makes the same call again and again with each client. The first attempts of each
// call fail: their number is fail.
func calls(fail int, request func(tb testing.TB) func() *http.Request) []side {
	var sides []side
	for _, c := range clients {
		sides = append(sides, side{c.name, func(tb testing.TB) func() {
			next, transport := request(tb), c.over(&memory{fail: fail})
			return func() {
				resp := must(transport.RoundTrip(next()))
				if resp.StatusCode != http.StatusOK {
					panic(resp.Status)
				}
				resp.Body.Close()
			}
		}})
	}
	return sides
}

// get returns the same request each time.
func get(tb testing.TB) func() *http.Request {
	const url = "https://api.example.com/v1/resources"
	r := must(http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil))
	r.Header.Set("Authorization", "Bearer "+key)
	return func() *http.Request { return r }
}

// post returns a new request with a body of 1 KiB each time. Its Body and GetBody are
// like those of http.NewRequest.
func post(tb testing.TB) func() *http.Request {
	const url = "https://api.example.com/v1/resources"
	body := bytes.NewReader(kilobyte)
	template := must(http.NewRequestWithContext(tb.Context(), http.MethodPost, url, body))
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
func BenchmarkRetry(b *testing.B) { compare(b, calls(1, post)) }

func TestClientsRetryWithOneKey(t *testing.T) {
	t.Parallel()
	for _, c := range clients[:4] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base := &memory{fail: 1, keep: true}

			resp, err := c.over(base).RoundTrip(post(t)())

			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Len(t, base.attempts, 2)
			require.NotEmpty(t, base.attempts[0].key)
			require.Equal(t, base.attempts[0].key, base.attempts[1].key)
			require.Equal(t, string(kilobyte), base.attempts[0].body)
			require.Equal(t, string(kilobyte), base.attempts[1].body)
			require.True(t, base.attempts[0].closed)
		})
	}
}

func TestClientsReturnTheLastFailure(t *testing.T) {
	t.Parallel()
	for _, c := range clients[:4] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base := &memory{fail: 10, keep: true}

			resp, err := c.over(base).RoundTrip(post(t)())

			require.NoError(t, err)
			require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
			require.Len(t, base.attempts, attempts)
		})
	}
}

func TestClientsWaitAsLongAsTheServerAsks(t *testing.T) {
	t.Parallel()
	for _, c := range clients[:4] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()

				resp, err := c.over(&memory{fail: 1, retryAfter: "7"}).RoundTrip(post(t)())

				require.NoError(t, err)
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.Equal(t, 7*time.Second, time.Since(start))
			})
		})
	}
}

func TestClientsStopSendingToAHostThatFails(t *testing.T) {
	t.Parallel()
	for _, c := range clients[:4] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base := &memory{fail: 1000, keep: true}
			transport := c.over(base)
			for range 20 {
				if resp, err := transport.RoundTrip(post(t)()); err == nil {
					resp.Body.Close()
				}
			}
			require.Less(t, len(base.attempts), 40, "of 60 without a breaker")
		})
	}
}

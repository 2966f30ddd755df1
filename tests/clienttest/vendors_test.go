package clienttest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

// vendor is how the SDK of another vendor takes the errors of the service. Both retry twice.
type vendor struct {
	program string
	classes map[int]string // by status
	other   string         // the class of any other status
	retries func(d apierror.Definition) bool
}

// The SDK of OpenAI obeys X-Should-Retry and Retry-After. It makes no Idempotency-Key.
var openAI = vendor{
	program: "openai",
	classes: map[int]string{
		400: "BadRequestError",
		401: "AuthenticationError",
		403: "PermissionDeniedError",
		404: "NotFoundError",
		409: "ConflictError",
		429: "RateLimitError",
		500: "InternalServerError",
		503: "InternalServerError",
		504: "InternalServerError",
	},
	other:   "APIError",
	retries: func(d apierror.Definition) bool { return d.Retryable() },
}

// The SDK of Stripe sends an Idempotency-Key with each POST. It knows neither X-Should-Retry nor
// Retry-After: it retries a 409, which costs requests but changes nothing, and no 429. Its
// StripeIdempotencyError is for a 400.
var stripe = vendor{
	program: "stripe",
	classes: map[int]string{
		400: "StripeInvalidRequestError",
		401: "StripeAuthenticationError",
		403: "StripePermissionError",
		404: "StripeInvalidRequestError",
		429: "StripeRateLimitError",
	},
	other:   "StripeAPIError",
	retries: func(d apierror.Definition) bool { return d.Status == 409 || d.Status >= 500 },
}

func TestSDKsOfVendorsUnderstandEachCode(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]vendor{"OpenAI": openAI, "Stripe": stripe} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := docsapitest.Start(t, "-faults")
			proxy := between(t, server.URL, soon)
			outcomes := see(t, node("testdata"), v.program, proxy.URL, append(faults(), "create")...)

			created := outcomes["create"]
			require.Equal(t, outcome{
				Class: v.classes[400], Status: 400, Code: "parameter_missing", Param: "name",
				Type: "invalid_request_error", RequestID: created.RequestID,
			}, created)
			for _, d := range apierror.DefaultCatalog().Definitions() {
				got := outcomes[string(d.Code)]
				class, ok := v.classes[d.Status]
				if !ok {
					class = v.other
				}
				require.Equal(t, outcome{
					Class: class, Status: d.Status, Code: string(d.Code), Type: string(d.Type), RequestID: got.RequestID,
				}, got)
				attempts := 1
				if v.retries(d) {
					attempts = 3
				}
				require.Len(t, proxy.requests("/v1/fault/"+string(d.Code)), attempts, d.Code)
			}
		})
	}
}

// A 409 would cost three requests. Each vendor has its header that stops its SDK.
func TestHeaderStopsPointlessRetriesOfSDK(t *testing.T) {
	t.Parallel()
	const kind = "idempotency_conflict"
	for name, row := range map[string]struct {
		vendor   vendor
		change   func(http.Header)
		attempts int
	}{
		"OpenAI":                               {openAI, func(http.Header) {}, 1},
		"OpenAI, without X-Should-Retry":       {openAI, func(h http.Header) { h.Del("X-Should-Retry") }, 3},
		"Stripe":                               {stripe, func(http.Header) {}, 3},
		"Stripe, with its Stripe-Should-Retry": {stripe, func(h http.Header) { h.Set("Stripe-Should-Retry", h.Get("X-Should-Retry")) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := docsapitest.Start(t, "-faults")
			proxy := between(t, server.URL, func(_ int, resp *http.Response) error {
				row.change(resp.Header)
				return nil
			})
			outcomes := see(t, node("testdata"), row.vendor.program, proxy.URL, kind)
			require.Equal(t, kind, outcomes[kind].Code)
			require.Len(t, proxy.requests("/v1/fault/"+kind), row.attempts)
		})
	}
}

func TestSDKOfOpenAIObeysRetryAfter(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t, "-faults")
	proxy := between(t, server.URL, nil)
	see(t, node("testdata"), openAI.program, proxy.URL, "rate_limit_exceeded", "service_unavailable")
	for _, kind := range []string{"rate_limit_exceeded", "service_unavailable"} {
		attempts := proxy.requests("/v1/fault/" + kind)
		require.Len(t, attempts, 3)
		requireWaits(t, attempts)
	}
}

// The service carries out a write, but the response does not arrive. The SDK then sends the write
// again. Only a key tells the service that it is the same one.
func TestKeyDecidesWhetherRetryOfSDKWritesTwice(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		command []string
		key     string
		printed string
	}{
		"Stripe, with its own key":    {[]string{"stripe_create.mjs"}, "^stripe-node-retry-", "first blue 1\n"},
		"OpenAI, with the user's key": {[]string{"openai_create.mjs", "order-4711"}, "^order-4711$", "first 1\n"},
		"OpenAI, which makes no key":  {[]string{"openai_create.mjs"}, "^$", "first 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := docsapitest.Start(t)
			proxy := between(t, server.URL, func(n int, _ *http.Response) error {
				if n == 1 {
					return errLost
				}
				return nil
			})
			command := append([]string{row.command[0], proxy.URL}, row.command[1:]...)
			stdout, stderr := execute(t, "testdata", "node", command...)
			require.Empty(t, stderr)
			require.Equal(t, row.printed, stdout)
			attempts := proxy.requests("/v1/resources")
			require.Len(t, attempts, 3, "two writes and a list")
			require.Regexp(t, row.key, attempts[0].key)
			require.Equal(t, attempts[0].key, attempts[1].key)
		})
	}
}

package storm

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/seawall-go/seawall/retry"
)

// Client is a way to call the server. New returns the client of one process.
type Client struct {
	Name string
	New  func(base http.RoundTripper) http.RoundTripper
}

// Clients returns the clients to compare. All except the naive one and "seawall, no
// breaker" have their defaults.
func Clients() []Client {
	return []Client{
		{"no retries", func(base http.RoundTripper) http.RoundTripper { return base }},
		{"naive", func(base http.RoundTripper) http.RoundTripper { return naive{base} }},
		{"go-retryablehttp", func(base http.RoundTripper) http.RoundTripper {
			c := retryablehttp.NewClient()
			c.HTTPClient = &http.Client{Transport: base}
			c.Logger = nil
			return &retryablehttp.RoundTripper{Client: c}
		}},
		{"failsafe-go", func(base http.RoundTripper) http.RoundTripper {
			return failsafehttp.NewRoundTripper(base, failsafehttp.NewRetryPolicyBuilder().Build())
		}},
		{"seawall, no breaker", func(base http.RoundTripper) http.RoundTripper {
			t := seawall(base)
			t.Breaker = &retry.Breaker{FailureRatio: -1}
			return t
		}},
		{"seawall", func(base http.RoundTripper) http.RoundTripper { return seawall(base) }},
	}
}

// seawall returns a Transport with all defaults, except that its log is discarded.
func seawall(base http.RoundTripper) *retry.Transport {
	return &retry.Transport{
		Base:   base,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// naive is a simple retry loop: three retries, a tenth of a second apart.
type naive struct{ base http.RoundTripper }

func (n naive) RoundTrip(r *http.Request) (*http.Response, error) {
	for i := 0; ; i++ {
		resp, err := n.base.RoundTrip(r)
		if err == nil && resp.StatusCode < 500 || i == 3 {
			return resp, err
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

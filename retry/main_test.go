package retry_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// rounds is set by "make soak".
var rounds = flag.Int("rounds", 1, "multiply the number of random calls in the tests that make some")

// quiet returns a logger that discards everything.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// logged is a logger and what it wrote.
func logged() (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), &out
}

// request returns a new request.
func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func transport(base http.RoundTripper) *retry.Transport {
	return &retry.Transport{Base: base, Logger: quiet()}
}

const target = "https://api.example/v1/resources"

const targetGroup = "https://api.example:443"

// do sends a GET, closes the response and returns the error.
func do(t testing.TB, tr http.RoundTripper, url string) error {
	t.Helper()
	resp, err := tr.RoundTrip(request(t, "GET", url, nil))
	if resp != nil {
		resp.Body.Close()
	}
	return err
}

// once returns a policy without retries.
func once() *retry.Policy { return &retry.Policy{MaxAttempts: 1} }

// server runs a test against net/http's server and transport in memory, in a bubble.
func server(t *testing.T, h http.HandlerFunc, test func(t *testing.T, s *memhttp.Server, tr *retry.Transport)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := memhttp.New(h)
		defer s.Close()
		test(t, s, &retry.Transport{Base: s.Transport(), Logger: quiet()})
	})
}

var errBroken = errors.New("connection reset by peer")

package clienttest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy is between a client and the service. It records the requests.
type proxy struct {
	URL string

	mu   sync.Mutex
	seen []arrival
}

// arrival is a request that reached a proxy.
type arrival struct {
	method, path string
	key          string // the Idempotency-Key
	at           time.Time
}

var errLost = errors.New("the response is lost")

// between starts a proxy in front of the service at target. change can change response n, counted
// from 1. With errLost, the client's connection breaks instead. A nil change changes nothing.
func between(t *testing.T, target string, change func(n int, resp *http.Response) error) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	p := &proxy{}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := p.record(r)
		forward := &httputil.ReverseProxy{
			Transport: transport,
			Rewrite: func(pr *httputil.ProxyRequest) {
				pr.SetURL(u)
				// A client of resources has no method for faults.
				if kind, ok := strings.CutPrefix(pr.In.URL.Path, "/v1/resources/fault_"); ok {
					pr.Out.URL.Path = "/v1/fault/" + kind
				}
			},
			ModifyResponse: func(resp *http.Response) error {
				if change == nil {
					return nil
				}
				return change(n, resp)
			},
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

func (p *proxy) record(r *http.Request) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, arrival{r.Method, r.URL.Path, r.Header.Get("Idempotency-Key"), time.Now()})
	return len(p.seen)
}

// requests returns the requests so far whose path ends in suffix.
func (p *proxy) requests(suffix string) (found []arrival) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.seen {
		if strings.HasSuffix(a.path, suffix) {
			found = append(found, a)
		}
	}
	return found
}

// soon shortens the waits that the service asks for, to ten milliseconds.
func soon(_ int, resp *http.Response) error {
	if resp.Header.Get("Retry-After") != "" {
		resp.Header.Set("Retry-After-Ms", "10")
	}
	return nil
}

package seawall_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// sent is a transport that records its request.
type sent struct {
	r    *http.Request
	idle int
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.r = r
	if r.URL.Path == "/fail" {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func (s *sent) CloseIdleConnections() { s.idle++ }

// within calls f with the context of a request, and returns the id of the request.
func within(f func(context.Context)) (id string) {
	serveOne(seawall.RequestID(nil)(plain(func(_ http.ResponseWriter, r *http.Request) {
		id = apierror.RequestIDFrom(r.Context())
		f(r.Context())
	})), nil)
	return id
}

func TestForwardRequestID(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		header http.Header
		want   []string // nil for the id of the request
	}{
		"no header map":                 {nil, nil},
		"no id":                         {http.Header{"Accept": {"*/*"}}, nil},
		"an id set by the caller":       {http.Header{"X-Request-Id": {"mine"}}, []string{"mine"}},
		"no id wanted by the caller":    {http.Header{"X-Request-Id": {}}, []string{}},
		"several ids set by the caller": {http.Header{"X-Request-Id": {"a", "b"}}, []string{"a", "b"}},
		"an id in another header":       {http.Header{"Request-Id": {"other"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := &sent{}
			before := row.header.Clone()
			var out *http.Request
			id := within(func(ctx context.Context) {
				out = httptest.NewRequest(http.MethodGet, "http://api.example/", nil).WithContext(ctx)
				out.Header = row.header
				resp, err := seawall.ForwardRequestID(base).RoundTrip(out)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Same(t, out, resp.Request)
			})
			want := row.want
			if want == nil {
				want = []string{id}
			}
			require.Equal(t, want, base.r.Header["X-Request-Id"])
			require.Equal(t, before.Get("Accept"), base.r.Header.Get("Accept"), "another header was lost")
			require.Equal(t, before, out.Header, "the caller's request was changed")
		})
	}
}

func TestForwardRequestIDOutsideOfARequest(t *testing.T) {
	t.Parallel()
	base := &sent{}
	out := httptest.NewRequest(http.MethodGet, "http://api.example/", nil)
	resp, err := seawall.ForwardRequestID(base).RoundTrip(out)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Same(t, out, base.r)
}

func TestForwardRequestIDReturnsErrors(t *testing.T) {
	t.Parallel()
	within(func(ctx context.Context) {
		out := httptest.NewRequest(http.MethodGet, "http://api.example/fail", nil).WithContext(ctx)
		_, err := seawall.ForwardRequestID(&sent{}).RoundTrip(out)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

func TestForwardRequestIDClosesIdleConnections(t *testing.T) {
	t.Parallel()
	base := &sent{}
	client := &http.Client{Transport: seawall.ForwardRequestID(base)}
	client.CloseIdleConnections()
	require.Equal(t, 1, base.idle)
	client.Transport = seawall.ForwardRequestID(struct{ http.RoundTripper }{base})
	client.CloseIdleConnections() // the base has no such method
	require.Equal(t, 1, base.idle)
}

func TestForwardRequestIDUsesTheDefaultTransport(t *testing.T) {
	t.Parallel()
	require.NotNil(t, seawall.ForwardRequestID(nil))
	s := httptest.NewServer(plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("X-Request-Id")) }))
	defer s.Close()
	client := &http.Client{Transport: seawall.ForwardRequestID(nil)}
	defer client.CloseIdleConnections()
	var a answer
	id := within(func(ctx context.Context) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		require.NoError(t, err)
		r.Close = true
		a = do(client, r)
	})
	require.NoError(t, a.err)
	require.Equal(t, id, string(a.body))
}

// Each service trusts the one before it.
func TestTheIDIsForwardedAcrossThreeServices(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			trusting := &seawall.Stack{Logger: discard, RequestID: &seawall.RequestIDOptions{Inbound: everyone}}
			last := protocol.new(trusting.Handler(showID))
			defer last.Close()
			middle := protocol.new(trusting.Handler(asking(last)))
			defer middle.Close()
			first := protocol.new((&seawall.Stack{Logger: discard}).Handler(asking(middle)))
			defer first.Close()

			a := get(t, first, "/")

			require.NoError(t, a.err)
			require.Equal(t, a.requireID(t), string(a.body))
		})
	}
}

// asking returns a handler that responds with the body of a response of s.
func asking(s *memhttp.Server) http.Handler {
	client := &http.Client{Transport: seawall.ForwardRequestID(s.Transport())}
	return apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(out)
		if err != nil {
			return fmt.Errorf("asking: %w", err)
		}
		defer resp.Body.Close()
		_, err = io.Copy(w, resp.Body)
		return err
	})
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/client"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
	"github.com/seawall-go/seawall/retry"
)

func TestMain(m *testing.M) { docsapitest.Main(m) }

// newClient returns a client that closes its connections at the end of the test.
func newClient(t *testing.T, url, key string) *client.Client {
	base := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(base.CloseIdleConnections)
	transport := &retry.Transport{Base: base, Logger: slog.New(slog.DiscardHandler)}
	return client.New(key, &client.Options{BaseURL: url, Transport: transport})
}

// The first part is the snippet of the specification, in Go.
func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t, "-faults")
	docs := newClient(t, server.URL, docsapitest.KeyDemo)
	_, err := docs.Resources.Create(t.Context(), client.ResourceParams{Name: ""})
	var e *apierror.Error
	require.ErrorAs(t, err, &e)
	var out strings.Builder
	if errors.Is(err, apierror.CodeParameterMissing) {
		fmt.Fprintf(&out, "Missing: %s", e.Param())
	}
	require.Equal(t, "Missing: name", out.String())
	require.NotEmpty(t, e.RequestID())

	long := client.ResourceParams{Name: strings.Repeat("x", 101)}
	for name, tt := range map[string]struct {
		key  string
		call func(context.Context, *client.Client) error
		want apierror.Code
	}{
		"invalid": {docsapitest.KeyDemo, func(ctx context.Context, c *client.Client) error {
			_, err := c.Resources.Create(ctx, long)
			return err
		}, apierror.CodeParameterInvalid},
		"missing": {docsapitest.KeyDemo, func(ctx context.Context, c *client.Client) error {
			_, err := c.Resources.Get(ctx, "res_none")
			return err
		}, apierror.CodeResourceMissing},
		"id with a slash": {docsapitest.KeyDemo, func(ctx context.Context, c *client.Client) error {
			_, err := c.Resources.Get(ctx, "../../healthz?a=b#c")
			return err
		}, apierror.CodeResourceMissing},
		"unauthenticated": {"sk_nobody", func(ctx context.Context, c *client.Client) error {
			_, err := c.Resources.List(ctx, "", 0)
			return err
		}, apierror.CodeAuthenticationFailed},
		"revoked": {docsapitest.KeyRevoked, func(ctx context.Context, c *client.Client) error {
			_, err := c.Resources.List(ctx, "", 0)
			return err
		}, apierror.CodeAuthenticationFailed},
		"denied": {docsapitest.KeyReadOnly, func(ctx context.Context, c *client.Client) error {
			return c.Resources.Delete(ctx, "res_none")
		}, apierror.CodePermissionDenied},
		"conflict": {docsapitest.KeyDemo, func(ctx context.Context, c *client.Client) error {
			ctx = retry.WithIdempotencyKey(ctx, "the-same")
			_, err := c.Resources.Create(ctx, client.ResourceParams{Name: "one"})
			if err != nil {
				return err
			}
			_, err = c.Resources.Create(ctx, client.ResourceParams{Name: "another"})
			return err
		}, apierror.CodeIdempotencyConflict},
	} {
		err := tt.call(t.Context(), newClient(t, server.URL, tt.key))
		require.ErrorIs(t, err, tt.want, name)
	}
}

func TestAllResourcesAreListedOnce(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t, "-rate=1000")
	docs := newClient(t, server.URL, docsapitest.KeyDemo)
	var want []string
	for i := range 120 { // more than a page
		created, err := docs.Resources.Create(t.Context(), client.ResourceParams{Name: fmt.Sprint("number ", i)})
		require.NoError(t, err)
		want = append(want, created.ID)
	}
	require.NoError(t, docs.Resources.Delete(t.Context(), want[99])) // the last of a page
	want = append(want[:99], want[100:]...)
	var got []string
	for resource, err := range docs.Resources.All(t.Context()) {
		require.NoError(t, err)
		got = append(got, resource.ID)
	}
	require.Equal(t, want, got)

	page, err := docs.Resources.List(t.Context(), "", 7)
	require.NoError(t, err)
	require.Len(t, page.Data, 7)
	page, err = docs.Resources.List(t.Context(), page.NextCursor, 1)
	require.NoError(t, err)
	require.Equal(t, want[7], page.Data[0].ID)

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for resource, err := range docs.Resources.All(canceled) {
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, resource)
	}
}

func TestUpdateKeepsWhatItDoesNotName(t *testing.T) {
	t.Parallel()
	docs := newClient(t, docsapitest.Start(t).URL, docsapitest.KeyDemo)
	metadata := map[string]string{"color": "blue"}
	created, err := docs.Resources.Create(t.Context(), client.ResourceParams{Name: "first", Metadata: metadata})
	require.NoError(t, err)
	updated, err := docs.Resources.Update(t.Context(), created.ID, client.ResourceParams{Name: "second"})
	require.NoError(t, err)
	require.Equal(t, client.Resource{ID: created.ID, Name: "second", Metadata: metadata}, updated)
	updated, err = docs.Resources.Update(t.Context(), created.ID, client.ResourceParams{Metadata: map[string]string{}})
	require.NoError(t, err)
	require.Equal(t, client.Resource{ID: created.ID, Name: "second", Metadata: map[string]string{}}, updated)
	found, err := docs.Resources.Get(t.Context(), created.ID)
	require.NoError(t, err)
	require.Equal(t, updated, found)
}

// These ids would be paths of something else.
func TestNoPathIsAnID(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Error("sent: ", r.RequestURI) }))
	t.Cleanup(server.Close)
	docs := newClient(t, server.URL, docsapitest.KeyDemo)
	for _, id := range []string{"", ".", ".."} {
		_, err := docs.Resources.Get(t.Context(), id)
		require.ErrorContains(t, err, "not the id of a resource", id)
		_, err = docs.Resources.Update(t.Context(), id, client.ResourceParams{Name: "first"})
		require.ErrorContains(t, err, "not the id of a resource", id)
		require.ErrorContains(t, docs.Resources.Delete(t.Context(), id), "not the id of a resource", id)
	}
}

// A service can be behind a path. All calls use one connection.
func TestCallsShareOneConnectionToBaseURL(t *testing.T) {
	t.Parallel()
	var paths []string
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.Method+" "+r.RequestURI)
		io.WriteString(w, `{"id":"a b","deleted":true}`+"\n")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	docs := newClient(t, server.URL+"/docs/", docsapitest.KeyDemo)
	for range 2 {
		require.NoError(t, docs.Resources.Delete(t.Context(), "a b"))
		_, err := docs.Resources.Get(t.Context(), "a/b")
		require.NoError(t, err)
		_, err = docs.Resources.List(t.Context(), "", 0)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"DELETE /docs/v1/resources/a%20b", "GET /docs/v1/resources/a%2Fb", "GET /docs/v1/resources"}, paths[:3])
	require.EqualValues(t, 1, connections.Load())
}

// A proxy loses the first response of each write. The service has done the work by then.
func TestLostResponseCreatesOneResource(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t)
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	var sent atomic.Int64
	base := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(base.CloseIdleConnections)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: base,
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method == http.MethodPost && sent.Add(1) == 1 {
				return io.ErrUnexpectedEOF
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	t.Cleanup(proxy.Close)
	docs := newClient(t, proxy.URL, docsapitest.KeyDemo)
	created, err := docs.Resources.Create(t.Context(), client.ResourceParams{Name: "once"})
	require.NoError(t, err)
	require.EqualValues(t, 2, sent.Load())
	page, err := docs.Resources.List(t.Context(), "", 0)
	require.NoError(t, err)
	require.Equal(t, []client.Resource{created}, page.Data)
}

func TestDeadServerIsAnErrorOfRetry(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t)
	server.Kill()
	docs := newClient(t, server.URL, docsapitest.KeyDemo)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := docs.Resources.Get(ctx, "res_none")
	var e *retry.Error
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Attempts, 3)
}

package interop_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
)

// request is sent to each composition. The second part of its fields describes the
// expected answer.
type request struct {
	name, method, path string
	twice              bool // it is sent twice, and the second answer is checked
	early              bool // it is answered before it reaches the router

	status int
	code   apierror.Code // of an error object; empty for itemBody
	torn   bool          // the client sees that the response is incomplete
	hinted bool          // a 103 comes first
	route  string
	fields []string // that the header must have
}

var requests = []request{
	{name: "success", method: http.MethodGet, path: "/items/7", status: 200, route: "/items/{id}"},
	{name: "unknown path", method: http.MethodGet, path: "/nowhere", status: 404, code: apierror.CodeResourceMissing},
	{
		name: "wrong method", method: http.MethodDelete, path: "/items/7", status: 405, code: apierror.CodeMethodNotAllowed,
		fields: []string{"Allow"},
	},
	{
		name: "refused by an error", method: http.MethodGet, path: "/refused", status: 400, code: apierror.CodeParameterInvalid,
		route: "/refused",
	},
	{name: "refused by Write", method: http.MethodGet, path: "/plain", status: 400, code: apierror.CodeParameterInvalid, route: "/plain"},
	{name: "panic", method: http.MethodGet, path: "/panic", status: 500, code: apierror.CodeAPIError, route: "/panic"},
	{name: "torn", method: http.MethodGet, path: "/torn", status: 200, torn: true, route: "/torn"},
	{
		name: "over the limit", method: http.MethodGet, path: "/limited", twice: true, early: true, status: 429,
		code: apierror.CodeRateLimitExceeded, route: "/limited", fields: []string{"Retry-After"},
	},
	{
		name: "replay", method: http.MethodPost, path: "/orders", twice: true, early: true, status: 201, route: "/orders",
		fields: []string{"Idempotent-Replayed"},
	},
	{name: "upload", method: http.MethodPost, path: "/upload", status: 200, route: "/upload"},
	{name: "early hints", method: http.MethodGet, path: "/hints", hinted: true, status: 200, route: "/hints"},
}

// variants are the forms of each request.
var variants = []struct {
	name       string
	head, gzip bool
}{
	{name: "plain"},
	{name: "gzip", gzip: true},
	{name: "HEAD", head: true},
	{name: "HEAD gzip", head: true, gzip: true},
}

func startServer(t *testing.T, h http.Handler, http2 bool) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = discardLog
	if http2 {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	transport := server.Client().Transport.(*http.Transport)
	transport.DisableCompression = true  // the test asks for gzip itself
	transport.DisableKeepAlives = !http2 // the client retries a request that was aborted on a used connection
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return server
}

// answer is what the client, the log and outer middleware see of a request.
type answer struct {
	head, gzip bool
	hints      int // number of 103 responses
	status     int
	header     http.Header
	wire, body []byte // body is wire without its Content-Encoding
	err        error  // of the client
	pattern    string // of the request that was passed to the chain
	log        []logLine
}

func ask(t *testing.T, s *service, server *httptest.Server, req request, head, gzipped bool, key string) answer {
	t.Helper()
	method, body, contentType := req.method, io.Reader(nil), ""
	switch {
	case head:
		method = http.MethodHead
	case req.path == "/upload":
		body, contentType = uploadForm(t)
	case method == http.MethodPost:
		body, contentType = strings.NewReader("{}"), "application/json"
	}
	a := answer{head: head, gzip: gzipped}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			if status == http.StatusEarlyHints && h.Get("Link") != "" {
				a.hints++
			}
			return nil
		},
	})
	r, err := http.NewRequestWithContext(ctx, method, server.URL+req.path, body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", contentType)
	if req.path == "/orders" {
		r.Header.Set("Idempotency-Key", key)
	}
	r.Header.Set("Origin", "https://example.com")
	if gzipped {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	resp, err := server.Client().Do(r)
	if a.err = err; err == nil {
		defer resp.Body.Close()
		a.status, a.header = resp.StatusCode, resp.Header
		if a.wire, a.err = io.ReadAll(resp.Body); a.err == nil {
			a.body, a.err = decoded(a.header.Get("Content-Encoding"), a.wire)
		}
	}
	select {
	case a.pattern = <-s.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("the chain did not return from %s %s", method, req.path)
	}
	a.log = s.accessLog(t)
	return a
}

func uploadForm(t *testing.T) (body io.Reader, contentType string) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", "a.txt")
	require.NoError(t, err)
	io.WriteString(part, strings.Repeat("x", 10_000))
	require.NoError(t, form.Close())
	return &b, form.FormDataContentType()
}

func decoded(encoding string, wire []byte) ([]byte, error) {
	if encoding != "gzip" || len(wire) == 0 {
		return wire, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(wire))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

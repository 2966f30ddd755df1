package seawall_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// raw sends a request as it is written, which no client would, and returns the answer.
func raw(t *testing.T, s *memhttp.Server, request string) answer {
	t.Helper()
	conn, err := s.Dial(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	method, _, _ := strings.Cut(request, " ")
	r := &http.Request{Method: method}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{Response: resp, body: body, err: err}
}

// Requests that no HTTP client sends, or that HTTP/2 cannot express.
func TestOddTargets(t *testing.T) {
	t.Parallel()
	shop := http.NewServeMux()
	shop.Handle("/v1/things/{id}/", ok)
	shop.Handle("GET /v1/things", ok)
	for name, row := range map[string]struct {
		request string
		status  int
		code    apierror.Code // "" for an answer of the mux or of net/http
		pattern any           // nil where the chain is not reached
	}{
		"CONNECT to an authority":         {"CONNECT hush.example:443 HTTP/1.1\r\nHost: hush.example:443\r\n\r\n", 404, apierror.CodeResourceMissing, ""},
		"CONNECT to a path":               {"CONNECT /v1/things/hush/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, "", "/v1/things/{id}/"},
		"CONNECT that is redirected":      {"CONNECT /v1/things/hush HTTP/1.1\r\nHost: x\r\n\r\n", 307, "", ""},
		"CONNECT with a wrong method":     {"CONNECT /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"GET *":                           {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, apierror.CodeParameterInvalid, ""},
		"OPTIONS * is net/http's":         {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200, "", nil},
		"OPTIONS of a route":              {"OPTIONS /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"absolute form":                   {"GET http://hush.example/v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 200, "", "GET /v1/things"},
		"a method of its own":             {"HUSH /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"a method that never ends":        {strings.Repeat("X", 1<<18) + " /v1/things HTTP/1.1\r\nHost: x\r\n\r\n", 405, apierror.CodeMethodNotAllowed, ""},
		"no path":                         {"GET ?key=hush HTTP/1.1\r\nHost: x\r\n\r\n", 400, "", nil},
		"two ids, one with control bytes": {"GET /v1/things HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x01b\r\n\r\n", 400, "", nil},
		"HTTP/1.0":                        {"GET /v1/hush HTTP/1.0\r\n\r\n", 404, apierror.CodeResourceMissing, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			s := memhttp.New((&seawall.Stack{Logger: logs.logger(), RequestID: &seawall.RequestIDOptions{Inbound: everyone}}).Handler(shop))
			defer s.Close()

			a := raw(t, s, row.request)

			require.NoError(t, a.err)
			require.Equal(t, row.status, a.StatusCode)
			if row.code != "" {
				a.requireError(t, row.status, row.code)
			}
			if name == "GET *" {
				require.Contains(t, string(a.body), `"The request target * names no resource."`)
			}
			s.Close()
			require.Empty(t, s.Log())
			lines := logs.access(t)
			if row.pattern == nil {
				require.Empty(t, lines)
				return
			}
			require.Len(t, lines, 1)
			require.Equal(t, row.pattern, lines[0]["pattern"])
			require.LessOrEqual(t, len(lines[0]["method"].(string)), 32+len("…"))
			delete(lines[0], "method")
			require.NotContains(t, lines[0], "hush")
		})
	}
}

// NotFound alone, below nothing of ours.
func TestNotFoundAlone(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.WrapMux(mux("POST /", ok)), nil)
	answer{Response: w.Result(), body: w.Body.Bytes()}.requireErrorOf(t, http.MethodGet, http.StatusMethodNotAllowed, apierror.CodeMethodNotAllowed)
	require.Equal(t, []string{"POST"}, w.Header()["Allow"])
	require.Equal(t, "ok", serveOne(seawall.WrapMux(mux("GET /", ok)), nil).Body.String())
}

// A mux in a mux answers by itself, unless it has a NotFound of its own.
func TestMuxInAMux(t *testing.T) {
	t.Parallel()
	inner := mux("GET /things", ok)
	for name, row := range map[string]struct {
		inner http.Handler
		code  apierror.Code
	}{
		"bare":    {inner, ""},
		"wrapped": {seawall.WrapMux(inner), apierror.CodeResourceMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := memhttp.New((&seawall.Stack{Logger: discard}).Handler(mux("/v1/", http.StripPrefix("/v1", row.inner))))
			defer s.Close()
			require.Equal(t, "ok", string(get(t, s, "/v1/things").body))
			a := get(t, s, "/v1/nothing")
			require.Equal(t, http.StatusNotFound, a.StatusCode)
			if row.code != "" {
				a.requireError(t, http.StatusNotFound, row.code)
			} else {
				require.Equal(t, "404 page not found\n", string(a.body))
			}
		})
	}
}

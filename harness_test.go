package seawall_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// protocols are the servers on which the tests run.
var protocols = []struct {
	name string
	new  func(http.Handler) *memhttp.Server
}{
	{"h1", memhttp.New},
	{"h2", memhttp.NewHTTP2},
}

// answer is what a client got.
type answer struct {
	*http.Response
	body []byte
	err  error // of the request, or of reading the body
}

// do sends a request and reads the response.
func do(client *http.Client, r *http.Request) answer {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{Response: resp, body: body, err: err}
}

// get sends a GET request.
func get(t *testing.T, s *memhttp.Server, path string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	require.NoError(t, err)
	return do(s.Client(), r)
}

// post sends a POST request without a body. net/http's client never retries it, unlike a GET.
func post(t *testing.T, s *memhttp.Server, path string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, nil)
	require.NoError(t, err)
	return do(s.Client(), r)
}

// raw sends the bytes of a request that no client would send.
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

// serveOne calls h with a GET request that has the headers.
func serveOne(h http.Handler, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var requestIDForm = regexp.MustCompile(`^req_[0-9A-Za-z]{16}$`)

// requireID asserts that both headers have the same generated id, and returns it.
func (a answer) requireID(t *testing.T) string {
	t.Helper()
	require.Len(t, a.Header["Request-Id"], 1)
	require.Equal(t, a.Header["Request-Id"], a.Header["X-Request-Id"])
	id := a.Header.Get("Request-Id")
	require.Regexp(t, requestIDForm, id)
	return id
}

// requireError asserts that the answer is a complete error object with the headers of every
// error.
func (a answer) requireError(t *testing.T, status int, code apierror.Code) {
	t.Helper()
	require.NoError(t, a.err)
	a.requireErrorOf(t, a.Request.Method, status, code)
}

// requireErrorOf is requireError for an answer without a request.
func (a answer) requireErrorOf(t *testing.T, method string, status int, code apierror.Code) {
	t.Helper()
	require.Equal(t, status, a.StatusCode)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
	id := a.requireID(t)
	if method == http.MethodHead {
		require.Empty(t, a.body)
		return
	}
	var envelope struct {
		Error struct {
			Type      string `json:"type"`
			Code      string `json:"code"`
			Message   string `json:"message"`
			RequestID string `json:"request_id"`
		} `json:"error"`
	}
	require.NoError(t, json.Unmarshal(a.body, &envelope), "%q", a.body)
	require.Equal(t, string(code), envelope.Error.Code)
	require.NotEmpty(t, envelope.Error.Type)
	require.NotEmpty(t, envelope.Error.Message)
	require.Equal(t, id, envelope.Error.RequestID)
}

// requireBroken asserts that the client sees that the response is incomplete.
func (a answer) requireBroken(t *testing.T) {
	t.Helper()
	require.Error(t, a.err, "a complete response: %q", a.body)
}

var errSecret = errors.New("secret cause: password=hunter2")

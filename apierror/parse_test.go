package apierror_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

func response(status int, contentType, body string, header ...string) *http.Response {
	h := http.Header{}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

const problemType = "application/problem+json"

func TestParseOfHostileBodies(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		status      int
		contentType string
		body        string
		code        apierror.Code
		typ         apierror.Type
		message     string
		fromServer  bool
	}{
		{"the specification's", 400, jsonType, `{"error":{"type":"invalid_request_error","code":"parameter_missing","message":"No name.","param":"name"}}`,
			"parameter_missing", "invalid_request_error", "No name.", true},
		{"whatever the Content-Type", 400, "text/html", `{"error":{"code":"parameter_missing","message":"m"}}`, "parameter_missing", "invalid_request_error", "m", true},
		{"the body wins over the status", 500, jsonType, `{"error":{"type":"rate_limit_error","code":"parameter_missing","message":"m"}}`, "parameter_missing", "rate_limit_error", "m", true},
		{"the code's type wins over the status", 500, jsonType, `{"error":{"code":"permission_denied","message":"m"}}`, "permission_denied", "permission_error", "m", true},
		{"the status's type, if need be", 429, jsonType, `{"error":{"code":"own","message":"m"}}`, "own", "rate_limit_error", "m", true},
		{"unknown ones, verbatim", 418, jsonType, `{"error":{"type":"Tea Error","code":"SHORT & stout","message":"m","colour":1}}`, "SHORT & stout", "Tea Error", "m", true},
		{"only a type", 400, jsonType, `{"error":{"type":"api_error"}}`, "", "api_error", "The server answered Bad Request.", true},
		{"no message", 400, jsonType, `{"error":{"code":"own"}}`, "own", "invalid_request_error", "The server answered Bad Request.", true},
		{"wrong JSON types", 404, jsonType, `{"error":{"type":["x"],"code":"own","message":{"a":1},"param":7,"errors":{},"metadata":[],"request_id":null,"doc_url":true}}`,
			"own", "invalid_request_error", "The server answered Not Found.", true},
		{"nothing of use", 404, jsonType, `{"error":{"type":1,"code":2,"message":"text"}}`, "", "invalid_request_error", "text", false},
		{"other case is another member", 404, jsonType, `{"Error":{"Code":"own"}}`, "", "invalid_request_error", `The server answered Not Found: {"Error":{"Code":"own"}}`, false},
		{"duplicates", 404, jsonType, `{"error":1,"error":{"code":"a","code":"own","message":"m"}}`, "own", "invalid_request_error", "m", true},
		{"invalid UTF-8", 404, jsonType, "{\"error\":{\"code\":\"own\",\"message\":\"a\xff\"}}", "own", "invalid_request_error", "a\ufffd", true},
		{"byte order mark", 404, jsonType, "\ufeff" + `{"error":{"code":"own","message":"m"}}`, "own", "invalid_request_error", "m", true},
		{"something after it", 404, jsonType, `{"error":{"code":"own","message":"m"}}<!-- proxy -->`, "own", "invalid_request_error", "m", true},
		{"null", 500, jsonType, `null`, "", "api_error", "The server answered Internal Server Error: null", false},
		{"array", 500, jsonType, `[]`, "", "api_error", "The server answered Internal Server Error: []", false},
		{"error null", 401, jsonType, `{"error":null}`, "", "authentication_error", `The server answered Unauthorized: {"error":null}`, false},
		{"error text", 403, jsonType, `{"error":"no"}`, "", "permission_error", `The server answered Forbidden: {"error":"no"}`, false},
		{"error empty", 400, jsonType, `{"error":{}}`, "", "invalid_request_error", `The server answered Bad Request: {"error":{}}`, false},
		{"nothing", 502, "", ``, "", "api_error", "The server answered Bad Gateway.", false},
		{"unknown status", 599, "", ``, "", "api_error", "The server answered with an unknown status.", false},
		{"a status beyond all", 999, "", ``, "", "api_error", "The server answered with an unknown status.", false},
		{"a proxy's page", 404, "text/html", "<html>\r\n\t<h1>404\x00\x1b[1m  Not\u2028Found</h1>\n</html>", "", "invalid_request_error",
			"The server answered Not Found: <html> <h1>404[1m Not Found</h1> </html>", false},
		{"cut off", 400, jsonType, `{"error":{"type":"invalid_request_error","code":"parameter_mis`, "", "invalid_request_error",
			`The server answered Bad Request: {"error":{"type":"invalid_request_error","code":"parameter_mis`, false},
		{"deep", 400, jsonType, strings.Repeat(`{"error":`, 60_000/9), "", "invalid_request_error",
			"The server answered Bad Request: " + strings.Repeat(`{"error":`, 22) + "…", false},
		{"deep, within it", 400, jsonType, `{"error":{"code":"own","message":"m","metadata":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}}`, "own", "invalid_request_error", "m", true},
		{"problem details", 403, problemType + "; charset=utf-8", `{"type":"https://x/credit","title":"No credit.","status":418,"detail":"You have 30.","instance":"/a/1","code":"account_frozen"}`,
			"account_frozen", "permission_error", "You have 30.", true},
		{"problem details without a detail", 403, problemType, `{"title":"No credit."}`, "", "permission_error", "No credit.", true},
		{"problem details of a known code", 500, problemType, `{"code":"rate_limit_exceeded","detail":"d"}`, "rate_limit_exceeded", "rate_limit_error", "d", true},
		{"problem details in name alone", 400, problemType, `{"error":{"code":"own","message":"m"}}`, "own", "invalid_request_error", "m", true},
		{"empty problem details", 400, problemType, `{}`, "", "invalid_request_error", "The server answered Bad Request: {}", false},
		{"problem details of another type", 400, jsonType, `{"title":"No credit."}`, "", "invalid_request_error", `The server answered Bad Request: {"title":"No credit."}`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			resp := response(row.status, row.contentType, row.body)
			e := asError(t, apierror.Parse(resp))

			equal(t, "code", e.Code(), row.code)
			equal(t, "type", e.Type(), row.typ)
			equal(t, "status", e.Status(), row.status)
			equal(t, "message", e.Message(), row.message)
			equal(t, "FromServer", e.FromServer(), row.fromServer)
			equal(t, "is a missing resource", errors.Is(e, apierror.CodeResourceMissing), false)
			equal(t, "is one line", strings.ContainsAny(e.Error(), "\r\n\x00\u2028"), false)
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != row.body {
				t.Errorf("resp.Body: %v, %d of %d bytes", err, len(body), len(row.body))
			}
		})
	}
}

func TestParseLeavesASuccessAlone(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 204, 301, 304, 399} {
		resp := response(status, jsonType, `{"error":{"code":"own"}}`)
		if err := apierror.Parse(resp); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if b, _ := io.ReadAll(resp.Body); len(b) == 0 {
			t.Errorf("%d: the body was read", status)
		}
	}
}

func TestParseOfAlmostNothing(t *testing.T) {
	t.Parallel()
	e := asError(t, apierror.Parse(nil))
	equal(t, "text", e.Error(), "api_error: There was no response.")
	equal(t, "retryable", e.Retryable(), true)
	equal(t, "rendered", apierror.From(e).Code(), apierror.CodeAPIError)

	resp := &http.Response{StatusCode: 500}
	equal(t, "text", apierror.Parse(resp).Error(), "500 api_error: The server answered Internal Server Error.")
	if b, err := io.ReadAll(resp.Body); len(b) > 0 || err != nil {
		t.Error(b, err)
	}
}

func TestParseReadsFieldsAndMetadata(t *testing.T) {
	t.Parallel()
	e := asError(t, apierror.Parse(response(400, jsonType, `{"error":{"code":"own","message":"m","doc_url":"https://x",
		"errors":[{"code":"a","param":"p","message":"m"}, null, 5, "x", [], {"code":1,"param":"q"}, {}],
		"metadata":{"a":"1","b":2,"c":null,"d":{},"e":""}}}`)))
	equal(t, "fields", fmt.Sprint(e.Fields()), "[{a p m} { q } {  }]")
	equal(t, "metadata", fmt.Sprint(e.Metadata()), "map[a:1 e:]")
	equal(t, "doc_url", e.DocURL(), "https://x")

	many := `{"error":{"code":"own","errors":[` + strings.Repeat(`{},`, 5000) + `{}],"metadata":{`
	for i := range 500 {
		many += fmt.Sprintf(`"%03d":"v",`, i)
	}
	many += `"z":"v"}}}`
	e = asError(t, apierror.Parse(response(400, jsonType, many)))
	equal(t, "at most", fmt.Sprint(len(e.Fields()), len(e.Metadata())), "100 50")
	equal(t, "the first", e.Metadata()["049"], "v")
}

func TestRequestIDOfAResponse(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	for _, row := range []struct {
		name   string
		header []string
		body   string
		want   string
	}{
		{"the header wins", []string{"Request-Id", "req_h", "X-Request-Id", "req_x"}, "req_b", "req_h"},
		{"then the body", []string{"X-Request-Id", "req_x"}, "req_b", "req_b"},
		{"then the other header", []string{"X-Request-Id", "req_x"}, "", "req_x"},
		{"none", nil, "", ""},
		{"blank", []string{"Request-Id", "  "}, "req_b", "req_b"},
		{"blanks around it", []string{"Request-Id", " req_h\t"}, "", "req_h"},
		{"the same twice", []string{"Request-Id", "req_h", "Request-Id", "req_h"}, "", "req_h"},
		{"two that differ", []string{"Request-Id", "req_1", "Request-Id", "req_2"}, "req_b", "req_b"},
		{"control characters", []string{"Request-Id", "a\r\nb\x00\x1b"}, "", "a  b  "},
		{"invisible ones", []string{"Request-Id", "a\u202eb"}, "", "ab"},
		{"in the body, too", nil, "a\u2028\n", "a  "},
		{"too long", []string{"Request-Id", long}, "", strings.Repeat("x", 125) + "…"},
		{"too long in the body", nil, long[:1000], strings.Repeat("x", 125) + "…"},
		{"control characters alone", []string{"Request-Id", strings.Repeat("\x00", 128)}, "", strings.Repeat(" ", 128)},
	} {
		id, _ := json.Marshal(row.body)
		e := asError(t, apierror.Parse(response(404, jsonType, `{"error":{"code":"own","message":"m","request_id":`+string(id)+`}}`, row.header...)))
		equal(t, row.name, e.RequestID(), row.want)
	}
	e := asError(t, apierror.Parse(response(404, jsonType, `{"error":{"message":"m","request_id":"req_b"}}`)))
	equal(t, "of an object without a code", e.RequestID(), "req_b")
	e = asError(t, apierror.Parse(response(404, problemType, `{"title":"t","instance":"/r/1"}`)))
	equal(t, "of problem details", e.RequestID(), "/r/1")
}

func TestWhatAResponseSaysOfRetries(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status    int
		header    []string
		retryable bool
		after     time.Duration
	}{
		{400, nil, false, 0},
		{404, []string{"X-Should-Retry", "true"}, false, 0}, // true never widens
		{408, nil, false, 0},
		{409, nil, false, 0},
		{429, nil, true, 0},
		{429, []string{"X-Should-Retry", " FALSE "}, false, 0},
		{429, []string{"X-Should-Retry", "true", "X-Should-Retry", "false"}, false, 0},
		{500, nil, true, 0},
		{501, nil, false, 0},
		{503, []string{"Retry-After", "120"}, true, 2 * time.Minute},
		{503, []string{"Retry-After", "-1"}, true, 0},
		{503, []string{"Retry-After", "soon"}, true, 0},
		{503, []string{"Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"}, true, 0},
		{503, []string{"Retry-After", strings.Repeat("9", 40)}, true, 9223372036 * time.Second},
	} {
		e := asError(t, apierror.Parse(response(row.status, "", "", row.header...)))
		equal(t, fmt.Sprint(row), e.Retryable(), row.retryable)
		equal(t, fmt.Sprint(row), e.RetryAfter(), row.after)
	}
	for _, layout := range []string{http.TimeFormat, time.RFC850, time.ANSIC} {
		at := time.Now().Add(time.Hour).UTC().Format(layout)
		at = strings.Replace(at, "UTC", "GMT", 1)
		after := asError(t, apierror.Parse(response(503, "", "", "Retry-After", at))).RetryAfter()
		if after < 50*time.Minute || after > time.Hour {
			t.Errorf("%s: %v", at, after)
		}
	}
}

func TestAnErrorsTextShowsNoSecretOfTheURL(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://user:secret-4711@api.example.com/v1/a%20b/secret?key=secret-4711#secret-4711")
	if err != nil {
		t.Fatal(err)
	}
	resp := response(404, jsonType, `{"error":{"code":"own","message":"m"}}`)
	resp.Request = &http.Request{URL: u}
	equal(t, "text", apierror.Parse(resp).Error(), "GET https://api.example.com/v1/a%20b/secret: 404 own: m")

	resp.Request = &http.Request{Method: "PO\nST", URL: &url.URL{Path: "/\x1b"}}
	resp.StatusCode = 500
	equal(t, "text", apierror.Parse(resp).Error(), "PO ST /%1B: 500 own: m")
	resp.Request = &http.Request{}
	equal(t, "text", apierror.Parse(resp).Error(), `500 own: m`)
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func TestParseOfCompressedBodies(t *testing.T) {
	t.Parallel()
	object := `{"error":{"code":"own","message":"m"}}`
	for _, row := range []struct {
		name, encoding, body string
		code                 apierror.Code
		message              string
	}{
		{"gzip", "gzip", gzipped(object), "own", "m"},
		{"gzip in other case", " X-GZip ", gzipped(object), "own", "m"},
		{"identity", "identity", object, "own", "m"},
		{"gzip, cut off", "gzip", gzipped(object)[:len(gzipped(object))-8], "own", "m"},
		{"gzip in name alone", "gzip", object, "", "The server answered Bad Request."},
		{"a bomb", "gzip", gzipped(strings.Repeat(" ", 8<<20)), "", "The server answered Bad Request."},
		{"gzip of more than 64 KiB", "gzip", gzipped(strings.Repeat(" ", 64<<10) + object), "", "The server answered Bad Request."},
		{"brotli", "br", "\x0b\x02\x80abc\x03", "", "The server answered Bad Request."},
		{"two", "gzip, gzip", gzipped(gzipped(object)), "", "The server answered Bad Request."},
	} {
		resp := response(400, jsonType, row.body, "Content-Encoding", row.encoding)
		e := asError(t, apierror.Parse(resp))
		equal(t, row.name, e.Code(), row.code)
		equal(t, row.name, e.Message(), row.message)
		b, err := io.ReadAll(resp.Body)
		equal(t, row.name+": the body is as it came", string(b) == row.body && err == nil, true)
	}
}

// stream is a body of any length that counts.
type stream struct {
	left   int64 // negative never ends
	read   int64
	closed bool
	err    error // at the end; nil is io.EOF
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left == 0 {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := int64(len(p))
	if s.left > 0 {
		n = min(n, s.left)
		s.left -= n
	}
	s.read += n
	for i := range p[:n] {
		p[i] = 'a'
	}
	return int(n), nil
}

func (s *stream) Close() error { s.closed = true; return nil }

func TestParseReadsAtMost64KiB(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		size     int64
		readable int
		taken    int64
	}{
		{10, 10, 10},
		{64 << 10, 64 << 10, 64 << 10},
		{100 << 10, 64 << 10, 100 << 10},
		{-1, 64 << 10, 128 << 10},
	} {
		body := &stream{left: row.size}
		resp := &http.Response{StatusCode: 500, Header: http.Header{}, Body: body}
		e := asError(t, apierror.Parse(resp))
		readable, err := io.ReadAll(resp.Body)
		equal(t, "readable", len(readable), row.readable)
		equal(t, "taken", body.read, row.taken)
		equal(t, "closed", body.closed && err == nil, true)
		equal(t, "bounded", len(e.Message()) < 300, true)
	}
}

func TestParseTellsWhyABodyEnded(t *testing.T) {
	t.Parallel()
	body := &stream{left: 5, err: context.DeadlineExceeded}
	e := asError(t, apierror.Parse(&http.Response{StatusCode: 500, Body: body}))
	equal(t, "cause", errors.Is(e, context.DeadlineExceeded), true)
	equal(t, "message", e.Message(), "The server answered Internal Server Error: aaaaa")
	equal(t, "closed", body.closed, true)
}

func TestParseLeavesTheConnectionReusable(t *testing.T) {
	t.Parallel()
	for size, reused := range map[int]bool{0: true, 1000: true, 64 << 10: true, 100 << 10: true, 10 << 20: false} {
		var connections atomic.Int64
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			w.Write(make([]byte, size))
		}))
		server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			connections.Add(1)
			return ctx
		}
		server.Start()
		for range 3 {
			resp, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			if err := apierror.Parse(resp); err == nil {
				t.Error("no error")
			}
		}
		equal(t, fmt.Sprint(size, " bytes"), connections.Load() == 1, reused)
		server.Close()
	}
}

func TestASnippetHasAtMost200Runes(t *testing.T) {
	t.Parallel()
	for _, body := range []string{strings.Repeat("ä", 5000), strings.Repeat("ä ", 5000), strings.Repeat("ä\n\n", 199), strings.Repeat("a", 198) + " b"} {
		message := asError(t, apierror.Parse(response(500, "", body))).Message()
		snippet := []rune(strings.TrimPrefix(message, "The server answered Internal Server Error: "))
		if len(snippet) > 200 || len(snippet) < 198 {
			t.Errorf("%d runes", len(snippet))
		}
	}
}

func TestAContentLengthThatLies(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{math.MinInt64, -1, 0, 1, 64 << 10, 64<<10 + 1, math.MaxInt64} {
		const body = `{"error":{"code":"own","message":"m"}}`
		resp := response(400, jsonType, body)
		resp.ContentLength = length
		equal(t, "code", asError(t, apierror.Parse(resp)).Code(), "own")
		again, err := io.ReadAll(resp.Body)
		equal(t, "body", string(again), body)
		equal(t, "error", err, nil)
	}
}

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

func TestParseReturnsNilForSuccesses(t *testing.T) {
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

func TestParseWithoutResponseOrBody(t *testing.T) {
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

func TestParseChoosesTheRequestID(t *testing.T) {
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
		{"only control characters", []string{"Request-Id", strings.Repeat("\x00", 128)}, "", strings.Repeat(" ", 128)},
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

func TestParseReadsRetryHeaders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status    int
		header    []string
		retryable bool
		after     time.Duration
	}{
		{400, nil, false, 0},
		{404, []string{"X-Should-Retry", "true"}, false, 0}, // true has no effect
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

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func TestParseDecompressesGzip(t *testing.T) {
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
		{"gzip only by name", "gzip", object, "", "The server answered Bad Request."},
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

// stream is a body that counts the bytes read from it.
type stream struct {
	left   int64 // if negative, it never ends
	read   int64
	closed bool
	err    error // at the end; if nil, io.EOF
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

func TestParseKeepsTheErrorOfTheBodyAsCause(t *testing.T) {
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

func TestParseQuotesForeignBodies(t *testing.T) {
	t.Parallel()
	const answered = "The server answered Bad Gateway"
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, row := range []struct{ body, want string }{
		{" a  b\n", answered + ": a b"},
		{"", answered + "."},
		{x(198), answered + ": " + x(198)},
		{x(199), answered + ": " + x(198) + "…"},
		{x(196) + " yz", answered + ": " + x(196) + " y…"},
		{x(150) + "\xff\x00y", answered + ": " + x(150) + "y"},
	} {
		e := asError(t, apierror.Parse(response(502, "text/html", row.body)))
		equal(t, "message", e.Message(), row.want)
	}
}

func TestParseQuotesAtMost200Runes(t *testing.T) {
	t.Parallel()
	for _, body := range []string{strings.Repeat("ä", 5000), strings.Repeat("ä ", 5000), strings.Repeat("ä\n\n", 199), strings.Repeat("a", 198) + " b"} {
		message := asError(t, apierror.Parse(response(500, "", body))).Message()
		snippet := []rune(strings.TrimPrefix(message, "The server answered Internal Server Error: "))
		if len(snippet) > 200 || len(snippet) < 198 {
			t.Errorf("%d runes", len(snippet))
		}
	}
}

func TestParseDoesNotTrustTheContentLength(t *testing.T) {
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

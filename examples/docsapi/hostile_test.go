package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// hostile is a request of an attacker or of a broken client, as the bytes that are sent, and its
// answer. Either the service answers with an error object that has the code, or the answer has the
// status: a success, a redirect, or a refusal that net/http writes before it calls the service.
type hostile struct {
	name   string
	send   string
	code   apierror.Code
	status int
	cut    bool // nothing follows what is sent: the client has closed its side
	reset  bool // the answer can be lost, because the client goes on sending after it
}

// byNetHTTP reports whether the service does not see the request.
func (h hostile) byNetHTTP() bool { return h.code == "" && h.status >= 400 }

// isHEAD reports whether the answer has no body.
func (h hostile) isHEAD() bool { return strings.HasPrefix(h.send, "HEAD ") }

const (
	post = "POST /v1/resources HTTP/1.1"
	list = "GET /v1/resources HTTP/1.1"
	good = `{"name":"good"}`
	form = "Content-Type: application/x-www-form-urlencoded"
	typ  = "Content-Type: application/json"
	anon = "Authorization:" // no key
)

// usedKey is an idempotency key that newTarget uses.
const usedKey = "used"

// hostileRequests returns the requests. The server needs the flags of hostileFlags.
func hostileRequests() []hostile {
	large := `{"name":"` + strings.Repeat("a", 1<<20) + `"}`
	return []hostile{
		// Keys
		{name: "no key", send: raw(list, "", anon), code: "authentication_failed"},
		{name: "unknown key", send: raw(list, "", "Authorization: Bearer sk_live"), code: "authentication_failed"},
		{name: "unknown scheme", send: raw(list, "", "Authorization: Negotiate sk_test_demo"), code: "authentication_failed"},
		{name: "broken Basic", send: raw(list, "", "Authorization: Basic !!!"), code: "authentication_failed"},
		{name: "two keys", send: raw(list, "", "Authorization: Bearer sk_test_demo", "Authorization: Bearer sk_test_readonly"), code: "authentication_failed"},
		{name: "revoked key", send: raw(list, "", "Authorization: Bearer sk_test_revoked"), code: "authentication_failed"},
		{name: "write without the scope", send: raw(post, good, typ, "Authorization: Bearer sk_test_readonly"), code: "permission_denied"},
		{name: "replay without the scope", send: raw(post, good, typ, "Authorization: Bearer sk_test_readonly", "Idempotency-Key: "+usedKey), code: "permission_denied"},

		// Bodies
		{name: "no body", send: raw(post, "", typ), code: "parameter_missing"},
		{name: "half of a document", send: raw(post, `{"name":`, typ), code: "parameter_invalid"},
		{name: "deep nesting", send: raw(post, `{"name":"a","metadata":`+strings.Repeat(`{"a":`, 100_000), typ), code: "parameter_invalid"},
		{name: "deep arrays", send: raw(post, strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000), typ), code: "parameter_invalid"},
		{name: "number as name", send: raw(post, `{"name":1}`, typ), code: "parameter_invalid"},
		{name: "number that is too large", send: raw(post, `{"name":`+strings.Repeat("9", 10_000)+`}`, typ), code: "parameter_invalid"},
		{name: "null", send: raw(post, `null`, typ), code: "parameter_invalid"},
		{name: "two documents", send: raw(post, good+good, typ), code: "parameter_invalid"},
		{name: "name twice", send: raw(post, `{"name":"a","name":"b"}`, typ), code: "parameter_invalid"},
		{name: "unknown member", send: raw(post, `{"name":"a","__proto__":{}}`, typ), code: "parameter_invalid"},
		{name: "name that is too long", send: raw(post, `{"name":"`+strings.Repeat("é", maxName+1)+`"}`, typ), code: "parameter_invalid"},
		{name: "too much metadata", send: raw(post, `{"name":"a","metadata":{`+manyEntries()+`}}`, typ), code: "parameter_invalid"},
		{name: "long metadata key", send: raw(post, `{"name":"a","metadata":{"`+strings.Repeat("k", 60_000)+`":""}}`, typ), code: "parameter_invalid"},
		{name: "name that is not UTF-8", send: raw(post, "{\"name\":\"\xff\"}", typ), status: 201}, // it is replaced
		{name: "NUL in name", send: raw(post, `{"name":"a\u0000b"}`, typ), code: "parameter_invalid"},
		{name: "NUL in metadata", send: raw(post, `{"name":"a","metadata":{"k":"\u0000"}}`, typ), code: "parameter_invalid"},
		{name: "raw NUL", send: raw(post, "{\"name\":\"a\x00b\"}", typ), code: "parameter_invalid"},
		{name: "half of a surrogate pair", send: raw(post, `{"name":"\ud800"}`, typ), status: 201},
		{name: "no media type", send: raw(post, good), code: "unsupported_media_type"},
		{name: "XML", send: raw(post, `<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>`, "Content-Type: text/xml"), code: "unsupported_media_type"},
		{name: "multipart", send: raw(post, "--x\r\n", "Content-Type: multipart/form-data; boundary=x"), code: "unsupported_media_type"},
		{name: "form with a bad escape", send: raw(post, "name=%zz", form), code: "parameter_invalid"},
		{name: "form with a semicolon", send: raw(post, "name=a;b=c", form), code: "parameter_invalid"},
		{name: "form with name twice", send: raw(post, "name=a&name=b", form), code: "parameter_invalid"},
		{name: "form with half a bracket", send: raw(post, "name=a&metadata[=b", form), code: "parameter_invalid"},
		{name: "form with a long field", send: raw(post, strings.Repeat("x", 60_000)+"=", form), code: "parameter_invalid"},
		{name: "form with NUL", send: raw(post, "name=a%00b", form), code: "parameter_invalid"},
		{name: "form that is not UTF-8", send: raw(post, "name=%ff", form), code: "parameter_invalid"},
		{name: "form with metadata that is not UTF-8", send: raw(post, "name=a&metadata[%ff]=b", form), code: "parameter_invalid"},
		{name: "large body", send: raw(post, large, typ), code: "request_too_large", reset: true},
		{name: "large body with a key", send: raw(post, large, typ, "Idempotency-Key: large"), code: "request_too_large", reset: true},
		{name: "large body in chunks", send: raw(post, chunk(large)+"0\r\n\r\n", typ, "Transfer-Encoding: chunked"), code: "request_too_large", reset: true},
		{name: "large body in chunks with a key", send: raw(post, chunk(large)+"0\r\n\r\n", typ, "Transfer-Encoding: chunked", "Idempotency-Key: large"), code: "request_too_large", reset: true},
		{name: "large body of a GET", send: raw(list, large), code: "request_too_large", reset: true},
		{name: "large body for the health check", send: raw("POST /healthz HTTP/1.1", large, anon), code: "method_not_allowed", reset: true},

		// Lies about the length
		{name: "Content-Length of gigabytes", send: raw(post, good, typ, "Content-Length: 99999999999"), code: "request_too_large"},
		{name: "Content-Length that does not fit", send: raw(post, good, typ, "Content-Length: 99999999999999999999"), status: 400},
		{name: "negative Content-Length", send: raw(post, good, typ, "Content-Length: -1"), status: 400},
		{name: "two Content-Lengths", send: raw(post, good, typ, "Content-Length: 1", "Content-Length: 2"), status: 400},
		{name: "Content-Length that is too small", send: raw(post, good+"GET /", typ, fmt.Sprint("Content-Length: ", len(good))), status: 201},
		{name: "Content-Length that is too large", send: raw(post, good, typ, "Content-Length: 100"), code: "parameter_invalid", cut: true},
		{name: "the same with a key", send: raw(post, good, typ, "Content-Length: 100", "Idempotency-Key: cut"), code: "parameter_invalid", cut: true},
		{name: "Content-Length and chunks", send: raw(post, "0\r\n\r\n", typ, "Content-Length: 5", "Transfer-Encoding: chunked"), code: "parameter_missing"},
		{name: "chunk without a length", send: raw(post, "zz\r\nhello\r\n", typ, "Transfer-Encoding: chunked"), code: "parameter_invalid"},
		{name: "the same chunk with a key", send: raw(post, "zz\r\nhello\r\n", typ, "Transfer-Encoding: chunked", "Idempotency-Key: chunk"), code: "parameter_invalid"},
		{name: "half of a chunk", send: raw(post, "10\r\nhello", typ, "Transfer-Encoding: chunked"), code: "parameter_invalid", cut: true},
		{name: "unknown transfer encoding", send: raw(post, good, typ, "Transfer-Encoding: gzip"), status: 501},

		// Idempotency keys
		{name: "empty idempotency key", send: raw(post, good, typ, "Idempotency-Key:"), code: "parameter_invalid"},
		{name: "long idempotency key", send: raw(post, good, typ, "Idempotency-Key: "+strings.Repeat("k", 256)), code: "parameter_invalid"},
		{name: "idempotency key with a space", send: raw(post, good, typ, "Idempotency-Key: a b"), code: "parameter_invalid"},
		{name: "idempotency key that is not ASCII", send: raw(post, good, typ, "Idempotency-Key: é"), code: "parameter_invalid"},
		{name: "idempotency key with half a quote", send: raw(post, good, typ, `Idempotency-Key: "a`), code: "parameter_invalid"},
		{name: "idempotency key with a control character", send: raw(post, good, typ, "Idempotency-Key: a\x01b"), status: 400},
		{name: "two idempotency keys", send: raw(post, good, typ, "Idempotency-Key: a", "Idempotency-Key: b"), code: "parameter_invalid"},
		{name: "the same idempotency key twice", send: raw(post, good, typ, "Idempotency-Key: a", "idempotency-key: a"), code: "parameter_invalid"},
		{name: "replay", send: raw(post, good, typ, "Idempotency-Key: "+usedKey), status: 201},
		{name: "idempotency key of another body", send: raw(post, `{"name":"other"}`, typ, "Idempotency-Key: "+usedKey), code: "idempotency_conflict"},
		{name: "idempotency key of another path", send: raw("DELETE /v1/resources/res_1 HTTP/1.1", "", "Idempotency-Key: "+usedKey), code: "idempotency_conflict"},

		// Methods
		{name: "unknown method", send: raw("BREW /v1/resources HTTP/1.1", ""), code: "method_not_allowed"},
		{name: "long method", send: raw(strings.Repeat("M", 5000)+" /v1/resources HTTP/1.1", ""), code: "method_not_allowed"},
		{name: "method in small letters", send: raw("get /v1/resources HTTP/1.1", ""), code: "method_not_allowed"},
		{name: "malformed method", send: raw("G@T /v1/resources HTTP/1.1", ""), status: 400},
		{name: "PUT", send: raw("PUT /v1/resources HTTP/1.1", good, typ), code: "method_not_allowed"},
		{name: "OPTIONS", send: raw("OPTIONS /v1/resources HTTP/1.1", ""), code: "method_not_allowed"},
		{name: "OPTIONS *", send: raw("OPTIONS * HTTP/1.1", ""), status: 200},
		{name: "GET *", send: raw("GET * HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "TRACE", send: raw("TRACE /v1/resources HTTP/1.1", ""), code: "method_not_allowed"},
		{name: "CONNECT", send: raw("CONNECT 127.0.0.1:22 HTTP/1.1", ""), code: "resource_missing"},
		{name: "CONNECT with a path", send: raw("CONNECT /v1/resources HTTP/1.1", ""), code: "method_not_allowed"},
		{name: "HEAD", send: raw("HEAD /v1/resources HTTP/1.1", ""), status: 200},
		{name: "HEAD of nothing", send: raw("HEAD /v1/nothing HTTP/1.1", ""), code: "resource_missing"},
		{name: "HEAD without a key", send: raw("HEAD /v1/resources HTTP/1.1", "", anon), code: "authentication_failed"},
		{name: "HEAD of a panic", send: raw("HEAD /v1/fault/panic HTTP/1.1", ""), code: "api_error"},
		{name: "POST to the health check", send: raw("POST /healthz HTTP/1.1", good, anon), code: "method_not_allowed"},
		{name: "POST to the reference", send: raw("POST /docs/errors HTTP/1.1", good, anon), code: "method_not_allowed"},

		// Paths
		{name: "unknown path", send: raw("GET /nothing HTTP/1.1", ""), code: "resource_missing"},
		{name: "unknown path without a key", send: raw("GET /nothing HTTP/1.1", "", anon), code: "authentication_failed"},
		{name: "way around the key", send: raw("GET /healthz/../v1/resources HTTP/1.1", "", anon), code: "authentication_failed"},
		{name: "way around the key in escapes", send: raw("GET /healthz/%2e%2e/v1/resources HTTP/1.1", "", anon), code: "authentication_failed"},
		{name: "way around the key in slashes", send: raw("GET //healthz HTTP/1.1", "", anon), code: "authentication_failed"},
		{name: "way around the key in a parameter", send: raw("GET /docs/errors;/../../v1/resources HTTP/1.1", "", anon), code: "authentication_failed"},
		{name: "way around the key in the target", send: raw("GET http://127.0.0.1/healthz/../v1/resources HTTP/1.1", "", anon), code: "authentication_failed"},
		{name: "path that is not clean", send: raw("GET /healthz/../v1/resources HTTP/1.1", ""), status: 307},
		{name: "path with two slashes", send: raw("GET //v1/resources HTTP/1.1", ""), status: 307},
		{name: "write to a path with two slashes", send: raw("POST //v1/resources HTTP/1.1", good, typ, "Idempotency-Key: slashes"), status: 307},
		{name: "path with escaped dots", send: raw("GET /healthz/%2e%2e/v1/resources HTTP/1.1", ""), code: "resource_missing"},
		{name: "path with an escaped slash", send: raw("GET /v1%2fresources HTTP/1.1", ""), code: "resource_missing"},
		{name: "path with a slash at its end", send: raw("GET /v1/resources/ HTTP/1.1", ""), code: "resource_missing"},
		{name: "id with an escaped slash", send: raw("GET /v1/resources/a%2fb HTTP/1.1", ""), code: "resource_missing"},
		{name: "id with NUL", send: raw("GET /v1/resources/%00 HTTP/1.1", ""), code: "resource_missing"},
		{name: "id that is not UTF-8", send: raw("GET /v1/resources/%ff HTTP/1.1", ""), code: "resource_missing"},
		{name: "id to delete with NUL", send: raw("DELETE /v1/resources/%00 HTTP/1.1", "", "Idempotency-Key: nul"), code: "resource_missing"},
		{name: "id to change that is not UTF-8", send: raw("PATCH /v1/resources/%ff HTTP/1.1", good, typ), code: "resource_missing"},
		{name: "id with SQL", send: raw("DELETE /v1/resources/'%20OR%20'1'='1 HTTP/1.1", ""), code: "resource_missing"},
		{name: "long id", send: raw("GET /v1/resources/"+strings.Repeat("x", 60_000)+" HTTP/1.1", ""), code: "resource_missing"},
		{name: "bad escape", send: raw("GET /v1/resources/%zz HTTP/1.1", ""), status: 400},
		{name: "no path", send: raw("GET ?limit=1 HTTP/1.1", ""), status: 400},
		{name: "limit of zero", send: raw("GET /v1/resources?limit=0 HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "limit twice", send: raw("GET /v1/resources?limit=1&limit=2 HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "unknown parameter", send: raw("GET /v1/resources?limti=1 HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "limit that does not fit", send: raw("GET /v1/resources?limit=99999999999999999999 HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "cursor that does not fit", send: raw("GET /v1/resources?cursor=cur_zzzzzzzzzzzzzz HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "cursor with NUL", send: raw("GET /v1/resources?cursor=cur_%00 HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "negative cursor", send: raw("GET /v1/resources?cursor=cur_-1&limit=1 HTTP/1.1", ""), code: "parameter_invalid"},
		{name: "query with a bad escape", send: raw("GET /v1/resources?limit=%zz HTTP/1.1", ""), code: "parameter_invalid"},

		// Conditions
		{name: "range of the reference", send: raw("GET /docs/errors HTTP/1.1", "", anon, "Range: bytes=0-9"), status: 206},
		{name: "range after its end", send: raw("GET /docs/errors HTTP/1.1", "", anon, "Range: bytes=99999999-"), code: "parameter_invalid"},
		{name: "condition that fails", send: raw("GET /docs/errors HTTP/1.1", "", anon, `If-Match: "x"`), code: "parameter_invalid"},
		{name: "reference that has not changed", send: raw("GET /docs/errors HTTP/1.1", "", anon, "If-None-Match: *"), status: 304},

		// Headers
		{name: "huge header", send: raw(list, "", "X-Huge: "+strings.Repeat("x", 2<<20)), status: 431, reset: true},
		{name: "many headers", send: raw(list, "", slices.Repeat([]string{"X-Many: yes"}, 20_000)...), status: 200},
		{name: "header without a name", send: raw(list, "", ": x"), status: 400},
		{name: "header with a space in its name", send: raw(list, "", "X y: z"), status: 400},
		{name: "header with NUL", send: raw(list, "", "X-Nul: \x00"), status: 400},
		{name: "no Host", send: "GET /healthz HTTP/1.1\r\n\r\n", status: 400},
		{name: "two Hosts", send: raw(list, "", "Host: a", "Host: b"), status: 400},
		{name: "malformed Host", send: raw(list, "", "Host: a b"), status: 400},
		{name: "request id with markup", send: raw("GET /nothing HTTP/1.1", "", `X-Request-Id: <script>`), code: "resource_missing"},
		{name: "long request id", send: raw("GET /nothing HTTP/1.1", "", "X-Request-Id: "+strings.Repeat("i", 60_000)), code: "resource_missing"},
		{name: "unknown expectation", send: raw(post, good, typ, "Expect: the-unexpected"), status: 417},
		{name: "expectation", send: raw(post, good, typ, "Expect: 100-continue"), status: 201},
		{name: "upgrade", send: raw(list, "", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), status: 200},

		// What is not HTTP/1.1
		{name: "HTTP/0.9", send: "GET /healthz\r\n\r\n", status: 400},
		{name: "HTTP/1.0", send: "GET /healthz HTTP/1.0\r\n\r\n", status: 200},
		{name: "preface of HTTP/2", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", code: "authentication_failed"},
		{name: "HTTP/3", send: raw("GET /healthz HTTP/3.0", ""), status: 505},
		{name: "TLS", send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", status: 400},
		{name: "empty lines", send: "\r\n\r\n", status: 400},
		{name: "half of a header", send: "GET /healthz HTTP/1.1\r\nHost: ", status: 400, cut: true},
		{name: "nothing", cut: true},

		// Faults on demand
		{name: "panic", send: raw("GET /v1/fault/panic HTTP/1.1", ""), code: "api_error"},
		{name: "error", send: raw("GET /v1/fault/error HTTP/1.1", ""), code: "api_error"},
		{name: "slow", send: raw("GET /v1/fault/slow HTTP/1.1", ""), code: "timeout"},
		{name: "unknown fault", send: raw("GET /v1/fault/%2e%2e HTTP/1.1", ""), code: "resource_missing"},
		{name: "outage", send: raw("GET /v1/fault/service_unavailable HTTP/1.1", ""), code: "service_unavailable"},
		{name: "unknown outcome", send: raw("GET /v1/fault/idempotency_outcome_unknown HTTP/1.1", ""), code: "idempotency_outcome_unknown"},
		{name: "no response", send: raw("GET /v1/fault/idempotency_response_unavailable HTTP/1.1", ""), code: "idempotency_response_unavailable"},
		{name: "first request runs", send: raw("GET /v1/fault/idempotency_in_progress HTTP/1.1", ""), code: "idempotency_in_progress"},
		{name: "limit", send: raw("GET /v1/fault/rate_limit_exceeded HTTP/1.1", ""), code: "rate_limit_exceeded"},
	}
}

// raw returns the text of a request. Unless the headers have others, it has a Host, a valid key,
// and the length of the body, and asks the server to close the connection.
func raw(line, body string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\r\n", line)
	defaults := []string{"Host: 127.0.0.1", "Authorization: Bearer " + docsapitest.KeyDemo, "Connection: close"}
	if body != "" && !has(headers, "Transfer-Encoding") {
		defaults = append(defaults, fmt.Sprint("Content-Length: ", len(body)))
	}
	for _, h := range defaults {
		if name, _, _ := strings.Cut(h, ":"); !has(headers, name) {
			fmt.Fprintf(&b, "%s\r\n", h)
		}
	}
	for _, h := range headers {
		if h != anon {
			fmt.Fprintf(&b, "%s\r\n", h)
		}
	}
	return b.String() + "\r\n" + body
}

func has(headers []string, name string) bool {
	return slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, name+":") })
}

func chunk(body string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(body), body) }

// manyEntries returns more members than metadata may have.
func manyEntries() string {
	var entries []string
	for i := range maxMetadata + 1 {
		entries = append(entries, fmt.Sprintf(`"k%d":"v"`, i))
	}
	return strings.Join(entries, ",")
}

// folded says which code takes the place of another with -strict.
var folded = map[apierror.Code]apierror.Code{
	apierror.CodeMethodNotAllowed:               apierror.CodeResourceMissing,
	apierror.CodeRequestTooLarge:                apierror.CodeParameterInvalid,
	apierror.CodeUnsupportedMediaType:           apierror.CodeParameterInvalid,
	apierror.CodeIdempotencyInProgress:          apierror.CodeRateLimitExceeded,
	apierror.CodeIdempotencyOutcomeUnknown:      apierror.CodeIdempotencyConflict,
	apierror.CodeIdempotencyResponseUnavailable: apierror.CodeIdempotencyConflict,
	apierror.CodeServiceUnavailable:             apierror.CodeAPIError,
	apierror.CodeTimeout:                        apierror.CodeAPIError,
}

// hostileFlags are the flags of a server for hostileRequests.
func hostileFlags(more ...string) []string {
	return append([]string{"-faults", "-timeout", "1s", "-rate", "100000"}, more...)
}

// A target is a server, as its attackers see it.
type target struct {
	host   string // and port
	strict bool
}

func newTarget(t *testing.T, serverURL string, strict bool) target {
	t.Helper()
	u, err := url.Parse(serverURL)
	require.NoError(t, err)
	to := target{u.Host, strict}
	// The key of "idempotency key of another body" is not new.
	require.NoError(t, to.attack(hostile{send: raw(post, good, typ, "Idempotency-Key: "+usedKey), status: 201}))
	return to
}

// patience is how long an answer may take.
const patience = 20 * time.Second

// attack sends a hostile request, and returns an error if the answer is not the one that it should
// get.
func (to target) attack(h hostile) error {
	answer, err := to.exchange(h)
	if err != nil && h.reset && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	if err := to.check(h, answer); err != nil {
		return fmt.Errorf("%s: %w: %d %v %s", h.name, err, answer.status, answer.header, answer.body)
	}
	return nil
}

// exchange sends a hostile request. The answer is the zero value if the connection was closed
// without one.
func (to target) exchange(h hostile) (a answer, err error) {
	conn, err := net.Dial("tcp", to.host)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return answer{}, err
	}
	sent := make(chan struct{})
	defer func() {
		_ = conn.Close() // ends the write
		<-sent
	}()
	go func() { // the server may answer before it has read everything
		defer close(sent)
		_, _ = io.WriteString(conn, h.send)
		if h.cut {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
	}()
	method, _, _ := strings.Cut(h.send, " ")
	return readAnswer(bufio.NewReader(conn), &http.Request{Method: method})
}

// readAnswer reads the next response, except for interim ones.
func readAnswer(r *bufio.Reader, to *http.Request) (answer, error) {
	if _, err := r.Peek(1); errors.Is(err, io.EOF) {
		return answer{}, nil
	} else if err != nil {
		return answer{}, err
	}
	for {
		resp, err := http.ReadResponse(r, to)
		if err != nil {
			return answer{}, err
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode >= 200 || err != nil {
			return answer{resp.StatusCode, resp.Header, string(body)}, err
		}
	}
}

// check returns an error if the answer is not the one that a hostile request should get.
func (to target) check(h hostile, a answer) error {
	if h.code == "" {
		switch {
		case a.status != h.status:
			return fmt.Errorf("the status should be %d", h.status)
		case h.byNetHTTP():
			return checkNetHTTP(a)
		case h.status > 0 && !strings.HasPrefix(h.send, "OPTIONS *"):
			return checkIDs(a)
		}
		return nil
	}
	code := h.code
	if to.strict {
		code = cmp.Or(folded[code], code)
	}
	definition, ok := apierror.DefaultCatalog().Lookup(code)
	if !ok || a.status != definition.Status {
		return fmt.Errorf("the status should be %d", definition.Status)
	}
	got, err := checkError(a, h.isHEAD())
	if err == nil && !h.isHEAD() && got != code {
		err = fmt.Errorf("the code should be %q", string(code))
	}
	return err
}

// checkNetHTTP checks a refusal of net/http: plain text, and no request id.
func checkNetHTTP(a answer) error {
	if a.header.Get("Request-Id") != "" || strings.Contains(a.body, "{") {
		return errors.New("net/http should have refused it")
	}
	return nil
}

func checkIDs(a answer) error {
	if id := a.header.Get("Request-Id"); id == "" || id != a.header.Get("X-Request-Id") {
		return errors.New("the request id is missing")
	}
	return nil
}

// checkError checks that an answer has all that an error of the service has, and returns its code.
func checkError(a answer, isHEAD bool) (apierror.Code, error) {
	if err := checkIDs(a); err != nil {
		return "", err
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if a.header.Get(name) != want {
			return "", fmt.Errorf("the header %s is missing", name)
		}
	}
	if name := statusHeader[a.status]; name != "" && a.header.Get(name) == "" {
		return "", fmt.Errorf("the header %s is missing", name)
	}
	if isHEAD {
		return "", nil
	}
	var body struct {
		Error struct {
			Type      apierror.Type     `json:"type"`
			Code      apierror.Code     `json:"code"`
			Message   string            `json:"message"`
			Param     *string           `json:"param"`
			RequestID string            `json:"request_id"`
			DocURL    string            `json:"doc_url"`
			Errors    []json.RawMessage `json:"errors"`
		} `json:"error"`
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return "", fmt.Errorf("no error object: %w", err)
	}
	definition, ok := apierror.DefaultCatalog().Lookup(body.Error.Code)
	switch {
	case !ok || definition.Type != body.Error.Type || definition.Status != a.status:
		return "", errors.New("the status, type and code do not belong together")
	case body.Error.Message == "" || len(body.Error.Message) > 4096:
		return "", errors.New("the message is missing or too long")
	case body.Error.RequestID != a.header.Get("Request-Id") && a.header.Get("Idempotent-Replayed") == "":
		return "", errors.New("the request ids differ")
	case strings.Contains(a.body, "hunter2") || strings.Contains(a.body, "10.0.0.7"):
		return "", errors.New("the client sees the cause")
	}
	return body.Error.Code, nil
}

// statusHeader is the header that each answer with a status has.
var statusHeader = map[int]string{401: "Www-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}

// Whatever is sent, the answer is the one in the table, with each database, and with -strict.
func TestHostileRequestsGetTypedErrors(t *testing.T) {
	t.Parallel()
	postgres := pgtest.Start(t).URL("")
	for name, flags := range map[string][]string{
		"SQLite":     nil,
		"PostgreSQL": {"-postgres", postgres},
		"strict":     {"-strict"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := docsapitest.Start(t, hostileFlags(flags...)...)
			to := newTarget(t, server.URL, slices.Contains(flags, "-strict"))
			for _, h := range hostileRequests() {
				if err := to.attack(h); err != nil {
					t.Error(err)
				}
			}
			server.Stop()
			if err := auditLog(server.Log()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A logAudit reads the log of a server that is attacked.
type logAudit struct {
	line       string            // that is not complete
	unasked    map[string]string // by request id: warnings and errors that no fault explains so far
	unexpected []string
}

// faultPattern is the route of the faults that clients ask for.
const faultPattern = "GET /v1/fault/{kind}"

// read reads what a server has logged since the last call. The access log, which comes after the
// errors of a request, says which route they are of.
func (a *logAudit) read(text string) {
	for line := range strings.Lines(a.line + text) {
		if !strings.HasSuffix(line, "\n") {
			a.line = line
			return
		}
		var record struct {
			Level     slog.Level
			Pattern   string
			RequestID string `json:"request_id"`
			Cause     string
		}
		switch err := json.Unmarshal([]byte(line), &record); {
		case err != nil, record.Level >= slog.LevelWarn && record.RequestID == "":
			a.unexpected = append(a.unexpected, line) // a data race, a fatal error, a warning of net/http
		case strings.HasSuffix(record.Cause, "i/o timeout"): // a body that did not come in time
		case record.Level >= slog.LevelWarn:
			a.unasked[record.RequestID] = line
		case record.Pattern == faultPattern:
			delete(a.unasked, record.RequestID)
		}
	}
	a.line = ""
}

// check returns an error if the log has something that the clients have not asked for.
func (a *logAudit) check() error {
	found := slices.Concat(a.unexpected, slices.Collect(maps.Values(a.unasked)))
	if a.line != "" {
		found = append(found, a.line)
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("%d lines of the log are unexpected: %.10000s", len(found), strings.Join(found, ""))
}

func auditLog(log string) error {
	a := logAudit{unasked: make(map[string]string)}
	a.read(log)
	return a.check()
}

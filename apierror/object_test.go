package apierror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seawall-go/seawall/apierror"
)

func TestParseReadsHostileBodies(t *testing.T) {
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
		{"any Content-Type", 400, "text/html", `{"error":{"code":"parameter_missing","message":"m"}}`, "parameter_missing", "invalid_request_error", "m", true},
		{"the body wins over the status", 500, jsonType, `{"error":{"type":"rate_limit_error","code":"parameter_missing","message":"m"}}`, "parameter_missing", "rate_limit_error", "m", true},
		{"the code's type wins over the status", 500, jsonType, `{"error":{"code":"permission_denied","message":"m"}}`, "permission_denied", "permission_error", "m", true},
		{"the status's type, if need be", 429, jsonType, `{"error":{"code":"own","message":"m"}}`, "own", "rate_limit_error", "m", true},
		{"unknown ones, verbatim", 418, jsonType, `{"error":{"type":"Tea Error","code":"SHORT & stout","message":"m","colour":1}}`, "SHORT & stout", "Tea Error", "m", true},
		{"only a type", 400, jsonType, `{"error":{"type":"api_error"}}`, "", "api_error", "The server answered Bad Request.", true},
		{"no message", 400, jsonType, `{"error":{"code":"own"}}`, "own", "invalid_request_error", "The server answered Bad Request.", true},
		{"wrong JSON types", 404, jsonType, `{"error":{"type":["x"],"code":"own","message":{"a":1},"param":7,"errors":{},"metadata":[],"request_id":null,"doc_url":true}}`,
			"own", "invalid_request_error", "The server answered Not Found.", true},
		{"nothing useful", 404, jsonType, `{"error":{"type":1,"code":2,"message":"text"}}`, "", "invalid_request_error", "text", false},
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
		{"a status out of range", 999, "", ``, "", "api_error", "The server answered with an unknown status.", false},
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
		{"problem details only by name", 400, problemType, `{"error":{"code":"own","message":"m"}}`, "own", "invalid_request_error", "m", true},
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
	equal(t, "the limit", fmt.Sprint(len(e.Fields()), len(e.Metadata())), "100 50")
	equal(t, "the first", e.Metadata()["049"], "v")
}

func TestParseIgnoresWhiteSpace(t *testing.T) {
	t.Parallel()
	const body = " {\n\"error\" : {\t\"code\" :\r\"parameter_missing\" , \"param\" : \"a\" , " +
		"\"errors\" : [ { \"param\" : \"a\" } , { \"param\" : \"b\" } ] , \"metadata\" : { \"k\" : \"v\" } } }"
	e := asError(t, apierror.Parse(response(400, jsonType, body)))
	equal(t, "code", e.Code(), apierror.CodeParameterMissing)
	equal(t, "param", e.Param(), "a")
	equal(t, "fields", len(e.Fields()), 2)
	equal(t, "metadata", e.Metadata()["k"], "v")
}

func TestParseAcceptsProblemDetailsWithOnlyACode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{`{"code":"own"}`: true, `{"detail":"d"}`: true, `{"status":400}`: false} {
		e := asError(t, apierror.Parse(response(400, "application/problem+json", body)))
		equal(t, "FromServer of "+body, e.FromServer(), want)
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range []string{
		`{"error":{"type":"invalid_request_error","code":"parameter_missing","message":"m","param":"p","request_id":"req_1","errors":[{"code":"c"}],"metadata":{"a":"b"}}}`,
		`{"error":{"code":"a","cod\u0065":"b","Code":"c","param":"p","param":1,"errors":[{"param":"]}\\\""}, 1e999, []],"metadata":{"a":"b","a":2,"\u0062":"\ud800"}}} }`,
		`{"error":null}`, `[]`, "\ufeff{}", "<html>\x00", strings.Repeat("[", 20_000), `{"error":{"code":"a`, "\x1f\x8b\x08\x00", gzipped(`{"error":{"code":"a"}}`),
	} {
		f.Add(404, "application/json", "", "req_1", "120", []byte(body))
		f.Add(404, "application/json", "", "", "", []byte(body))
	}
	for _, body := range []string{
		`{"type":"about:blank","title":"t","detail":"d","instance":"i","code":"c","errors":[{"param":"p"}]}`, `{"type":"https://x","title":"t","request_id":"r","instance":"i"}`,
	} {
		f.Add(400, "application/problem+json", "", "", "", []byte(body))
	}
	f.Add(200, "application/json", "", "", "", []byte(`{"error":{"code":"a"}}`))
	f.Add(404, "application/\xffjson", "", "\xf6\x7f\x00", "\x92", []byte("\xb1\x81"))
	f.Add(404, "application/json", "br", "", "", []byte("null0"))
	f.Add(503, "text/html", "gZip", " ", "0", []byte("\x1f\x8b\bA000000"))
	f.Add(999, "", " identity", "", "", []byte("[0"))
	f.Add(503, "application/problem+json", "gzip", "\r\n", "Fri, 31 Dec 1999 23:59:59 GMT", []byte(gzipped(`{"title":"t","instance":"i"}`)))
	f.Fuzz(func(t *testing.T, status int, contentType, encoding, id, after string, body []byte) {
		resp := response(status, contentType, string(body), "Content-Encoding", encoding, "Request-Id", id, "Retry-After", after)
		err := apierror.Parse(resp)
		if status < 400 {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		e := asError(t, err)
		if e.Status() != status || e.Type() == "" || e.Message() == "" {
			t.Errorf("%+v", e)
		}
		if encoding == "" && len(body) < 64<<10 {
			readAs(t, e, contentType, id, body)
		}
		if e.RetryAfter() < 0 || len(e.RequestID()) > 128 || len(e.Error()) > 20_000 {
			t.Errorf("not bounded: %v", e)
		}
		for _, text := range []string{e.Error(), e.RequestID()} {
			if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00\x1b\u2028\u2029\u202e") {
				t.Errorf("not one line: %q", text)
			}
		}
		read, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Equal(read, body[:min(len(body), 64<<10)]) {
			t.Errorf("resp.Body: %v", err)
		}
		// A handler that returns it does not pass it on.
		if code := apierror.From(e).Code(); code != apierror.CodeAPIError {
			t.Errorf("passed on as %s", code)
		}
	})
}

// readAs compares a parsed error with what encoding/json reads from its body.
func readAs(t *testing.T, e *apierror.Error, contentType, id string, body []byte) {
	var top any
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	d.UseNumber() // numbers of any size
	_ = d.Decode(&top)
	text := func(object any, names ...string) (s string) {
		for _, name := range names {
			if m, ok := object.(map[string]any); ok && s == "" {
				s, _ = m[name].(string)
			}
		}
		return s
	}
	outer, _ := top.(map[string]any)
	object, envelope := outer["error"].(map[string]any)
	message, requestID, docURL := text(object, "message"), text(object, "request_id"), text(object, "doc_url")
	fromServer := text(object, "code", "type") != ""
	if mediaType, _, _ := mime.ParseMediaType(contentType); !envelope && mediaType == "application/problem+json" {
		object = outer
		message, requestID, docURL = text(outer, "detail", "title"), text(outer, "request_id", "instance"), text(outer, "doc_url")
		if link := text(outer, "type"); docURL == "" && link != "about:blank" {
			docURL = link
		}
		fromServer = message != "" || text(outer, "code") != ""
	}
	var fields []apierror.Field
	list, _ := object["errors"].([]any)
	for _, one := range list[:min(len(list), 100)] {
		if _, ok := one.(map[string]any); ok {
			fields = append(fields, apierror.Field{Code: apierror.Code(text(one, "code")), Param: text(one, "param"), Message: text(one, "message")})
		}
	}
	metadata := map[string]string{}
	all, _ := object["metadata"].(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if s, ok := all[k].(string); ok && len(metadata) < 50 {
			metadata[k] = s
		}
	}
	equal(t, "FromServer", e.FromServer(), fromServer)
	if message != "" {
		equal(t, "message", e.Message(), message)
	}
	if id == "" && len(requestID) <= 128 && strings.IndexFunc(requestID, func(r rune) bool { return r < '!' || r > '~' }) < 0 {
		equal(t, "request id", e.RequestID(), requestID)
	}
	if fromServer {
		equal(t, "code", e.Code(), apierror.Code(text(object, "code")))
		equal(t, "param", e.Param(), text(object, "param"))
		equal(t, "doc_url", e.DocURL(), docURL)
		equal(t, "errors", fmt.Sprintf("%q", e.Fields()), fmt.Sprintf("%q", fields))
		equal(t, "metadata", maps.Equal(e.Metadata(), metadata), true)
	}
}

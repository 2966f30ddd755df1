package apierror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seawall-go/seawall/apierror"
)

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
		// Whatever a handler does with it, it is not relayed.
		if code := apierror.From(e).Code(); code != apierror.CodeAPIError {
			t.Errorf("relayed as %s", code)
		}
	})
}

// readAs compares an error with what encoding/json makes of the body that it was parsed from.
func readAs(t *testing.T, e *apierror.Error, contentType, id string, body []byte) {
	var top any
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	d.UseNumber() // whatever its size
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

// has reports whether the path leads to a value in the JSON text. A key may hold dots and
// brackets, so all ways to read the path are tried.
func has(text []byte, path string) bool {
	if path == "" {
		return true
	}
	var array []json.RawMessage
	switch first := bytes.TrimLeft(text, " \t\r\n"); {
	case len(first) > 0 && first[0] == '{':
		// Of duplicate names Unmarshal keeps the last, so look at each.
		d := json.NewDecoder(bytes.NewReader(text))
		_, _ = d.Token()
		for d.More() {
			key, err := d.Token()
			var value json.RawMessage
			if err != nil || d.Decode(&value) != nil {
				return false
			}
			name, _ := key.(string)
			if name == "" {
				name = `""`
			}
			rest, ok := strings.CutPrefix(path, name)
			if ok && (rest == "" || rest[0] == '[') && has(value, rest) || ok && rest != "" && rest[0] == '.' && has(value, rest[1:]) {
				return true
			}
		}
		return false
	case len(first) > 0 && first[0] == '[':
		if json.Unmarshal(text, &array) != nil {
			return false
		}
		number, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
		i := 0
		for _, c := range number {
			if c < '0' || c > '9' || i > len(array) {
				return false
			}
			i = i*10 + int(c-'0')
		}
		return ok && i < len(array) && has(array[i], strings.TrimPrefix(rest, "."))
	}
	return false
}

var goType = regexp.MustCompile(`apierror_test|\b(int8|uint64|float64|map\[|struct|interface|json\.|main\.)`)

func FuzzDecodeJSON(f *testing.F) {
	for _, row := range decodeTable {
		if len(row.body) < 1000 {
			f.Add([]byte(row.body), row.name == "unknown member")
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, allowUnknown bool) {
		var v order
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, string(body)), &v, &apierror.DecodeOptions{AllowUnknown: allowUnknown})

		var want order
		plain := json.NewDecoder(bytes.NewReader(body))
		if !allowUnknown {
			plain.DisallowUnknownFields()
		}
		if plainErr := plain.Decode(&want); plainErr != nil && err == nil {
			t.Fatalf("encoding/json: %v", plainErr)
		}
		if _, ok := err.(*apierror.Error); !ok { // the field shape takes no JSON: our mistake
			return
		}
		e := asError(t, err)
		if e.Status() >= 500 {
			t.Errorf("not the client's: %v", e)
		}
		if p := e.Param(); p != "" && len(p) < 250 && !strings.Contains(err.Error(), "payee") && !has(body, p) {
			t.Errorf("%q is not in %s", p, body)
		}
		said := e.Message() // what is not the client's own name
		if e.Param() != "" {
			said = strings.ReplaceAll(said, e.Param(), "")
		}
		if m := goType.FindString(said); m != "" {
			t.Errorf("%q in %q", m, said)
		}
		w := httptest.NewRecorder()
		apierror.Write(w, httptest.NewRequest(http.MethodPost, "/", nil), err)
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q", w.Body)
		}
	})
}

func FuzzAccept(f *testing.F) {
	for _, accept := range []string{
		"*/*", "application/problem+json", "application/json;q=0.5, application/problem+json;q=0.6", "application/problem+json;q=1e-1",
		`text/x;a="\",b", application/problem+json`, ",;=\"",
	} {
		f.Add(accept, "application/json;q=0")
	}
	rd := quiet()
	rd.Problem = true
	h := rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied }))
	f.Fuzz(func(t *testing.T, a, b string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Accept"] = []string{a, b}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch contentType := w.Header().Get("Content-Type"); contentType {
		case "application/json":
		case "application/problem+json":
			if !strings.Contains(strings.ToLower(a+b), contentType) {
				t.Errorf("nobody asked for problem details: %q, %q", a, b)
			}
		default:
			t.Errorf("%q", contentType)
		}
		if !errors.Is(apierror.Parse(w.Result()), apierror.CodePermissionDenied) {
			t.Errorf("%s", w.Body)
		}
	})
}

func FuzzRender(f *testing.F) {
	f.Add("parameter_missing", "invalid_request_error", 400, "Missing required parameter: name.", "name", "https://x", "key", "value")
	f.Add("\xff", "\x00", -1, "\u2028</script>%s\xed\xa0\x80", "a\"b\\c", strings.Repeat("🙂", 100), "\x7f\xc3", strings.Repeat("\x01", 5000))
	f.Fuzz(func(t *testing.T, code, typ string, status int, message, param, docURL, key, value string) {
		e := apierror.Definition{Code: apierror.Code(code), Type: apierror.Type(typ), Status: status, Message: message}.New().WithParam(param).
			WithMetadata(key, value).WithField(apierror.Field{Code: apierror.Code(value), Param: key, Message: docURL}).WithHeader("X-Own", value).
			WithProblemType(docURL, message).WithProblemMember(key, value)
		for i := range 4 {
			rd := quiet()
			rd.DocURL = func(apierror.Code) string { return docURL }
			rd.Problem, rd.Strict = i&1 > 0, i&2 > 0
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept", "application/problem+json")
			rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return e })).ServeHTTP(w, r)

			body := w.Body.Bytes()
			if !json.Valid(body) || !utf8.Valid(body) || len(body) > 64<<10 || bytes.ContainsAny(body[:len(body)-1], "\r\n\x00<>&\x7f\u2028\u2029") {
				t.Errorf("%q", body)
			}
			if w.Code < 400 || w.Code > 599 {
				t.Errorf("status %d", w.Code)
			}
			parsed := asError(t, apierror.Parse(w.Result()))
			if !parsed.FromServer() || parsed.RequestID() != w.Header().Get("Request-Id") {
				t.Errorf("not read back: %v from %q", parsed, body)
			}
			if i == 0 && utf8.ValidString(message) && message != "" && len(message) < 4000 && parsed.Message() != message {
				t.Errorf("%q came back as %q", message, parsed.Message())
			}
		}
	})
}

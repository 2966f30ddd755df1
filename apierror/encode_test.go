package apierror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seawall-go/seawall/apierror"
)

func TestOptionalMembersAreSent(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.DocURL = func(c apierror.Code) string { return "https://docs.example/?a=1&code=" + string(c) }
	e := errors.Join(apierror.ParameterMissing("name"), apierror.ParameterInvalid("items[1].price", "must be a whole number"))
	w := write(rd, "", apierror.From(e).WithMetadata("z", "1").WithMetadata("a", "2"))
	equal(t, "body", w.Body.String(), `{"error":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required parameter: name.",`+
		`"param":"name","request_id":"req_Hd92kLpQ7m","doc_url":"https://docs.example/?a=1\u0026code=parameter_missing",`+
		`"errors":[{"code":"parameter_missing","param":"name","message":"Missing required parameter: name."},`+
		`{"code":"parameter_invalid","param":"items[1].price","message":"Invalid parameter: items[1].price must be a whole number."}],`+
		`"metadata":{"a":"2","z":"1"}}}`+"\n")
}

func TestSingleMetadataEntryIsSent(t *testing.T) {
	t.Parallel()
	body := write(quiet(), "", apierror.CodePermissionDenied.New().WithMetadata("scope", "read")).Body.String()
	if !strings.Contains(body, `"metadata":{"scope":"read"}`) {
		t.Error(body)
	}
}

func TestMarshalJSONReturnsThePublicPart(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(map[string]any{"a": apierror.ParameterMissing("name").WithCause(errors.New("secret-4711")), "b": (*apierror.Error)(nil)})
	equal(t, "JSON", string(b), `{"a":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required parameter: name.","param":"name"},"b":null}`)
	equal(t, "error", err, nil)
}

func TestMarshalJSONCompletesTheError(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(apierror.Code("own").New())
	equal(t, "JSON", string(text), `{"type":"api_error","code":"own","message":"The request failed."}`)
	equal(t, "error", err, nil)
	w := write(quiet(), "", apierror.CodeParameterInvalid.New().WithField(apierror.Field{Param: "a"}))
	equal(t, "fields", len(asError(t, apierror.Parse(w.Result())).Fields()), 1)
}

func TestHostileMessagesStayValidJSONAndBounded(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ message, want string }{
		"format verbs":  {"100% of %s %d %!x(MISSING)", "100% of %s %d %!x(MISSING)"},
		"invalid UTF-8": {"a\xff\xfe\xc3(", "a\ufffd\ufffd\ufffd("},
		"NUL":           {"a\x00b", "a\x00b"},
		"separators":    {"a\u2028\u2029b", "a\u2028\u2029b"},
		"script":        {"</script><!--&", "</script><!--&"},
		"quotes":        {"\"\\\b\f\n\r\t/", "\"\\\b\f\n\r\t/"},
		"DEL":           {"\x7f", "\x7f"},
		"surrogates":    {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
		"megabyte":      {strings.Repeat("a", 1<<20), strings.Repeat("a", 4093) + "…"},
		"runes":         {strings.Repeat("🙂", 1<<18), strings.Repeat("🙂", 1023) + "…"},
		"odd runes":     {"x" + strings.Repeat("é", 1<<19), "x" + strings.Repeat("é", 2046) + "…"},
		"garbage":       {strings.Repeat("\x80", 1<<20), strings.Repeat("\ufffd", 4088) + "…"},
	} {
		w := write(quiet(), "", apierror.CodeAPIError.Messagef("%s", row.message))
		var body struct{ Error struct{ Message string } }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		equal(t, name, body.Error.Message, row.want)
		for _, r := range "\u2028\u2029<>&\x00\x7f" {
			if bytes.ContainsRune(w.Body.Bytes(), r) {
				t.Errorf("%s: %q is not escaped", name, r)
			}
		}
		if !utf8.Valid(w.Body.Bytes()) || w.Body.Len() > 64<<10 {
			t.Errorf("%s: %d bytes", name, w.Body.Len())
		}
	}
}

func TestTheLargestErrorsCanBeParsed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("<", 1<<16)
	for _, accept := range []string{"application/json", "application/problem+json"} {
		rd := quiet()
		rd.Problem = true
		rd.DocURL = func(apierror.Code) string { return long }
		w := write(rd, accept, huge())
		if !json.Valid(w.Body.Bytes()) || w.Body.Len() > 64<<10 {
			t.Errorf("%s: %d bytes", accept, w.Body.Len())
		}
		e := asError(t, apierror.Parse(w.Result()))
		equal(t, "FromServer", e.FromServer(), true)
	}
	roomy := apierror.ParameterInvalid("p0", "x")
	for range 200 {
		roomy = roomy.WithField(apierror.Field{Code: "own", Param: "p", Message: strings.Repeat("m", 4096)})
	}
	e := asError(t, apierror.Parse(write(quiet(), "", roomy).Result()))
	equal(t, "the fields that fit", len(e.Fields()), 15)
	many := apierror.ParameterInvalid("p0", "x")
	for i := range 300 {
		many = many.WithField(apierror.Field{Param: fmt.Sprint(i)}).WithMetadata(fmt.Sprint(i), "v")
	}
	e = asError(t, apierror.Parse(write(quiet(), "", many).Result()))
	equal(t, "fields", len(e.Fields()), 100)
	equal(t, "metadata", len(e.Metadata()), 50)
}

// huge returns an error with more of everything than can be sent.
func huge() *apierror.Error {
	long := strings.Repeat("\x00", 1<<16)
	e := apierror.Code(long).Messagef("%s", long).WithParam(long)
	for i := range 200 {
		e = e.WithField(apierror.Field{Code: apierror.Code(long), Param: long, Message: long}).WithMetadata(fmt.Sprint(i)+long, long)
	}
	return e
}

func FuzzRender(f *testing.F) {
	f.Add("parameter_missing", "invalid_request_error", 400, "Missing required parameter: name.", "name", "https://x", "key", "value")
	f.Add("\xff", "\x00", -1, "\u2028</script>%s\xed\xa0\x80", "a\"b\\c", strings.Repeat("🙂", 100), "\x7f\xc3", strings.Repeat("\x01", 5000))
	f.Add("idempotency_in_progress", "idempotency_error", 429, "m", "", "", "k", "00&\xfe0")
	f.Add("not_here", "authentication_error", 501, "m", "", "", "", "\x7f")
	f.Add("unheard_of", "permission_error", 404, "m", "a", "", "k", "v")
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

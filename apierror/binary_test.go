package apierror_test

import (
	"encoding"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seawall-go/seawall/apierror"
)

var (
	_ encoding.BinaryMarshaler   = (*apierror.Error)(nil)
	_ encoding.BinaryUnmarshaler = (*apierror.Error)(nil)
)

// stored returns e after MarshalBinary and UnmarshalBinary.
func stored(t testing.TB, e *apierror.Error) *apierror.Error {
	t.Helper()
	b, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	got := apierror.CodeAPIError.New().WithCause(io.EOF).WithParam("left").WithMetadata("left", "over")
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEveryCodeSurvivesAStore(t *testing.T) {
	t.Parallel()
	secret := errors.New("secret-4711")
	for _, d := range catalog(t).Definitions() {
		for name, e := range map[string]*apierror.Error{
			"bare": d.New(),
			"full": d.Messagef("<&>\u2028 ü %d", 1).WithParam("items[0]").WithRetryAfter(1500*time.Millisecond).
				WithMetadata("k", "v").WithMetadata("empty", "").WithHeader("Location", "/x").WithHeader("X-Two", "a").WithHeader("X-Two", "b"),
			"many": d.New().WithField(apierror.Field{Code: "parameter_missing", Param: "a", Message: "A."}).
				WithField(apierror.Field{Code: d.Code, Param: "b"}),
			"last": d.New().WithRetryAfter(time.Second).WithNotRetryable(),
		} {
			got := stored(t, e.WithCause(secret))
			if !reflect.DeepEqual(got, e) {
				t.Errorf("%s, %s:\n%#v\n%#v", d.Code, name, got, e)
			}
			if b, _ := e.WithCause(secret).MarshalBinary(); strings.Contains(string(b), "4711") {
				t.Errorf("%s, %s: the cause is stored: %s", d.Code, name, b)
			}
			sent, again := httptest.NewRecorder(), httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			quiet().Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return e })).ServeHTTP(sent, r)
			quiet().Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return got })).ServeHTTP(again, r)
			equal(t, "status", again.Code, sent.Code)
			for _, h := range []http.Header{sent.Header(), again.Header()} {
				h.Del("X-Request-Id")
				h.Del("Request-Id")
			}
			if !reflect.DeepEqual(again.Header(), sent.Header()) {
				t.Errorf("%s, %s: headers\n%v\n%v", d.Code, name, again.Header(), sent.Header())
			}
		}
	}
}

func TestSparseErrorsSurviveAStore(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*apierror.Error{
		"zero":           {},
		"zero with more": new(apierror.Error).WithMetadata("k", "v"),
		"a problem type": apierror.RateLimitExceeded(time.Second).
			WithProblemType("https://example.com/quota", "Quota Exceeded").
			WithProblemMember("violated-policies", []string{"burst", "day"}),
		"from a code": apierror.From(apierror.Code("unknown_code")).WithCause(nil),
	} {
		if got := stored(t, e); !reflect.DeepEqual(got, e) {
			t.Errorf("%s:\n%#v\n%#v", name, got, e)
		}
	}
	equal(t, "nil", stored(t, nil).Code(), apierror.CodeAPIError)
	equal(t, "text that is not UTF-8", stored(t, new(apierror.Error).WithMessage("a\xffb")).Message(), "a\ufffdb")
}

// A parsed error is another service's, also after a store has kept it.
func TestParsedErrorsSurviveAStore(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequest(http.MethodPost, "https://user:secret@bank.example/v1/x?secret=4711", nil)
	for name, test := range map[string]struct{ contentType, body string }{
		"object": {"application/json", `{"error":{"code":"card_declined","type":"invalid_request_error","message":"No.","param":"card","doc_url":"https://x"}}`},
		"page":   {"text/html", "<html>Bad Gateway</html>"},
	} {
		for _, r := range []*http.Request{nil, request} {
			resp := response(http.StatusPaymentRequired, test.contentType, test.body, "Request-Id", "req_1", "Retry-After", "3")
			resp.Request = r
			e := asError(t, apierror.Parse(resp))
			got := stored(t, e)
			if !reflect.DeepEqual(got, e.WithCause(nil)) {
				t.Errorf("%s:\n%#v\n%#v", name, got, e)
			}
			equal(t, "text", got.Error(), e.WithCause(nil).Error())
			equal(t, "from a server", got.FromServer(), e.FromServer())
			equal(t, "From", apierror.From(got).Code(), apierror.CodeAPIError)
		}
	}
}

func TestStoredErrorsKeepSingleEntries(t *testing.T) {
	t.Parallel()
	e := apierror.CodeTimeout.New().WithHeader("Location", "/v1/a")
	w := write(quiet(), "", stored(t, e))
	equal(t, "Location", w.Header().Get("Location"), "/v1/a")
	e = stored(t, apierror.CodeTimeout.New().WithMetadata("k", "v"))
	equal(t, "metadata", e.Metadata()["k"], "v")
	e = stored(t, apierror.CodeParameterInvalid.New().WithField(apierror.Field{Param: "a"}))
	equal(t, "fields", len(e.Fields()), 1)
}

func TestUnmarshalBinaryRefusesGarbage(t *testing.T) {
	t.Parallel()
	whole, _ := apierror.CodePermissionDenied.New().WithMetadata("k", "v").MarshalBinary()
	garbage := []string{
		"", "null", "{}", "[]", "0", `"x"`, "<html>", "\x00\x01", `{"Version":2,"Code":"x"}`, `{"Version":"1"}`, `{"Version":1,"Status":"x"}`,
		`{"Version":1,"Fields":{}}`, `{"Version":1,"Header":{"A":1}}`, string(whole) + "x", string(whole) + string(whole),
		`{"error":{"code":"card_declined","type":"invalid_request_error","message":"No."}}`,
	}
	for i := range whole {
		garbage = append(garbage, string(whole[:i]))
	}
	for _, data := range garbage {
		e := apierror.ParameterMissing("name")
		if err := e.UnmarshalBinary([]byte(data)); err == nil {
			t.Errorf("%q is read as %#v", data, e)
		}
		if !reflect.DeepEqual(e, apierror.ParameterMissing("name")) {
			t.Errorf("%q has changed the error: %v", data, e)
		}
	}
}

// An error that can be read is written as it was read, and can be sent.
func FuzzStoredError(f *testing.F) {
	full := apierror.RateLimitExceeded(time.Minute).WithParam("p").WithMetadata("k", "v").WithHeader("Location", "/x").
		WithField(apierror.Field{Code: "c", Param: "p", Message: "m"})
	parsed := asError(f, apierror.Parse(response(http.StatusBadGateway, "text/html", "<html>")))
	for _, e := range []*apierror.Error{nil, {}, full, parsed, apierror.CodeAPIError.New().WithCause(io.EOF).WithNotRetryable()} {
		b, _ := e.MarshalBinary()
		f.Add(b)
	}
	for _, s := range []string{"", "null", `{"Version":1}`, `{"Version":1,"Status":-1,"RetryAfter":-1,"Code":"\u0000"}`, `{"version":1,"METADATA":{"":""}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e apierror.Error
		if e.UnmarshalBinary(data) != nil {
			if !reflect.DeepEqual(e, apierror.Error{}) {
				t.Errorf("garbage has changed the error: %#v", &e)
			}
			return
		}
		got := stored(t, &e)
		if !reflect.DeepEqual(got, &e) {
			t.Errorf("%#v is not %#v", got, &e)
		}
		if !utf8.ValidString(e.Error()) {
			t.Errorf("%q", e.Error())
		}
		w := httptest.NewRecorder()
		h := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return &e })
		quiet().Handler(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code < 400 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
	})
}

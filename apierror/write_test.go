package apierror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// write answers a GET request that has an id.
func write(rd *apierror.Renderer, accept string, err error) *httptest.ResponseRecorder {
	r, state := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/v1/resources", nil))
	state.SetRequestID("req_Hd92kLpQ7m")
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })).ServeHTTP(w, r)
	return w
}

func quiet() *apierror.Renderer { return &apierror.Renderer{Logger: slog.New(slog.DiscardHandler)} }

func TestTheSpecificationsExample(t *testing.T) {
	t.Parallel()
	w := write(quiet(), "", apierror.ParameterMissing("name"))

	equal(t, "status", w.Code, 400)
	var indented bytes.Buffer
	if err := json.Indent(&indented, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	equal(t, "body", indented.String(), `{
  "error": {
    "type": "invalid_request_error",
    "code": "parameter_missing",
    "message": "Missing required parameter: name.",
    "param": "name",
    "request_id": "req_Hd92kLpQ7m"
  }
}
`)
	equal(t, "headers", headers(w.Header()), `Cache-Control: no-store
Content-Type: application/json
Request-Id: req_Hd92kLpQ7m
X-Content-Type-Options: nosniff
X-Request-Id: req_Hd92kLpQ7m
X-Should-Retry: false
`)
}

func headers(h http.Header) string {
	var b strings.Builder
	_ = h.Write(&b)
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func TestTheOptionalMembers(t *testing.T) {
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

// huge has as much of everything as a service can put in.
func huge() *apierror.Error {
	long := strings.Repeat("\x00", 1<<16)
	e := apierror.Code(long).Messagef("%s", long).WithParam(long)
	for i := range 200 {
		e = e.WithField(apierror.Field{Code: apierror.Code(long), Param: long, Message: long}).WithMetadata(fmt.Sprint(i)+long, long)
	}
	return e
}

func TestParseReadsWhateverIsSent(t *testing.T) {
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

func TestHeadersOfAnErrorReplaceThoseOfTheBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	stale := []string{
		"Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
		"Content-MD5", "Content-Range", "Digest", "ETag", "Expires", "Last-Modified", "Repr-Digest", "X-Should-Retry",
	}
	server := memhttp.New(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		for _, key := range stale {
			w.Header().Set(key, "true")
		}
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("Set-Cookie", "kept=1")
		w.Header().Set("Vary", "Origin")
		w.WriteHeader(http.StatusEarlyHints) // informational: no status
		return apierror.ServiceUnavailable(1500*time.Millisecond).WithHeader("Content-Encoding", "br").WithHeader("Content-Type", "text/css").
			WithHeader("Request-Id", "mine").WithHeader("x-should-retry", "true").WithHeader("X-Own", "kept")
	}))
	t.Cleanup(server.Close)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		req, _ := http.NewRequestWithContext(t.Context(), method, server.URL, nil)
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		equal(t, method, fmt.Sprint(resp.StatusCode, err), "503 <nil>")
		equal(t, method+": has a body", len(body) > 0, method == http.MethodGet)
		for _, key := range stale {
			if v := resp.Header.Get(key); v != "" && key != "Content-Length" {
				t.Errorf("%s: %s: %s", method, key, v)
			}
		}
		h := resp.Header
		equal(t, method+": Content-Type", h.Get("Content-Type"), "application/json")
		equal(t, method+": Cache-Control", h.Get("Cache-Control"), "no-store")
		equal(t, method+": Retry-After", h.Get("Retry-After"), "2")
		equal(t, method+": kept", h.Get("Set-Cookie")+h.Get("Vary")+h.Get("X-Own"), "kept=1Originkept")
		equal(t, method+": id", strings.HasPrefix(h.Get("Request-Id"), "req_") && h.Get("Request-Id") == h.Get("X-Request-Id"), true)
	}
}

// A writer further out that compresses all bodies has said so in the header, which must stay with what it writes.
func TestTheEncodingOfAnOuterWriterStays(t *testing.T) {
	t.Parallel()
	for _, outer := range []string{"gzip", ""} {
		w := httptest.NewRecorder()
		if outer != "" {
			w.Header().Set("Content-Encoding", outer)
		}
		quiet().Handler(apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			return apierror.CodeTimeout.New().WithHeader("Content-Encoding", "br")
		})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		equal(t, "Content-Encoding", w.Header().Get("Content-Encoding"), outer)
	}
}

func TestHEADIsAnsweredWithoutABody(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	apierror.Write(w, httptest.NewRequest(http.MethodHead, "/", nil), apierror.CodePermissionDenied)
	equal(t, "answer", fmt.Sprint(w.Code, w.Body.Len()), "403 0")
}

func TestHeadersThatFollowFromTheError(t *testing.T) {
	t.Parallel()
	own := func(status int, retryable bool) *apierror.Error {
		return apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status, Message: "m", NotRetryable: !retryable}.New()
	}
	for _, row := range []struct {
		err  error
		want string
	}{
		{apierror.RateLimitExceeded(0), "Retry-After=1"},
		{apierror.RateLimitExceeded(-time.Second), "Retry-After=1"},
		{apierror.RateLimitExceeded(1), "Retry-After=1"},
		{apierror.RateLimitExceeded(time.Second), "Retry-After=1"},
		{apierror.RateLimitExceeded(time.Second + 1), "Retry-After=2"},
		{apierror.RateLimitExceeded(1<<63 - 1), "Retry-After=9223372037"},
		{apierror.RateLimitExceeded(time.Second).WithNotRetryable(), "X-Should-Retry=false"},
		{apierror.RateLimitExceeded(0).WithNotRetryable().WithHeader("Retry-After", "7"), "X-Should-Retry=false"},
		{apierror.RateLimitExceeded(0).WithHeader("Retry-After", "7"), "Retry-After=7"},
		{apierror.CodeRateLimitExceeded, "Retry-After=1"},
		{apierror.CodeServiceUnavailable, "Retry-After=1"},
		{apierror.CodeIdempotencyInProgress, "Retry-After=1"},
		{own(503, false), "X-Should-Retry=false"},
		{own(503, false).WithRetryAfter(time.Minute), "X-Should-Retry=false"},
		{own(503, true), "Retry-After=1"},
		{own(501, true), "X-Should-Retry=false"},
		{own(409, true), "X-Should-Retry=false"},
		{own(502, true), ""},
		{own(502, true).WithRetryAfter(time.Minute), "Retry-After=60"},
		{own(100, true), ""},
		{apierror.CodeAPIError.New().WithCause(nil), ""},
		{apierror.CodeAPIError, ""},
		{apierror.CodeTimeout.New(), ""},
		{apierror.Code("unknown"), ""},
		{apierror.CodeResourceMissing, "X-Should-Retry=false"},
		{apierror.CodeAuthenticationFailed.New(), "Www-Authenticate=Bearer X-Should-Retry=false"},
		{apierror.CodeAuthenticationFailed.New().WithHeader("WWW-Authenticate", `Basic realm="x"`), `Www-Authenticate=Basic realm="x" X-Should-Retry=false`},
		{apierror.MethodNotAllowed("GET", "HEAD"), "Allow=GET, HEAD X-Should-Retry=false"},
		{apierror.CodeMethodNotAllowed, "Allow= X-Should-Retry=false"},
		{apierror.UnsupportedMediaType("application/json"), "Accept=application/json X-Should-Retry=false"},
	} {
		w := write(quiet(), "", row.err)
		var got []string
		for _, key := range []string{"Accept", "Allow", "Retry-After", "Vary", "Www-Authenticate", "X-Should-Retry"} {
			if v, ok := w.Header()[key]; ok {
				got = append(got, key+"="+strings.Join(v, "|"))
			}
		}
		equal(t, row.err.Error(), strings.Join(got, " "), row.want)
	}
	rd := quiet()
	rd.Challenge = `DPoP algs="ES256"`
	equal(t, "challenge", write(rd, "", apierror.CodeAuthenticationFailed).Header().Get("WWW-Authenticate"), rd.Challenge)
}

func TestAStatusThatIsNoErrorBecomes500(t *testing.T) {
	t.Parallel()
	for _, status := range []int{-1, 0, 1, 99, 100, 200, 204, 304, 399, 600, 1000} {
		d := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status}
		w := write(quiet(), "", d.New())
		equal(t, fmt.Sprint(status), w.Code, 500)
		equal(t, fmt.Sprint(status), strings.Contains(w.Body.String(), `"message":"The request failed."`), true)
	}
	// Nor is a type that nobody knows sent.
	w := write(quiet(), "", apierror.Definition{Code: "own", Type: "weird", Status: 418, Message: "m"}.New())
	equal(t, "body", w.Body.String(), `{"error":{"type":"api_error","code":"own","message":"m","request_id":"req_Hd92kLpQ7m"}}`+"\n")
}

func TestTheCatalogueCompletesACode(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Catalog = catalog(t)
	for _, row := range []struct {
		err    error
		status int
		want   string
	}{
		{apierror.Code("card_declined"), 402, `{"type":"invalid_request_error","code":"card_declined","message":"The card was declined."`},
		{apierror.Code("card_declined").Messagef("No %s.", "money"), 402, `{"type":"invalid_request_error","code":"card_declined","message":"No money."`},
		{apierror.Code("unheard_of").Messagef("Hm."), 500, `{"type":"api_error","code":"unheard_of","message":"Hm."`},
		{apierror.Code("unheard_of"), 500, `{"type":"api_error","code":"unheard_of","message":"The request failed."`},
	} {
		w := write(rd, "", row.err)
		equal(t, row.err.Error(), w.Code, row.status)
		equal(t, row.err.Error(), strings.HasPrefix(w.Body.String(), `{"error":`+row.want), true)
	}
	equal(t, "not to be retried", write(rd, "", apierror.Code("card_declined")).Header().Get("X-Should-Retry"), "false")
	equal(t, "to be retried", write(rd, "", apierror.Code("ledger_locked")).Header().Get("X-Should-Retry"), "")
	equal(t, "asked not to", write(rd, "", apierror.Code("ledger_locked").Messagef("m").WithNotRetryable()).Header().Get("X-Should-Retry"), "false")
}

func TestStrictSendsOnlyWhatTheSpecificationHas(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Strict = true
	rd.Catalog = catalog(t)
	statuses := map[int]bool{400: true, 401: true, 403: true, 404: true, 409: true, 429: true, 500: true}
	want := map[apierror.Code]string{
		"parameter_missing": "400 parameter_missing", "parameter_invalid": "400 parameter_invalid", "resource_missing": "404 resource_missing",
		"authentication_failed": "401 authentication_failed", "permission_denied": "403 permission_denied", "idempotency_conflict": "409 idempotency_conflict",
		"rate_limit_exceeded": "429 rate_limit_exceeded", "api_error": "500 api_error",
		"method_not_allowed": "404 resource_missing", "request_too_large": "400 parameter_invalid", "unsupported_media_type": "400 parameter_invalid",
		"idempotency_in_progress": "429 rate_limit_exceeded", "idempotency_outcome_unknown": "409 idempotency_conflict",
		"idempotency_response_unavailable": "409 idempotency_conflict", "service_unavailable": "500 api_error", "timeout": "500 api_error",
		"card_declined": "400 parameter_invalid", "account_frozen": "403 permission_denied", "key_expired": "401 authentication_failed",
		"ledger_locked": "500 api_error", "not_here": "500 api_error", "daily_quota": "429 rate_limit_exceeded", "replayed": "409 idempotency_conflict",
		apierror.Code("a" + strings.Repeat("9", 62)): "500 api_error",
	}
	for _, d := range rd.Catalog.Definitions() {
		w := write(rd, "", d.New())
		e := asError(t, apierror.Parse(w.Result()))
		equal(t, string(d.Code), fmt.Sprint(w.Code, " ", e.Code()), want[d.Code])
		folded, _ := apierror.DefaultCatalog().Lookup(e.Code())
		equal(t, string(d.Code), e.Type(), folded.Type)
		equal(t, "status", statuses[w.Code], true)
		equal(t, string(d.Code), e.Message(), d.Message)
	}
	for _, row := range []struct {
		d    apierror.Definition
		want string
	}{
		{apierror.Definition{Code: "moved_out", Type: apierror.TypeInvalidRequest, Status: 410, Message: "m"}, "404 resource_missing"},
		{apierror.Definition{Code: "hidden", Type: apierror.TypeInvalidRequest, Status: 404, Message: "m"}, "404 resource_missing"},
		{apierror.Definition{Code: "parameter_invalid", Type: apierror.TypeAPI, Status: 422, Message: "m"}, "400 parameter_invalid"},
	} {
		w := write(rd, "", row.d.New())
		equal(t, string(row.d.Code), fmt.Sprint(w.Code, " ", apierror.CodeOf(apierror.Parse(w.Result()))), row.want)
	}
	shared := apierror.ParameterMissing("a").WithField(apierror.Field{Code: "bad_cvc", Param: "cvc", Message: "m"})
	fields := asError(t, apierror.Parse(write(rd, "", shared).Result())).Fields()
	equal(t, "fields", fmt.Sprint(fields), "[{parameter_missing a Missing required parameter: a.} {parameter_invalid cvc m}]")
	equal(t, "the error stays", shared.Fields()[1].Code, "bad_cvc")
}

func TestProblemDetailsByQuality(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Problem = true
	for accept, problem := range map[string]bool{
		"":                             false,
		"*/*":                          false,
		"application/*":                false,
		"application/json":             false,
		"application/problem+json":     true,
		"Application/Problem+JSON":     true,
		"application/problem+json;q=0": false,
		"application/problem+json;q=0.0, */*;q=0":                                               false,
		"application/problem+json, application/json":                                            false,
		"application/json, application/problem+json":                                            false,
		"application/json;q=0.5, application/problem+json;q=0.6":                                true,
		"application/json;q=0.6, application/problem+json;q=0.5":                                false,
		"application/json;q=0, application/problem+json;q=0.1":                                  true,
		"application/problem+json, */*":                                                         true,
		"application/problem+json;q=0.8, */*":                                                   false,
		"application/problem+json, application/*;q=0.9":                                         true,
		"application/problem+json ; q = 1":                                                      true,
		"application/problem+json;Q=0.4, application/json;q=0.3":                                true,
		"application/problem+json;q=2":                                                          false,
		"application/problem+json;q=-1":                                                         false,
		"application/problem+json;q=x":                                                          false,
		"application/problem+json;q=1e-1":                                                       false,
		"application/problem+json;q=NaN":                                                        false,
		"application/problem+json;q=":                                                           false,
		`text/x;a="\",application/problem+json,\""`:                                             false,
		`text/x;a="b,c;q=0", application/problem+json`:                                          true,
		"application/problem+json;profile=x;q=0.9, application/json;q=.8":                       true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8": false,
		", ;,": false,
	} {
		w := write(rd, accept, apierror.ParameterMissing("name"))
		want := "application/json"
		if problem {
			want = "application/problem+json"
		}
		equal(t, accept, w.Header().Get("Content-Type"), want)
		equal(t, accept, w.Header().Get("Vary"), "Accept")
		equal(t, accept, w.Code, 400)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Accept"] = []string{"application/json;q=0.1", "application/problem+json;q=0.2"}
	w := httptest.NewRecorder()
	rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodeTimeout.New() })).ServeHTTP(w, r)
	equal(t, "two lines", w.Header().Get("Content-Type"), "application/problem+json")

	w = write(quiet(), "application/problem+json", apierror.CodeTimeout.New())
	equal(t, "not switched on", w.Header().Get("Content-Type")+w.Header().Get("Vary"), "application/json")
}

func TestProblemDetails(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Problem = true
	w := write(rd, "application/problem+json", apierror.ParameterMissing("name"))
	equal(t, "body", w.Body.String(), `{"type":"about:blank","title":"Bad Request","status":400,"detail":"Missing required parameter: name.",`+
		`"instance":"req_Hd92kLpQ7m","code":"parameter_missing","param":"name","request_id":"req_Hd92kLpQ7m"}`+"\n")
	e := asError(t, apierror.Parse(w.Result()))
	equal(t, "parsed", fmt.Sprintf("%v %v %v", e, e.Type(), e.FromServer()), "400 parameter_missing: Missing required parameter: name. (param name, request req_Hd92kLpQ7m) invalid_request_error true")

	rd.DocURL = func(c apierror.Code) string { return "https://docs.example/" + string(c) }
	w = write(rd, "application/problem+json", apierror.ParameterMissing("name"))
	equal(t, "title", strings.HasPrefix(w.Body.String(), `{"type":"https://docs.example/parameter_missing","title":"A required parameter is missing.","status":400,`), true)
	equal(t, "doc_url", asError(t, apierror.Parse(w.Result())).DocURL(), "https://docs.example/parameter_missing")
	w = write(rd, "application/problem+json", apierror.Code("unheard_of"))
	equal(t, "unknown", strings.Contains(w.Body.String(), `"title":"unheard_of"`), true)
}

// partial is a handler that begins its answer, and then fails.
func partial(begin func(http.ResponseWriter)) http.Handler {
	return apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		begin(w)
		return apierror.CodeAPIError.New().WithCause(errors.New("too late"))
	})
}

func TestNothingIsWrittenTwice(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		method string
		begin  func(http.ResponseWriter)
		status int // 0 where the connection is cut
		body   string
		log    string
	}{
		{"nothing", "GET", func(http.ResponseWriter) {}, 500, `{"error":`, "request failed\""},
		{"informational", "GET", func(w http.ResponseWriter) { w.WriteHeader(103) }, 500, `{"error":`, "request failed\""},
		{"a part", "GET", func(w http.ResponseWriter) { io.WriteString(w, "part") }, 0, "", "is aborted"},
		{"flushed", "GET", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, 0, "", "is aborted"},
		{"a status", "GET", func(w http.ResponseWriter) { w.WriteHeader(202) }, 0, "", "is aborted"},
		{"less than its length", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "part")
		}, 0, "", "is aborted"},
		{"all of its length", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "whole")
		}, 200, "whole", "was complete"},
		{"no content", "GET", func(w http.ResponseWriter) { w.WriteHeader(204) }, 204, "", "was complete"},
		{"HEAD", "HEAD", func(w http.ResponseWriter) { w.WriteHeader(200) }, 200, "", "was complete"},
		{"an error of its own", "GET", func(w http.ResponseWriter) { http.Error(w, "mine", http.StatusTeapot) }, 418, "mine", "was complete"},
		{"another of ours", "GET", func(w http.ResponseWriter) {
			apierror.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), apierror.CodePermissionDenied.New())
		}, 403, `{"error":{"type":"permission_error"`, "was complete"},
		{"hijacked", "GET", func(w http.ResponseWriter) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nmy own")
			c.Close()
		}, 200, "my own", "hijacked"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var out logbuf.Buffer
			rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, nil))}
			server := memhttp.New(rd.Handler(partial(row.begin)))
			req, _ := http.NewRequestWithContext(t.Context(), row.method, server.URL, nil)

			resp, err := server.Client().Do(req)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			server.Close()

			if row.status == 0 {
				if err == nil {
					t.Errorf("the client takes it for the whole: %s %q", resp.Status, body)
				}
			} else if err != nil || resp.StatusCode != row.status || !strings.HasPrefix(string(body), row.body) {
				t.Errorf("%v: %v %q", err, resp, body)
			}
			if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), row.log) {
				t.Errorf("%d records: %s", n, out.String())
			}
		})
	}
}

// A client that leaves a stream is no fault of anyone: the response is cut off all the same, but nobody is to be woken up.
func TestAClientThatLeavesAStreamIsADebugLine(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	h := rd.Handler(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		io.WriteString(w, "data: 1\n\n")
		cancel()
		return r.Context().Err()
	}))
	defer func() {
		equal(t, "panic", recover(), any(http.ErrAbortHandler))
		equal(t, "level", strings.Contains(out.String(), "level=DEBUG"), true)
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
}

type goneWriter struct{ *httptest.ResponseRecorder }

func (goneWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestAWriteToAClientThatHasGoneIsADebugLine(t *testing.T) {
	t.Parallel()
	for level, lines := range map[slog.Level]int{slog.LevelInfo: 0, slog.LevelDebug: 2} {
		var out bytes.Buffer
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))}
		h := rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied }))
		h.ServeHTTP(goneWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
		equal(t, level.String(), strings.Count(out.String(), "\n"), lines)
		equal(t, level.String(), strings.Contains(out.String(), "broken pipe"), lines == 2)
	}
}

func TestOnlyOurFaultsAreLogged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		want string
	}{
		{apierror.ParameterMissing("a"), ""},
		{apierror.RateLimitExceeded(0), ""},
		{apierror.CodeAPIError.New().WithCause(errors.New("disk full")), `level=ERROR msg="apierror: request failed" code=api_error type=api_error status=500 request_id=req_Hd92kLpQ7m cause="disk full"` + "\n"},
		{apierror.CodeAPIError, `level=ERROR msg="apierror: request failed" code=api_error type=api_error status=500 request_id=req_Hd92kLpQ7m` + "\n"},
		{apierror.ServiceUnavailable(0).WithCause(errors.New("pool")), `level=WARN msg="apierror: request failed" code=service_unavailable type=api_error status=503 request_id=req_Hd92kLpQ7m cause=pool` + "\n"},
		{apierror.ServiceUnavailable(0), ""}, // overload: a line for each of them would be a flood of its own
		{apierror.CodeTimeout, ""},
		{nil, ""},
	} {
		var out bytes.Buffer
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))}
		write(rd, "", row.err)
		equal(t, fmt.Sprint(row.err), out.String(), row.want)
	}
}

func TestANilErrorIsAMistakeOfTheCaller(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	quiet().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, nil) })).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	equal(t, "status", w.Code, 500)
	defer func() { equal(t, "panic", fmt.Sprint(recover()), "apierror: Renderer.Handler of a nil http.Handler") }()
	quiet().Handler(nil)
}

func TestRedactWritesTheCause(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		redact func(error) string
		want   string
	}{
		"redacted": {func(error) string { return "only this" }, `cause="only this"`},
		"panics":   {func(error) string { panic("hook") }, `cause=(redacted)`},
		"nothing":  {func(error) string { return "" }, `cause=(redacted)`},
	} {
		var out bytes.Buffer
		rd := &apierror.Renderer{Redact: row.redact, Logger: slog.New(slog.NewTextHandler(&out, nil))}
		w := write(rd, "", errors.New("secret-4711"))
		equal(t, name, w.Code, 500)
		if !strings.Contains(out.String(), row.want) || strings.Contains(out.String(), "4711") {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}

func TestADocURLThatPanicsIsLeftOut(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.DocURL = func(apierror.Code) string { panic("hook") }
	equal(t, "body", write(rd, "", apierror.CodeTimeout.New()).Body.String(),
		`{"error":{"type":"api_error","code":"timeout","message":"The request took too long to process.","request_id":"req_Hd92kLpQ7m"}}`+"\n")
}

func TestTheInnerRendererWins(t *testing.T) {
	t.Parallel()
	outer, inner := quiet(), quiet()
	outer.Challenge, inner.Challenge = "Outer", "Inner"
	fail := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodeAuthenticationFailed.New() })
	w := httptest.NewRecorder()
	var after *httptest.ResponseRecorder
	outer.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		inner.Handler(fail).ServeHTTP(w, r)
		after = httptest.NewRecorder()
		fail.ServeHTTP(after, r)
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	equal(t, "inside", w.Header().Get("WWW-Authenticate"), "Inner")
	equal(t, "after it", after.Header().Get("WWW-Authenticate"), "Outer")

	w = httptest.NewRecorder()
	(*apierror.Renderer)(nil).Handler(fail).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	equal(t, "nil is the default", w.Header().Get("WWW-Authenticate"), "Bearer")
}

// http.TimeoutHandler leaves its handler behind, which then still needs to know how its error is logged.
func TestAHandlerThatOutlivesItsRequestKeepsItsRenderer(t *testing.T) {
	t.Parallel()
	var out logbuf.Buffer
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, nil)), Redact: func(error) string { return "-" }}
	left, done := make(chan struct{}), make(chan struct{})
	rd.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		go func() {
			defer close(done)
			<-left
			apierror.Write(httptest.NewRecorder(), r, errors.New("secret-4711"))
		}()
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	close(left)
	<-done
	if !strings.Contains(out.String(), "cause=-") {
		t.Errorf("logged elsewhere: %s", out.String())
	}
}

func TestARequestHasOneID(t *testing.T) {
	t.Parallel()
	r, state := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/", nil))
	w := httptest.NewRecorder()
	quiet().Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied })).ServeHTTP(w, r)
	id := w.Header().Get("Request-Id")
	equal(t, "context", apierror.RequestIDFrom(r.Context()), id)
	equal(t, "slot", asError(t, state.Err()).RequestID(), id)
	equal(t, "body", asError(t, apierror.Parse(w.Result())).RequestID(), id)
	equal(t, "no state", apierror.RequestIDFrom(t.Context()), "")

	again := httptest.NewRecorder()
	apierror.Write(again, r, apierror.CodePermissionDenied)
	equal(t, "the second time", again.Header().Get("Request-Id"), id)

	without := httptest.NewRecorder()
	apierror.Write(without, httptest.NewRequest(http.MethodGet, "/", nil), apierror.CodePermissionDenied)
	equal(t, "without a state", len(without.Header().Get("X-Request-Id")), 20)
}

// The response's headers are nobody else's, and an error that is shared does not change.
func TestOneErrorRenderedByManyGoroutines(t *testing.T) {
	t.Parallel()
	shared := apierror.ParameterMissing("a").WithField(apierror.Field{Code: "own", Param: "b"}).WithMetadata("k", "v").WithMetadata("l", "w").
		WithHeader("X-Own", "1").WithRetryAfter(time.Minute).WithCause(io.EOF)
	text := shared.Error()
	rds := []*apierror.Renderer{quiet(), quiet(), quiet()}
	rds[1].Strict, rds[2].Problem = true, true
	rds[1].DocURL = func(c apierror.Code) string { return "https://x/" + string(c) }
	rds[2].DocURL = rds[1].DocURL
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 20 {
				w := write(rds[i%3], "application/problem+json", shared)
				w.Header()["X-Own"][0] = "changed"
				w.Header().Add("X-Own", "2")
				w.Header()["Request-Id"][0] = "changed"
				if !json.Valid(w.Body.Bytes()) {
					t.Errorf("%s", w.Body)
				}
				_ = shared.WithMetadata("m", "x").WithHeader("X-Own", "3").WithField(apierror.Field{Param: "c"}).Error()
			}
		})
	}
	wg.Wait()
	equal(t, "text", shared.Error(), text)
	equal(t, "doc_url", shared.DocURL(), "")
	equal(t, "fields", fmt.Sprint(shared.Fields()), "[{parameter_missing a Missing required parameter: a.} {own b }]")
	equal(t, "metadata", fmt.Sprint(shared.Metadata()), "map[k:v l:w]")
	equal(t, "header", write(quiet(), "", shared).Header().Get("X-Own"), "1")
}

func TestAppendingToOneHeaderLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	h := write(quiet(), "", apierror.CodeAuthenticationFailed.New().WithRetryAfter(time.Second)).Header()
	before := h.Clone()
	for key := range before {
		h.Add(key, "more")
	}
	for key, values := range before {
		equal(t, key, fmt.Sprint(h[key]), fmt.Sprint(append(values, "more")))
	}
}

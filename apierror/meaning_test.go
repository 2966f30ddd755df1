package apierror_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

// chainErrors looks like github.com/hashicorp/go-multierror: members are found by As and Is alone.
type chainErrors []error

func (chainErrors) Error() string { return "several" }
func (c chainErrors) As(target any) bool {
	for _, err := range c {
		if errors.As(err, target) {
			return true
		}
	}
	return false
}

var declined = apierror.Definition{Code: "card_declined", Type: apierror.TypePermission, Status: 403, Message: "Declined."}

func TestOneMeaningHasOneAnswer(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"Definition":         declined,
		"*Definition":        &declined,
		"*Error":             declined.New(),
		"As method":          chainErrors{io.EOF, declined.New()},
		"As of a Definition": fmt.Errorf("x: %w", chainErrors{io.EOF, &declined}),
	} {
		e := apierror.From(err)
		equal(t, name, fmt.Sprint(e.Code(), e.Status()), "card_declined403")
		equal(t, name+", CodeOf", apierror.CodeOf(err), declined.Code)
		if strings.HasPrefix(name, "As") {
			continue
		}
		for _, target := range []error{declined, &declined, declined.Code, apierror.TypePermission} {
			if !errors.Is(err, target) {
				t.Errorf("%s is no %T", name, target)
			}
		}
		if errors.Is(err, apierror.TypeAPI) || errors.Is(err, apierror.CodeAPIError) {
			t.Errorf("%s is api_error", name)
		}
	}
	equal(t, "a code is its type", errors.Is(apierror.CodePermissionDenied, apierror.TypePermission), true)
	equal(t, "New", apierror.CodePermissionDenied.New().Status(), 403)
}

func TestMessagefPutsNoCauseOnTheWire(t *testing.T) {
	t.Parallel()
	secret := errors.New("secret-4711")
	for _, e := range []*apierror.Error{
		apierror.CodeAPIError.Messagef("It failed: %w", secret),
		apierror.CodeAPIError.Messagef("It failed: %+w, %[1]w", secret),
		declined.Messagef("%w, %v", io.EOF, secret),
	} {
		if strings.Contains(e.Message(), "4711") || strings.Contains(e.Message(), "EOF") {
			t.Error(e.Message())
		}
	}
	equal(t, "without", apierror.CodeAPIError.Messagef("wow %d%%: %v", 5, io.EOF).Message(), "wow 5%: EOF")
}

func TestErrorMarshalsItsPublicPart(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(map[string]any{"a": apierror.ParameterMissing("name").WithCause(errors.New("secret-4711")), "b": (*apierror.Error)(nil)})
	equal(t, "JSON", string(b), `{"a":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required parameter: name.","param":"name"},"b":null}`)
	equal(t, "error", err, nil)
}

func TestWithFieldKeepsACodeOfTheServicesOwn(t *testing.T) {
	t.Parallel()
	own := apierror.Definition{Code: "unprocessable", Type: apierror.TypeInvalidRequest, Status: 422, Message: "No."}
	e := own.New().WithField(apierror.Field{Code: apierror.CodeParameterMissing, Param: "a", Message: "A."})
	equal(t, "error", fmt.Sprint(e.Status(), e.Code(), e.Param(), e.Message(), e.Fields()), "422unprocessableaNo.[{parameter_missing a A.}]")
}

func TestWithHeaderAddsASecondValue(t *testing.T) {
	t.Parallel()
	w := write(quiet(), "", apierror.CodeAuthenticationFailed.New().WithHeader("WWW-Authenticate", "Basic").WithHeader("WWW-Authenticate", "Bearer"))
	equal(t, "header", fmt.Sprint(w.Header()["Www-Authenticate"]), "[Basic Bearer]")
}

func TestErrorHeadersDoNotContradictOneAnother(t *testing.T) {
	t.Parallel()
	limited := apierror.Definition{Code: "banned", Type: apierror.TypeRateLimit, Status: 403, Message: "Banned."}
	for _, strict := range []bool{false, true} {
		for _, e := range []error{limited, limited.New().WithNotRetryable(), apierror.CodePermissionDenied.New().WithRetryAfter(5e9), apierror.CodeRateLimitExceeded,
			apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeServiceUnavailable.New().WithNotRetryable()} {
			rd := quiet()
			rd.Strict = strict
			w := write(rd, "", e)
			if w.Header().Get("X-Should-Retry") == "false" && w.Header().Get("Retry-After") != "" {
				t.Errorf("strict %v, %v: %v", strict, e, w.Header())
			}
			if w.Code == 429 && w.Header().Get("X-Should-Retry") == "" && w.Header().Get("Retry-After") == "" {
				t.Errorf("strict %v, %v: no wait: %v", strict, e, w.Header())
			}
		}
	}
}

func TestHeadersOfTheBodyThatDoesNotComeAreGone(t *testing.T) {
	t.Parallel()
	rd := quiet()
	w := httptest.NewRecorder()
	rd.Handler(apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		for _, key := range []string{"CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control", "Transfer-Encoding", "Trailer", "ETag"} {
			w.Header().Set(key, "chunked")
		}
		return apierror.From(io.EOF).WithHeader("Stripe-Should-Retry", "false").WithHeader("Content-Type", "text/x").WithHeader("etag", "x")
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	for key := range w.Header() {
		switch key {
		case "Cache-Control", "Content-Type", "Request-Id", "X-Request-Id", "X-Content-Type-Options", "Stripe-Should-Retry":
		default:
			t.Errorf("%s: %s", key, w.Header()[key])
		}
	}
	equal(t, "Content-Type", w.Header().Get("Content-Type"), "application/json")
	equal(t, "extra", w.Header().Get("Stripe-Should-Retry"), "false")
}

func TestAMalformedFormIsTheClientsFault(t *testing.T) {
	t.Parallel()
	form := newRequest
	const plain = "application/x-www-form-urlencoded"
	multi := func(r *http.Request) error { return r.ParseMultipartForm(1 << 10) }
	for name, err := range map[string]error{
		"escape":          form(plain, "email=%zz").ParseForm(),
		"semicolon":       form(plain, "a=1;b=2").ParseForm(),
		"media type":      form("a;b;c=", "a=1").ParseForm(),
		"too large":       form(plain, strings.Repeat("a", 11<<20)).ParseForm(),
		"no multipart":    multi(form(plain, "a=1")),
		"no boundary":     multi(form("multipart/form-data", "a")),
		"empty boundary":  multi(form(`multipart/form-data; boundary=""`, "a")),
		"empty":           multi(form("multipart/form-data; boundary=x", "")),
		"too many parts":  multipart.ErrMessageTooLarge,
		"no file":         http.ErrMissingFile,
		"malformed parts": multi(form("multipart/form-data; boundary=x", "--x\r\n:\r\n\r\nb\r\n--x--")),
	} {
		e := apierror.From(fmt.Errorf("form: %w", err))
		if err == nil || e.Status() >= 500 || strings.Contains(e.Message(), "zz") {
			t.Errorf("%s: %v: %v", name, err, e)
		}
	}
}

// encoder is a compressor. eager sets the header before the handler runs, as gorilla's does;
// else it does at WriteHeader, as chi's, unless the handler has encoded the body itself.
type encoder struct {
	http.ResponseWriter
	eager bool
	zw    *gzip.Writer
	wrote bool
}

func (e *encoder) WriteHeader(status int) {
	if !e.wrote {
		e.wrote = true
		if e.eager || e.Header().Get("Content-Encoding") == "" {
			e.zw = gzip.NewWriter(e.ResponseWriter)
			e.Header().Del("Content-Length")
			if !e.eager {
				e.Header().Set("Content-Encoding", "gzip")
			}
		}
		e.ResponseWriter.WriteHeader(status)
	}
}

func (e *encoder) Write(p []byte) (int, error) {
	e.WriteHeader(http.StatusOK)
	if e.zw != nil {
		return e.zw.Write(p)
	}
	return e.ResponseWriter.Write(p)
}

func TestBodyAndContentEncodingAgreeBelowACompressor(t *testing.T) {
	t.Parallel()
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, apierror.CodePermissionDenied) })
	returned := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied })
	for name, h := range map[string]http.Handler{"Write": bare, "HandlerFunc": returned, "below the chain": quiet().Handler(bare)} {
		for _, eager := range []bool{true, false} {
			w := httptest.NewRecorder()
			e := &encoder{ResponseWriter: w, eager: eager}
			if eager {
				w.Header().Set("Content-Encoding", "gzip")
			}
			h.ServeHTTP(e, httptest.NewRequest(http.MethodGet, "/", nil))
			if e.zw != nil {
				_ = e.zw.Close()
			}
			body := io.Reader(w.Body)
			if w.Header().Get("Content-Encoding") == "gzip" {
				zr, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Errorf("%s, %v: %v", name, eager, err)
					continue
				}
				body = zr
			}
			if text, _ := io.ReadAll(body); !json.Valid(text) {
				t.Errorf("%s, eager %v: %q", name, eager, text)
			}
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Encoding", "gzip") // by the handler itself
	bare.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	equal(t, "of the dead body", w.Header().Get("Content-Encoding"), "")
}

func TestAPanickingHookWritesABoundedLine(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil)), Map: func(error) *apierror.Error { panic(strings.Repeat("x\u202e", 1<<20)) }}
	write(rd, "", io.EOF)
	if log.Len() > 20_000 || strings.Contains(log.String(), "202e") {
		t.Errorf("%d bytes", log.Len())
	}
}

func TestLogRecordsShowNoUserinfoOrQueryOfAURL(t *testing.T) {
	t.Parallel()
	const address = "https://user:hush@a.example/x?key=hush#hush"
	inner := &url.Error{Op: "Get", URL: address, Err: io.EOF}
	for name, err := range map[string]error{
		"url.Error":          apierror.ServiceUnavailable(0).WithCause(inner),
		"one inside another": apierror.CodeAPIError.New().WithCause(&url.Error{Op: "Get", URL: address, Err: fmt.Errorf("x: %w", inner)}),
		"returned":           fmt.Errorf("call: %w", inner),
		"joined":             errors.Join(inner, inner),
		"one in an Error":    apierror.CodeAPIError.New().WithCause(apierror.CodeAPIError.New().WithCause(inner)),
	} {
		var log strings.Builder
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		write(rd, "", err)
		if !strings.Contains(log.String(), "a.example/x") || strings.Contains(log.String(), "hush") {
			t.Errorf("%s: %s", name, log.String())
		}
		var e *apierror.Error
		if errors.As(err, &e) && (strings.Contains(e.Error(), "hush") || strings.Contains(e.LogValue().String(), "hush")) {
			t.Errorf("%s: %v, %v", name, e, e.LogValue())
		}

		log.Reset()
		var asked error
		rd.Redact = func(cause error) string { asked = cause; return "own" }
		write(rd, "", err)
		var whole *url.Error
		if !errors.As(asked, &whole) || whole.URL != address || !strings.Contains(log.String(), "cause=own") {
			t.Errorf("%s: the hook was asked about %v: %s", name, asked, log.String())
		}
	}
	var log strings.Builder
	write(&apierror.Renderer{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Map:    func(error) *apierror.Error { panic(inner) },
	}, "", io.EOF)
	if strings.Contains(log.String(), "hush") {
		t.Errorf("a hook's panic: %s", log.String())
	}
}

func TestAFormThatCannotBeReadIsAnsweredByItsInnermostError(t *testing.T) {
	t.Parallel()
	multi := func(body io.Reader) error {
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		r.Body = http.MaxBytesReader(nil, r.Body, 100)
		return r.ParseMultipartForm(1 << 10)
	}
	const part = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"
	for _, row := range []struct {
		name string
		err  error
		code apierror.Code
	}{
		{"too large before the first part", multi(strings.NewReader(strings.Repeat("a\r\n", 100))), apierror.CodeRequestTooLarge},
		{"too slow", multi(io.MultiReader(strings.NewReader("--"), failingBody{timeoutError(t)})), apierror.CodeTimeout},
		{"of the service's own reader", multi(failingBody{apierror.CodePermissionDenied}), apierror.CodePermissionDenied},
		{"a reader that breaks", multi(failingBody{errors.New("broken")}), apierror.CodeAPIError},
		{"cut off before a part", multi(strings.NewReader("\r\n")), apierror.CodeParameterInvalid},
		{"cut off in a part: it may be a dependency's error as well", multi(strings.NewReader(part)), apierror.CodeAPIError},
		{"an unexpected line", multi(strings.NewReader(part + "--x  y\r\n--x--")), apierror.CodeParameterInvalid},
		{"a header without a colon", multi(strings.NewReader("--x\r\nname\r\n\r\nb\r\n--x--")), apierror.CodeParameterInvalid},
		{"the service's own", errors.New("multipart: the store is down"), apierror.CodeAPIError},
		{"the service's own, wrapping", fmt.Errorf("multipart: NextPart: %w", errors.New("no disk")), apierror.CodeAPIError},
		{"the service's own text", fmt.Errorf("http: POST too large%w", errEmpty{}), apierror.CodeAPIError},
		{"the service's own header", errors.New("malformed MIME header in the template"), apierror.CodeAPIError},
	} {
		e := apierror.From(fmt.Errorf("form: %w", row.err))
		if row.err == nil || e.Code() != row.code {
			t.Errorf("%s: %v: %s", row.name, row.err, e.Code())
		}
	}
}

type errEmpty struct{}

func (errEmpty) Error() string { return "" }

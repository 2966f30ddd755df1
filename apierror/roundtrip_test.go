package apierror_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// ownCodes are definitions as a service adds them.
func ownCodes() []apierror.Definition {
	return []apierror.Definition{
		{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."},
		{Code: "account_frozen", Type: apierror.TypePermission, Status: 423, Message: "The account is frozen."},
		{Code: "key_expired", Type: apierror.TypeAuthentication, Status: 401, Message: "The key has expired."},
		{Code: "ledger_locked", Type: apierror.TypeAPI, Status: 503, Message: "The ledger is locked."},
		{Code: "not_here", Type: apierror.TypeAPI, Status: 501, Message: "This region does not do that."},
		{Code: "daily_quota", Type: apierror.TypeRateLimit, Status: 429, Message: "The daily quota is used up."},
		{Code: "replayed", Type: apierror.TypeIdempotency, Status: 422, Message: "Replayed."},
		{Code: apierror.Code("a" + strings.Repeat("9", 62)), Type: apierror.TypeAPI, Status: 599, Message: "The last of all."},
	}
}

func catalog(t testing.TB) *apierror.Catalog {
	t.Helper()
	c, err := apierror.NewCatalog(ownCodes()...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What a service says is what its client gets: each code of the catalog, with arbitrary texts,
// over TCP and back.
func TestEveryCodeSurvivesTheWire(t *testing.T) {
	t.Parallel()
	var sent error
	rd := quiet()
	rd.Catalog, rd.DocURL = catalog(t), func(c apierror.Code) string { return "https://docs.example/errors#" + string(c) }
	server := httptest.NewServer(rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return sent })))
	t.Cleanup(server.Close)
	random := rand.New(rand.NewPCG(1, 2))

	for _, d := range catalog(t).Definitions() {
		bare := d.New()
		full := d.New().WithMessage(words(random, 80)).WithParam(words(random, 5)).WithRetryAfter(time.Duration(1+random.IntN(1e6))*time.Second).
			WithMetadata(words(random, 3), words(random, 20)).WithMetadata("empty", "").WithCause(errors.New("secret-4711"))
		many := d.New().WithField(apierror.Field{Code: "parameter_missing", Param: words(random, 3), Message: words(random, 9)}).
			WithField(apierror.Field{Code: d.Code, Param: words(random, 3), Message: words(random, 9)})
		last := d.New().WithMessage(words(random, 8)).WithNotRetryable()
		for name, e := range map[string]*apierror.Error{"bare": bare, "full": full, "many": many, "last": last} {
			for how, err := range map[string]error{
				"itself":  e,
				"wrapped": fmt.Errorf("handler: %w", fmt.Errorf("store: %w", e)),
				"joined":  errors.Join(errors.New("first"), nil, e),
			} {
				what := fmt.Sprintf("%s, %s, %s", d.Code, name, how)
				sent = err
				resp, err := server.Client().Get(server.URL + "/v1/x?secret=4711")
				if err != nil {
					t.Fatal(err)
				}
				parsed := apierror.Parse(resp)
				same(t, what, asError(t, parsed), e, resp.Header)
				for wrap, err := range map[string]error{"parsed": parsed, "%w": fmt.Errorf("call: %w", parsed), "Join": errors.Join(errors.New("x"), parsed)} {
					if !errors.Is(err, e.Code()) || !errors.Is(err, e.Type()) || errors.Is(err, apierror.Code("other")) || apierror.CodeOf(err) != e.Code() {
						t.Errorf("%s: errors.Is does not find it in %s: %v", what, wrap, err)
					}
					if got, ok := errors.AsType[*apierror.Error](err); !ok || got.Param() != e.Param() || got.RequestID() != resp.Header.Get("Request-Id") {
						t.Errorf("%s: errors.AsType does not find it in %s: %v", what, wrap, err)
					}
				}
				if strings.Contains(parsed.Error(), "4711") {
					t.Errorf("%s: a secret is in %v", what, parsed)
				}
			}
		}
	}
}

func same(t *testing.T, what string, got, want *apierror.Error, h http.Header) {
	t.Helper()
	equal(t, what+": FromServer", got.FromServer(), true)
	equal(t, what+": code", got.Code(), want.Code())
	equal(t, what+": type", got.Type(), want.Type())
	equal(t, what+": status", got.Status(), want.Status())
	equal(t, what+": message", got.Message(), want.Message())
	equal(t, what+": param", got.Param(), want.Param())
	equal(t, what+": doc_url", got.DocURL(), "https://docs.example/errors#"+string(want.Code()))
	equal(t, what+": errors", fmt.Sprint(got.Fields()), fmt.Sprint(want.Fields()))
	equal(t, what+": metadata", maps.Equal(got.Metadata(), want.Metadata()), true)
	equal(t, what+": request id", got.RequestID(), h.Get("X-Request-Id"))
	equal(t, what+": Request-Id", got.RequestID(), h.Get("Request-Id"))
	equal(t, what+": X-Should-Retry", h.Get("X-Should-Retry"), map[bool]string{true: "", false: "false"}[want.Retryable()])
	wait := want.RetryAfter()
	if !want.Retryable() { // it would contradict X-Should-Retry
		wait = 0
	}
	if wait == 0 && (want.Status() == 429 || want.Status() == 503) && h.Get("Retry-After") != "" {
		wait = time.Second // a 429 or 503 without a time of its own
	}
	equal(t, what+": Retry-After", got.RetryAfter(), wait)
	if !strings.HasPrefix(got.RequestID(), "req_") || len(got.RequestID()) != 20 {
		t.Errorf("%s: request id %q", what, got.RequestID())
	}
}

// words is a text of n runes that JSON, HTML, log lines and format strings would rather not have.
func words(random *rand.Rand, n int) string {
	letters := []rune("aZ09 .%s\"\\/<>&'\t\n\r\x01\x7fäß€漢\u2028\u2029🙂\ufeff{}[]")
	text := make([]rune, n)
	for i := range text {
		text[i] = letters[random.IntN(len(letters))]
	}
	return string(text)
}

// A parsed error's fields cannot be changed from outside.
func TestErrorsHandOutCopies(t *testing.T) {
	t.Parallel()
	e := apierror.ParameterMissing("a").WithField(apierror.Field{Code: "x", Param: "b"}).WithMetadata("k", "v")
	e.Fields()[0].Param = "changed"
	e.Metadata()["k"] = "changed"
	more := e.WithField(apierror.Field{Param: "c"}).WithMetadata("k", "other").WithHeader("X-A", "1").WithParam("z").WithMessage("m").
		WithRetryAfter(time.Second).WithNotRetryable().WithCause(errors.New("x"))

	equal(t, "param", e.Fields()[0].Param, "a")
	equal(t, "metadata", e.Metadata()["k"], "v")
	equal(t, "fields", len(e.Fields()), 2)
	equal(t, "more fields", len(more.Fields()), 3)
	equal(t, "text", e.Error(), "parameter_missing: Missing required parameter: a. (param a)")
	// Two copies of one error do not share what is added to them.
	b, c := more.WithField(apierror.Field{Param: "b1"}), more.WithField(apierror.Field{Param: "c1"})
	equal(t, "b", b.Fields()[3].Param, "b1")
	equal(t, "c", c.Fields()[3].Param, "c1")
}

func TestCatalogRefusesNonsenseNamingBothPlaces(t *testing.T) {
	t.Parallel()
	ok := apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."}
	with := func(change func(*apierror.Definition)) apierror.Definition {
		d := ok
		change(&d)
		return d
	}
	for _, row := range []struct {
		name string
		defs []apierror.Definition
		want []string
	}{
		{"twice", []apierror.Definition{ok, ok}, []string{`"card_declined" is defined twice: by argument 1 of NewCatalog and by argument 2 of NewCatalog`}},
		{"built in", []apierror.Definition{ok, with(func(d *apierror.Definition) { d.Code = "timeout" })}, []string{`"timeout" is defined twice: by the built-in catalog and by argument 2 of NewCatalog`}},
		{"no code", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "" })}, []string{`the code "" (argument 1 of NewCatalog)`}},
		{"upper case", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "Card" })}, []string{`the code "Card"`}},
		{"digit first", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "3d" })}, []string{`the code "3d"`}},
		{"dash", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "a-b" })}, []string{`the code "a-b"`}},
		{"newline", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "a\n" })}, []string{`the code "a\n"`}},
		{"64 letters", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = apierror.Code(strings.Repeat("a", 64)) })}, []string{`{0,62}`}},
		{"no type", []apierror.Definition{with(func(d *apierror.Definition) { d.Type = "" })}, []string{`unknown type ""`}},
		{"own type", []apierror.Definition{with(func(d *apierror.Definition) { d.Type = "card_error" })}, []string{`unknown type "card_error"`}},
		{"no status", []apierror.Definition{with(func(d *apierror.Definition) { d.Status = 0 })}, []string{`status 0`}},
		{"399", []apierror.Definition{with(func(d *apierror.Definition) { d.Status = 399 })}, []string{`status 399`}},
		{"600", []apierror.Definition{with(func(d *apierror.Definition) { d.Status = 600 })}, []string{`status 600`}},
		{"no message", []apierror.Definition{with(func(d *apierror.Definition) { d.Message = "" })}, []string{`no default message`}},
		{"all at once", []apierror.Definition{{Code: "X"}, ok, {Code: "a"}, ok}, []string{
			`(argument 1 of NewCatalog) does not match`, `(argument 1 of NewCatalog) has the unknown type`, `(argument 1 of NewCatalog) has the status 0`,
			`(argument 1 of NewCatalog) has no default message`, `(argument 3 of NewCatalog)`, `argument 2 of NewCatalog and by argument 4`,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, err := apierror.NewCatalog(row.defs...)
			if err == nil || c != nil {
				t.Fatal(c, err)
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "apierror: ") {
					t.Errorf("%q is not in %q", want, err)
				}
			}
			defer func() {
				if v := fmt.Sprint(recover()); v != err.Error() {
					t.Errorf("MustCatalog panics with %q", v)
				}
			}()
			apierror.MustCatalog(row.defs...)
		})
	}
}

func TestCatalogHoldsTheBuiltInAndTheOwnDefinitions(t *testing.T) {
	t.Parallel()
	c := apierror.MustCatalog(ownCodes()...)
	got := c.Definitions()
	want := append(apierror.DefaultCatalog().Definitions(), ownCodes()...)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for _, d := range want {
		if found, ok := c.Lookup(d.Code); !ok || found != d {
			t.Errorf("%v, %v", found, ok)
		}
	}
	if d, ok := c.Lookup("no_such"); ok || d != (apierror.Definition{}) {
		t.Errorf("%v", d)
	}
	got[0].Code = "changed"
	equal(t, "first", c.Definitions()[0].Code, apierror.CodeParameterMissing)
	equal(t, "built-in codes", len(apierror.DefaultCatalog().Definitions()), 16)
}

// The specification fixes these, so here they stand once more.
func TestBuiltInCodesAreThoseOfTheSpecification(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		code      apierror.Code
		typ       apierror.Type
		status    int
		retryable bool
	}{
		{"parameter_missing", "invalid_request_error", 400, false},
		{"parameter_invalid", "invalid_request_error", 400, false},
		{"resource_missing", "invalid_request_error", 404, false},
		{"authentication_failed", "authentication_error", 401, false},
		{"permission_denied", "permission_error", 403, false},
		{"idempotency_conflict", "idempotency_error", 409, false},
		{"rate_limit_exceeded", "rate_limit_error", 429, true},
		{"api_error", "api_error", 500, true},
		{"method_not_allowed", "invalid_request_error", 405, false},
		{"request_too_large", "invalid_request_error", 413, false},
		{"unsupported_media_type", "invalid_request_error", 415, false},
		{"idempotency_in_progress", "idempotency_error", 429, true},
		{"idempotency_outcome_unknown", "idempotency_error", 409, false},
		{"idempotency_response_unavailable", "idempotency_error", 409, false},
		{"service_unavailable", "api_error", 503, true},
		{"timeout", "api_error", 504, true},
	} {
		d, ok := apierror.DefaultCatalog().Lookup(row.code)
		if !ok || d.Type != row.typ || d.Status != row.status || d.Message == "" || d.Description == "" {
			t.Errorf("%+v", d)
		}
		e := row.code.Messagef("%d%%", 5)
		equal(t, "message", e.Message(), "5%")
		equal(t, "code's status", e.Status(), row.status)
		equal(t, "code's type", e.Type(), row.typ)
		equal(t, "code's retryable", e.Retryable(), row.retryable)
		equal(t, "text", row.code.Error()+row.typ.Error(), string(row.code)+string(row.typ))
	}
}

func TestConstructorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		e       *apierror.Error
		code    apierror.Code
		param   string
		message string
	}{
		{apierror.ParameterMissing("name"), "parameter_missing", "name", "Missing required parameter: name."},
		{apierror.ParameterInvalid("name", "must be a string"), "parameter_invalid", "name", "Invalid parameter: name must be a string."},
		{apierror.ParameterInvalid("name", ""), "parameter_invalid", "name", "Invalid parameter: name."},
		{apierror.ResourceMissing("customer"), "resource_missing", "", "No such customer."},
		{apierror.CodeAuthenticationFailed.New(), "authentication_failed", "", "No valid API key was provided."},
		{apierror.CodePermissionDenied.New(), "permission_denied", "", "The API key lacks permission for this resource."},
		{apierror.CodeIdempotencyConflict.New().WithParam("Idempotency-Key"), "idempotency_conflict", "Idempotency-Key", "The idempotency key was already used with a different request."},
		{apierror.RateLimitExceeded(time.Second), "rate_limit_exceeded", "", "Too many requests: the rate limit was hit."},
		{apierror.CodeAPIError.New().WithCause(errors.New("secret-4711")), "api_error", "", "An unexpected error occurred on our side."},
		{apierror.MethodNotAllowed("GET", "PUT"), "method_not_allowed", "", "The resource does not support this method."},
		{apierror.RequestTooLarge(5), "request_too_large", "", "The request body is larger than the 5 bytes allowed."},
		{apierror.RequestTooLarge(0), "request_too_large", "", "The request body is too large."},
		{apierror.UnsupportedMediaType("text/csv", "text/plain"), "unsupported_media_type", "Content-Type", "The Content-Type must be text/csv, text/plain."},
		{apierror.UnsupportedMediaType(), "unsupported_media_type", "Content-Type", "The request body is of an unsupported media type."},
		{apierror.CodeIdempotencyInProgress.New().WithRetryAfter(time.Second), "idempotency_in_progress", "", "The first request with this idempotency key is still running."},
		{apierror.CodeIdempotencyOutcomeUnknown.New(), "idempotency_outcome_unknown", "", "The first request with this idempotency key failed half-way: whether it took effect is not known."},
		{apierror.CodeIdempotencyResponseUnavailable.New(), "idempotency_response_unavailable", "", "The first request with this idempotency key was carried out, but its response was not kept."},
		{apierror.ServiceUnavailable(time.Second), "service_unavailable", "", "The service is temporarily unavailable."},
		{apierror.CodeTimeout.New(), "timeout", "", "The request took too long to process."},
	} {
		equal(t, "code", row.e.Code(), row.code)
		equal(t, "param", row.e.Param(), row.param)
		equal(t, "message", row.e.Message(), row.message)
	}
}

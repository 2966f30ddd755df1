package apierror_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// A client gets what the service sends: each code of the catalog, with arbitrary texts,
// over TCP.
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
		wait = time.Second // the default of a 429 and a 503
	}
	equal(t, what+": Retry-After", got.RetryAfter(), wait)
	if !strings.HasPrefix(got.RequestID(), "req_") || len(got.RequestID()) != 20 {
		t.Errorf("%s: request id %q", what, got.RequestID())
	}
}

// words returns n runes, many of which are special in JSON, HTML, log lines or format strings.
func words(random *rand.Rand, n int) string {
	letters := []rune("aZ09 .%s\"\\/<>&'\t\n\r\x01\x7fäß€漢\u2028\u2029🙂\ufeff{}[]")
	text := make([]rune, n)
	for i := range text {
		text[i] = letters[random.IntN(len(letters))]
	}
	return string(text)
}

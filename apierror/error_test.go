package apierror_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

func TestIsComparesOnlyCodeAndType(t *testing.T) {
	t.Parallel()
	e := apierror.ParameterMissing("a").WithCause(fmt.Errorf("x: %w", sql.ErrNoRows))
	var typedNil *apierror.Error
	for _, row := range []struct {
		err, target error
		want        bool
	}{
		{e, apierror.CodeParameterMissing, true},
		{e, apierror.TypeInvalidRequest, true},
		{e, sql.ErrNoRows, true},
		{e, apierror.CodeParameterInvalid, false},
		{e, apierror.TypeAPI, false},
		{e, apierror.Type(""), false},
		{e, apierror.Code(""), false},
		{e, typedNil, false},
		{e, list(nil), false},
		{e, apierror.ParameterMissing("a"), false}, // a target is a code or a type, not another error
		{&apierror.Error{}, apierror.Code(""), false},
		{typedNil, apierror.CodeAPIError, false},
		{typedNil, apierror.TypeAPI, false},
		{apierror.CodeTimeout, apierror.CodeTimeout, true},
		{apierror.CodeTimeout, apierror.TypeAPI, true},
		{apierror.CodeTimeout, apierror.TypeInvalidRequest, false},
		{apierror.Code(""), apierror.Code(""), true}, // errors.Is compares first
	} {
		equal(t, fmt.Sprintf("%v is %v", row.err, row.target), errors.Is(row.err, row.target), row.want)
	}
}

func TestIsAcceptsPointersToDefinitions(t *testing.T) {
	t.Parallel()
	e := apierror.CodeTimeout.New()
	equal(t, "its own", e.Is(&apierror.Definition{Code: apierror.CodeTimeout}), true)
	equal(t, "another", e.Is(&apierror.Definition{Code: apierror.CodeAPIError}), false)
	equal(t, "nil", e.Is((*apierror.Definition)(nil)), false)
}

func TestErrorsIsFindsDefinitions(t *testing.T) {
	t.Parallel()
	declined := apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "m"}
	w := httptest.NewRecorder()
	apierror.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), fmt.Errorf("charging: %w", declined))
	parsed := apierror.Parse(w.Result())
	equal(t, "status", w.Code, 402)
	for name, err := range map[string]error{
		"itself": declined, "made": declined.Messagef("x"), "wrapped": fmt.Errorf("x: %w", declined.New()), "parsed": parsed,
	} {
		equal(t, name+": is it", errors.Is(err, declined), true)
		equal(t, name+": is another", errors.Is(err, apierror.Definition{Code: "other"}), false)
		equal(t, name+": code", apierror.CodeOf(err), declined.Code)
	}
	equal(t, "text", declined.Error(), "card_declined")
}

func TestNilAndZeroErrorsAreAPIErrors(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*apierror.Error{"nil": nil, "zero": {}} {
		equal(t, name, e.Code(), "")
		equal(t, name, e.Type(), apierror.TypeAPI)
		equal(t, name, e.Status(), 500)
		equal(t, name, e.Message()+e.Param()+e.RequestID()+e.DocURL(), "")
		equal(t, name, len(e.Fields())+len(e.Metadata())+int(e.RetryAfter()), 0)
		equal(t, name, e.Retryable(), true)
		equal(t, name, e.FromServer(), false)
		equal(t, name, e.Cause() == nil && e.Unwrap() == nil, true)
		equal(t, name, e.LogValue().Kind(), slog.KindGroup)
		if e.Error() == "" {
			t.Error(name, "has no text")
		}
		for _, c := range []*apierror.Error{
			e.WithMessage("m"), e.WithParam("p"), e.WithCause(io.EOF), e.WithRetryAfter(time.Second), e.WithNotRetryable(),
			e.WithMetadata("k", "v"), e.WithField(apierror.Field{Param: "p"}), e.WithHeader("X-A", "b"),
		} {
			equal(t, name, c.Status(), 500)
			equal(t, name, apierror.From(c).Code(), apierror.CodeAPIError)
		}
	}
}

func TestTypesHaveDefaultStatuses(t *testing.T) {
	t.Parallel()
	for typ, want := range map[apierror.Type]int{
		apierror.TypeInvalidRequest: 400, apierror.TypeAuthentication: 401, apierror.TypePermission: 403,
		apierror.TypeIdempotency: 409, apierror.TypeRateLimit: 429, apierror.TypeAPI: 500, "": 500,
	} {
		e := apierror.Definition{Code: "own", Type: typ, Message: "m"}.New()
		equal(t, string(typ), e.Status(), want)
		equal(t, string(typ)+", written", write(quiet(), "", e).Code, want)
	}
}

func TestRetryableFollowsTheStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		0: true, 200: true, 399: true, 400: false, 401: false, 404: false, 429: true, 500: true, 501: false, 599: true, 600: true,
	} {
		d := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status, Message: "m"}
		equal(t, fmt.Sprint("retryable with ", status), d.New().Retryable(), want)
	}
}

func TestWithNotRetryableOverridesTheStatus(t *testing.T) {
	t.Parallel()
	equal(t, "the zero Error", new(apierror.Error).Retryable(), true)
	equal(t, "not retryable", new(apierror.Error).WithNotRetryable().Retryable(), false)
}

func TestErrorTextIsOneLine(t *testing.T) {
	t.Parallel()
	e := apierror.ParameterInvalid("a\nb", "must\x00be\x1b[31m").WithCause(errors.New("line\r\n2\u202e"))
	equal(t, "text", e.Error(), "parameter_invalid: Invalid parameter: a b must be [31m. (param a b): line  2")
	equal(t, "typed nil cause", apierror.CodeAPIError.New().WithCause((*brokenUnwrap)(nil)).Error(),
		"api_error: An unexpected error occurred on our side.: (a *apierror_test.brokenUnwrap whose Error method panicked)")
	long := apierror.ParameterInvalid(strings.Repeat("p", 1<<20), strings.Repeat("\x00", 1<<20)).WithCause(errors.New(strings.Repeat("c", 1<<20)))
	if n := len(long.Error()); n > 10_000 {
		t.Errorf("%d bytes", n)
	}
}

func TestErrorTextWithoutAMessageIsTheCode(t *testing.T) {
	t.Parallel()
	equal(t, "line", apierror.Code("own").New().Error(), "own")
}

func TestErrorTextHidesSecretsOfTheURL(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://user:secret-4711@api.example.com/v1/a%20b/secret?key=secret-4711#secret-4711")
	if err != nil {
		t.Fatal(err)
	}
	resp := response(404, jsonType, `{"error":{"code":"own","message":"m"}}`)
	resp.Request = &http.Request{URL: u}
	equal(t, "text", apierror.Parse(resp).Error(), "GET https://api.example.com/v1/a%20b/secret: 404 own: m")

	resp.Request = &http.Request{Method: "PO\nST", URL: &url.URL{Path: "/\x1b"}}
	resp.StatusCode = 500
	equal(t, "text", apierror.Parse(resp).Error(), "PO ST /%1B: 500 own: m")
	resp.Request = &http.Request{}
	equal(t, "text", apierror.Parse(resp).Error(), `500 own: m`)
}

// Each response has its own headers, and a shared error does not change.
func TestErrorsAreSafeForConcurrentUse(t *testing.T) {
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

package apierror_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// answer answers a request with err, and returns the response, the request's state and the log.
func answer(ctx context.Context, t *testing.T, rd *apierror.Renderer, err error) (w *httptest.ResponseRecorder, state *reqstate.State, logged string) {
	t.Helper()
	var out bytes.Buffer
	c := *rd
	c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r, state := reqstate.Ensure(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	w = httptest.NewRecorder()
	c.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })).ServeHTTP(w, r)
	return w, state, out.String()
}

func TestMapDecidesTheMeaningOfOwnErrors(t *testing.T) {
	t.Parallel()
	conflict := apierror.Definition{Code: "version_conflict", Type: apierror.TypeInvalidRequest, Status: 409, Message: "Changed meanwhile."}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	rd := &apierror.Renderer{Map: func(err error) *apierror.Error {
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return apierror.ResourceMissing("order")
		case errors.Is(err, io.ErrNoProgress):
			return conflict.New().WithCause(io.EOF)
		case errors.Is(err, io.ErrClosedPipe):
			return asError(t, upstream()) // not passed on, also this way
		case errors.Is(err, io.ErrShortWrite):
			return &apierror.Error{}
		case errors.Is(err, apierror.CodeTimeout):
			return apierror.ServiceUnavailable(time.Minute)
		case errors.Is(err, context.Canceled):
			return apierror.CodeTimeout.New()
		case errors.Is(err, io.ErrShortBuffer):
			panic("secret-4711")
		}
		return nil
	}}
	for _, row := range []struct {
		err   error
		code  apierror.Code
		cause string
	}{
		{fmt.Errorf("order 5: %w", sql.ErrNoRows), "resource_missing", "order 5: sql: no rows in result set"},
		{io.ErrNoProgress, "version_conflict", "EOF"},
		{io.ErrClosedPipe, "api_error", "404 resource_missing: No such ledger. (request req_theirs): io: read/write on closed pipe"},
		{io.ErrShortWrite, "api_error", "api_error: : short write"},
		{apierror.CodeTimeout.New(), "service_unavailable", "timeout: The request took too long to process."},
		{io.ErrShortBuffer, "api_error", "short buffer"},
		{io.EOF, "api_error", "EOF"},
		{apierror.ParameterMissing("a"), "parameter_missing", ""},
	} {
		w, state, logged := answer(t.Context(), t, rd, row.err)
		e := asError(t, state.Err())
		equal(t, row.err.Error()+": code", e.Code(), row.code)
		if row.cause != "api_error: : short write" {
			cause := ""
			if e.Cause() != nil {
				cause = e.Cause().Error()
			}
			equal(t, row.err.Error()+": cause", cause, row.cause)
		}
		equal(t, row.err.Error()+": status", w.Code, e.Status())
		equal(t, row.err.Error()+": the panic is logged", strings.Contains(logged, "hook=Map panic=secret-4711"), errors.Is(row.err, io.ErrShortBuffer))
		if strings.Contains(w.Body.String(), "4711") {
			t.Error(w.Body)
		}
	}
	_, state, _ := answer(canceled, t, rd, context.Canceled)
	equal(t, "Map comes first", apierror.CodeOf(state.Err()), apierror.CodeTimeout)
	equal(t, "Map comes first", state.Gone(), false)
}

func TestMapResultIsNotItsOwnCause(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	rd := &apierror.Renderer{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Map:    func(err error) *apierror.Error { return err.(*apierror.Error) },
	}
	write(rd, "", apierror.CodeTimeout.New())
	if text := log.String(); text == "" || strings.Contains(text, "cause=") {
		t.Errorf("the log has %q", text)
	}
}

func TestMapIsNotCalledForPanics(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Map = func(error) *apierror.Error { return apierror.CodeTimeout.New() }
	equal(t, "status", write(rd, "", apierror.CodeAPIError.New().WithCause(reqstate.Panic{})).Code, 500)
}

func TestCanceledRequestsAreAnsweredWith503(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	selfCause := &loop{}
	selfCause.next = apierror.CodeAPIError.New().WithCause(selfCause)
	for _, row := range []struct {
		name string
		ctx  context.Context
		err  error
		code apierror.Code
		gone bool
	}{
		{"its own", canceled, context.Canceled, "service_unavailable", true},
		{"its own, wrapped", canceled, fmt.Errorf("query: %w", context.Canceled), "service_unavailable", true},
		{"its own, as a cause", canceled, apierror.CodeAPIError.New().WithCause(fmt.Errorf("query: %w", context.Canceled)), "service_unavailable", true},
		{"its own, joined", canceled, errors.Join(io.EOF, context.Canceled), "service_unavailable", true},
		{"another's", t.Context(), context.Canceled, "api_error", false},
		{"an unnamed error", canceled, io.EOF, "service_unavailable", true},
		{"an internal error", canceled, apierror.CodeAPIError.New().WithCause(io.EOF), "api_error", false},
		{"an error of ours", canceled, apierror.ParameterMissing("a"), "parameter_missing", false},
		{"own deadline", expired, context.DeadlineExceeded, "timeout", false},
		{"own deadline, canceled below", expired, context.Canceled, "api_error", false},
		{"a cause that holds itself", canceled, selfCause, "api_error", false},
		{"a cycle", canceled, cyclic(), "service_unavailable", true},
	} {
		w, state, logged := answer(row.ctx, t, &apierror.Renderer{}, row.err)

		equal(t, row.name+": code", apierror.CodeOf(state.Err()), row.code)
		equal(t, row.name+": gone", state.Gone(), row.gone)
		equal(t, row.name+": status", w.Code, asError(t, state.Err()).Status())
		if row.gone {
			equal(t, row.name+": Retry-After", w.Header().Get("Retry-After"), "1")
			// A failure that may be the service's own is logged at a higher level.
			level := map[bool]string{true: "level=DEBUG", false: "level=WARN"}[strings.HasPrefix(row.name, "its own")]
			equal(t, row.name+": logged", strings.Contains(logged, level), true)
			equal(t, row.name+": cause", causeText(asError(t, state.Err()).Cause()), causeText(row.err))
		}
	}
}

func TestCatalogCompletesCodes(t *testing.T) {
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

func TestRetryableFollowsTheCatalogsStatus(t *testing.T) {
	t.Parallel()
	catalog, err := apierror.NewCatalog(
		apierror.Definition{Code: "stale", Type: apierror.TypeInvalidRequest, Status: 412, Message: "m"},
		apierror.Definition{Code: "busy", Type: apierror.TypeAPI, Status: 503, Message: "m"},
	)
	equal(t, "error", err, nil)
	for code, want := range map[apierror.Code]string{"stale": "false", "busy": ""} {
		rd := quiet()
		rd.Catalog = catalog
		equal(t, string(code), write(rd, "", code).Header().Get("X-Should-Retry"), want)
	}
}

func TestDefinitionsOverrideTheCatalogsNotRetryable(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Catalog = apierror.MustCatalog(apierror.Definition{
		Code: "own", Type: apierror.TypeAPI, Status: 503, Message: "m", NotRetryable: true,
	})
	w := write(rd, "", apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: 503})
	equal(t, "X-Should-Retry", w.Header().Get("X-Should-Retry"), "")
	w = write(rd, "", apierror.Definition{Code: "own", Type: apierror.TypeAPI})
	equal(t, "X-Should-Retry of the catalog's, as the definition has no status", w.Header().Get("X-Should-Retry"), "false")
	w = write(rd, "", apierror.Definition{Code: "own", Status: 503})
	equal(t, "X-Should-Retry without a type", w.Header().Get("X-Should-Retry"), "")
	w = write(rd, "", apierror.Code("own"))
	equal(t, "X-Should-Retry of the catalog's", w.Header().Get("X-Should-Retry"), "false")
}

// A code never goes out with another code's type or status.
func TestCatalogDecidesOnFieldsOwnCodes(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Catalog = apierror.MustCatalog(
		apierror.Definition{Code: "account_frozen", Type: apierror.TypePermission, Status: 423, Message: "m"},
		apierror.Definition{Code: "ledger_locked", Type: apierror.TypeAPI, Status: 503, Message: "m", NotRetryable: true},
		apierror.Definition{Code: "declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "m"},
	)
	declined, _ := rd.Catalog.Lookup("declined")
	field := func(code apierror.Code) apierror.Field { return apierror.Field{Code: code, Param: "x", Message: "f"} }
	for _, row := range []struct {
		name   string
		err    *apierror.Error
		status int
		want   string
		again  string // X-Should-Retry
	}{
		{"own code", apierror.CodeParameterInvalid.New().WithField(field("account_frozen")), 423, `"type":"permission_error","code":"account_frozen"`, "false"},
		{"two", apierror.CodeParameterInvalid.New().WithField(field("account_frozen")).WithField(field("declined")), 423, `"type":"permission_error","code":"account_frozen"`, "false"},
		{"not retryable", apierror.CodeParameterInvalid.New().WithField(field("ledger_locked")), 503, `"type":"api_error","code":"ledger_locked"`, "false"},
		{"built-in code", apierror.CodeAPIError.New().WithField(field("parameter_missing")), 400, `"type":"invalid_request_error","code":"parameter_missing"`, "false"},
		{"unknown code", apierror.CodeParameterInvalid.New().WithField(field("too_long")), 400, `"type":"invalid_request_error","code":"too_long"`, "false"},
		{"no code", apierror.CodeParameterInvalid.New().WithField(field("")), 400, `"type":"invalid_request_error","code":"parameter_invalid"`, "false"},
		{"own definition", declined.New().WithField(field("account_frozen")), 402, `"type":"invalid_request_error","code":"declined"`, "false"},
	} {
		w := write(rd, "", row.err)
		equal(t, row.name, w.Code, row.status)
		equal(t, row.name, strings.Contains(w.Body.String(), row.want), true)
		equal(t, row.name, w.Header().Get("X-Should-Retry"), row.again)
	}
}

func TestInvalidStatusesBecome500(t *testing.T) {
	t.Parallel()
	for _, status := range []int{-1, 0, 1, 99, 100, 200, 204, 304, 399, 600, 1000} {
		d := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status}
		w := write(quiet(), "", d.New())
		equal(t, fmt.Sprint(status), w.Code, 500)
		equal(t, fmt.Sprint(status), strings.Contains(w.Body.String(), `"message":"The request failed."`), true)
	}
	// An unknown type is not sent either.
	w := write(quiet(), "", apierror.Definition{Code: "own", Type: "weird", Status: 418, Message: "m"}.New())
	equal(t, "body", w.Body.String(), `{"error":{"type":"api_error","code":"own","message":"m","request_id":"req_Hd92kLpQ7m"}}`+"\n")
}

func TestStatusWithoutCodeAndTypeIsSent(t *testing.T) {
	t.Parallel()
	equal(t, "status", write(quiet(), "", apierror.Definition{Status: 503}.New()).Code, 503)
}

func TestErrorsWithoutACodeAreAPIErrors(t *testing.T) {
	t.Parallel()
	w := write(quiet(), "", apierror.Definition{Type: apierror.TypeAPI, Status: 503, Message: "m"})
	e := asError(t, apierror.Parse(w.Result()))
	equal(t, "code", e.Code(), apierror.CodeAPIError)
	equal(t, "status", e.Status(), 503)
}

func TestPanickingDocURLIsLeftOut(t *testing.T) {
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

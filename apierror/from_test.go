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
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// loop wraps itself, by way of what it is given.
type loop struct{ next error }

func (l *loop) Error() string { return "loop" }
func (l *loop) Unwrap() error { return l.next }

type brokenUnwrap struct{ cause error }

func (b *brokenUnwrap) Error() string { return "broken: " + b.cause.Error() }
func (b *brokenUnwrap) Unwrap() error { return b.cause }

// list is an error that cannot be compared.
type list []string

func (l list) Error() string { return strings.Join(l, ", ") }

func cyclic() error {
	l := &loop{}
	l.next = fmt.Errorf("again: %w", l)
	return l
}

func deep(depth int, err error) error {
	for range depth {
		err = fmt.Errorf("%w", err)
	}
	return err
}

func wide(n int) error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = apierror.ParameterMissing(fmt.Sprint("p", i))
	}
	return errors.Join(errs...)
}

func upstream() error {
	return apierror.Parse(&http.Response{StatusCode: 404, Body: io.NopCloser(strings.NewReader(
		`{"error":{"type":"invalid_request_error","code":"resource_missing","message":"No such ledger.","request_id":"req_theirs"}}`))})
}

func TestFromFindsWhatWriteRenders(t *testing.T) {
	t.Parallel()
	missing, denied := apierror.ParameterMissing("a"), apierror.CodePermissionDenied.New()
	declined := apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "m"}
	var typedNil *apierror.Error
	var maxBytes *http.MaxBytesError
	for _, row := range []struct {
		name string
		err  error
		code apierror.Code
	}{
		{"itself", missing, "parameter_missing"},
		{"a code", apierror.CodePermissionDenied, "permission_denied"},
		{"an unknown code", apierror.Code("card_declined"), "card_declined"},
		{"a code that says nothing", apierror.Code(""), "api_error"},
		{"a definition", declined, "card_declined"},
		{"a wrapped definition", fmt.Errorf("x: %w", declined), "card_declined"},
		{"wrapped", fmt.Errorf("x: %w", missing), "parameter_missing"},
		{"wrapped twice by one", fmt.Errorf("x: %w, %w", io.EOF, missing), "parameter_missing"},
		{"a wrapped code", fmt.Errorf("x: %w", apierror.CodeTimeout), "timeout"},
		{"joined, in order", errors.Join(io.EOF, denied, missing), "permission_denied"},
		{"joined, depth first", errors.Join(fmt.Errorf("x: %w", errors.Join(io.EOF, missing)), denied), "parameter_missing"},
		{"a code before an error", errors.Join(apierror.CodePermissionDenied, missing), "permission_denied"},
		{"an error before what is mapped", errors.Join(context.DeadlineExceeded, missing), "parameter_missing"},
		{"any other", io.EOF, "api_error"},
		{"one that cannot be compared", list{"a"}, "api_error"},
		{"wrapped, cannot be compared", fmt.Errorf("x: %w", list{"a"}), "api_error"},
		{"a type", apierror.TypePermission, "api_error"},
		{"typed nil", typedNil, "api_error"},
		{"wrapped typed nil", fmt.Errorf("x: %w", error(typedNil)), "api_error"},
		{"zero", &apierror.Error{}, "api_error"},
		{"zero with a message", new(apierror.Error).WithMessage("secret-4711"), "api_error"},
		{"nil cause", missing.WithCause(nil), "parameter_missing"},
		{"another's error", upstream(), "api_error"},
		{"another's error, wrapped", fmt.Errorf("ledger: %w", upstream()), "api_error"},
		{"a copy of another's error", asError(t, upstream()).WithParam("p").WithMessage("m"), "api_error"},
		{"another's error, re-coded", apierror.ServiceUnavailable(0).WithCause(upstream()), "service_unavailable"},
		{"a cause is not searched", apierror.CodeAPIError.New().WithCause(missing), "api_error"},
		{"the first that is known", errors.Join(context.DeadlineExceeded, &http.MaxBytesError{Limit: 7}), "timeout"},
		{"body too large", fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 7}), "request_too_large"},
		{"typed nil of net/http", maxBytes, "api_error"},
		{"deadline of a context", fmt.Errorf("x: %w", context.DeadlineExceeded), "timeout"},
		{"deadline of a file", fmt.Errorf("x: %w", os.ErrDeadlineExceeded), "timeout"},
		{"deadline of a connection", timeoutError(t), "timeout"},
		{"a cancellation", context.Canceled, "api_error"},
		{"a cycle", cyclic(), "api_error"},
		{"a cycle, then ours", errors.Join(cyclic(), missing), "api_error"}, // 256 errors are looked at
		{"ours, then a cycle", errors.Join(missing, cyclic()), "parameter_missing"},
		{"deep", deep(200, missing), "parameter_missing"},
		{"too deep", deep(10_000, missing), "api_error"},
		{"a typed nil whose Unwrap panics", (*brokenUnwrap)(nil), "api_error"},
		{"ours, then one that panics", errors.Join(denied, (*brokenUnwrap)(nil)), "permission_denied"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := apierror.From(row.err)

			equal(t, "code", e.Code(), row.code)
			equal(t, "FromServer", e.FromServer(), false)
			w, _, _ := answer(t.Context(), t, &apierror.Renderer{}, row.err)
			equal(t, "status", w.Code, e.Status())
			if !strings.Contains(w.Body.String(), `"code":"`+string(row.code)+`"`) || strings.Contains(w.Body.String(), "secret-4711") {
				t.Errorf("body: %s", w.Body)
			}
			// What the handler returned can be found in the error that is logged.
			switch direct := row.err.(type) {
			case apierror.Code, apierror.Definition:
				return
			case *apierror.Error:
				if e == direct {
					return
				}
			}
			if cause := e.Cause(); cause == nil || causeText(cause) != causeText(row.err) {
				t.Errorf("cause: %v", cause)
			}
		})
	}
	if apierror.From(nil) != nil {
		t.Error("an error from nil")
	}
	if apierror.From(missing) != missing {
		t.Error("an *Error is not returned as it is")
	}
}

func causeText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = "panic"
		}
	}()
	return err.Error()
}

func TestFromMakesJoinedParameterErrorsFields(t *testing.T) {
	t.Parallel()
	invalid := apierror.ParameterInvalid("b", "must be a number")
	e := apierror.From(fmt.Errorf("checking: %w", errors.Join(apierror.ParameterMissing("a"), io.EOF, fmt.Errorf("x: %w", invalid), apierror.CodePermissionDenied.New(), upstream())))
	equal(t, "param", e.Param(), "a")
	equal(t, "fields", fmt.Sprint(e.Fields()), "[{parameter_missing a Missing required parameter: a.} {parameter_invalid b Invalid parameter: b must be a number.}]")

	equal(t, "one", len(apierror.From(errors.Join(invalid)).Fields()), 0)
	equal(t, "another error comes first", len(apierror.From(errors.Join(apierror.CodePermissionDenied.New(), invalid, invalid)).Fields()), 0)
	equal(t, "Idempotency-Key comes first", len(apierror.From(errors.Join(apierror.CodeIdempotencyConflict.New().WithParam("Idempotency-Key"), invalid, invalid)).Fields()), 0)
	equal(t, "at most", len(apierror.From(wide(1000)).Fields()), 100)
	equal(t, "a cause is for the log", len(apierror.From(errors.Join(invalid.WithCause(apierror.ParameterMissing("c")))).Fields()), 0)
	theirs := asError(t, upstream()).WithParam("theirs")
	equal(t, "another's parameter", len(apierror.From(errors.Join(invalid, theirs)).Fields()), 0)
	own := invalid.WithField(apierror.Field{Param: "c"})
	equal(t, "has fields", len(apierror.From(errors.Join(own, invalid, invalid)).Fields()), 2)
}

func TestWithFieldMirrorsTheFirst(t *testing.T) {
	t.Parallel()
	cvc := apierror.Field{Code: "bad_cvc", Param: "cvc", Message: "The CVC is wrong."}
	for _, row := range []struct {
		name           string
		e              *apierror.Error
		code           apierror.Code
		param, message string
		fields         string
	}{
		{"a known code", apierror.CodeParameterInvalid.Messagef("m").WithField(apierror.Field{Code: "parameter_missing", Param: "a", Message: "No a."}),
			"parameter_missing", "a", "No a.", "[{parameter_missing a No a.}]"},
		{"a code of one's own", apierror.CodeParameterInvalid.Messagef("m").WithField(cvc), "bad_cvc", "cvc", "The CVC is wrong.", "[{bad_cvc cvc The CVC is wrong.}]"},
		{"only a name", apierror.CodeParameterInvalid.Messagef("m").WithField(apierror.Field{Param: "a"}), "parameter_invalid", "a", "m", "[{ a }]"},
		{"it has a param", apierror.ParameterMissing("a").WithField(cvc), "parameter_missing", "a", "Missing required parameter: a.",
			"[{parameter_missing a Missing required parameter: a.} {bad_cvc cvc The CVC is wrong.}]"},
	} {
		equal(t, row.name+": code", row.e.Code(), row.code)
		equal(t, row.name+": type", row.e.Type(), apierror.TypeInvalidRequest)
		equal(t, row.name+": status", row.e.Status(), 400)
		equal(t, row.name+": param", row.e.Param(), row.param)
		equal(t, row.name+": message", row.e.Message(), row.message)
		equal(t, row.name+": fields", fmt.Sprint(row.e.Fields()), row.fields)
	}
	equal(t, "vain", apierror.RateLimitExceeded(0).WithNotRetryable().WithField(apierror.Field{Code: "rate_limit_exceeded", Param: "a"}).Retryable(), false)
}

func TestCodeOfIsTheOutermostCode(t *testing.T) {
	t.Parallel()
	var typedNil *apierror.Error
	for _, row := range []struct {
		err  error
		want apierror.Code
	}{
		{nil, ""},
		{io.EOF, ""},
		{typedNil, ""},
		{cyclic(), ""},
		{apierror.CodeTimeout, "timeout"},
		{fmt.Errorf("x: %w", apierror.CodeTimeout), "timeout"},
		{apierror.CodeTimeout.New(), "timeout"},
		{errors.Join(typedNil, &apierror.Error{}, apierror.CodeTimeout.New(), apierror.CodePermissionDenied.New()), "timeout"},
		{fmt.Errorf("call: %w", upstream()), "resource_missing"},
		{apierror.CodeTimeout.New().WithCause(apierror.CodePermissionDenied.New()), "timeout"},
		{new(apierror.Error).WithCause(apierror.CodePermissionDenied.New()), ""},
	} {
		equal(t, fmt.Sprint(row.err), apierror.CodeOf(row.err), row.want)
	}
}

func TestIsComparesCodeAndTypeAlone(t *testing.T) {
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

func TestNilAndZeroErrorsHaveMethods(t *testing.T) {
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

func TestLogValueHoldsWhatIsKnown(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key != "err" {
			return slog.Attr{}
		}
		return a
	}}))
	logger.Info("", "err", apierror.ParameterMissing("name").WithCause(io.EOF))
	equal(t, "record", out.String(), "err.code=parameter_missing err.type=invalid_request_error err.status=400 err.param=name err.cause=EOF\n")
}

// answer has the Renderer answer a request with err, and returns what came of it.
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

func TestACancelledRequestIsA503ThatCountsAsGone(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
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
		{"its own", cancelled, context.Canceled, "service_unavailable", true},
		{"its own, wrapped", cancelled, fmt.Errorf("query: %w", context.Canceled), "service_unavailable", true},
		{"its own, as a cause", cancelled, apierror.CodeAPIError.New().WithCause(fmt.Errorf("query: %w", context.Canceled)), "service_unavailable", true},
		{"its own, joined", cancelled, errors.Join(io.EOF, context.Canceled), "service_unavailable", true},
		{"another's", t.Context(), context.Canceled, "api_error", false},
		{"an error that nobody named", cancelled, io.EOF, "service_unavailable", true},
		{"an internal error", cancelled, apierror.CodeAPIError.New().WithCause(io.EOF), "api_error", false},
		{"an error of ours", cancelled, apierror.ParameterMissing("a"), "parameter_missing", false},
		{"own deadline", expired, context.DeadlineExceeded, "timeout", false},
		{"own deadline, cancelled below", expired, context.Canceled, "api_error", false},
		{"a cause that holds itself", cancelled, selfCause, "api_error", false},
		{"a cycle", cancelled, cyclic(), "service_unavailable", true},
	} {
		w, state, logged := answer(row.ctx, t, &apierror.Renderer{}, row.err)

		equal(t, row.name+": code", apierror.CodeOf(state.Err()), row.code)
		equal(t, row.name+": gone", state.Gone(), row.gone)
		equal(t, row.name+": status", w.Code, asError(t, state.Err()).Status())
		if row.gone {
			equal(t, row.name+": Retry-After", w.Header().Get("Retry-After"), "1")
			// A failure that may be of our own making is worth a line.
			level := map[bool]string{true: "level=DEBUG", false: "level=WARN"}[strings.HasPrefix(row.name, "its own")]
			equal(t, row.name+": logged", strings.Contains(logged, level), true)
			equal(t, row.name+": cause", causeText(asError(t, state.Err()).Cause()), causeText(row.err))
		}
	}
}

func TestMapNamesAServicesOwnErrors(t *testing.T) {
	t.Parallel()
	conflict := apierror.Definition{Code: "version_conflict", Type: apierror.TypeInvalidRequest, Status: 409, Message: "Changed meanwhile."}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	rd := &apierror.Renderer{Map: func(err error) *apierror.Error {
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return apierror.ResourceMissing("order")
		case errors.Is(err, io.ErrNoProgress):
			return conflict.New().WithCause(io.EOF)
		case errors.Is(err, io.ErrClosedPipe):
			return asError(t, upstream()) // not relayed, also this way
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
	_, state, _ := answer(cancelled, t, rd, context.Canceled)
	equal(t, "Map comes first", apierror.CodeOf(state.Err()), apierror.CodeTimeout)
	equal(t, "Map comes first", state.Gone(), false)
}

// A definition is an error that handlers return and clients ask for.
func TestADefinitionIsFoundAsItsCodeIs(t *testing.T) {
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

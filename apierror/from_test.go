package apierror_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

func TestFromFindsTheErrorThatWriteSends(t *testing.T) {
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
		{"an empty code", apierror.Code(""), "api_error"},
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
		{"a cycle, then ours", errors.Join(cyclic(), missing), "api_error"}, // only 256 errors are visited
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
			// The error that is logged holds what the handler returned.
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

func TestFromJoinsParameterErrorsAsFields(t *testing.T) {
	t.Parallel()
	invalid := apierror.ParameterInvalid("b", "must be a number")
	e := apierror.From(fmt.Errorf("checking: %w", errors.Join(apierror.ParameterMissing("a"), io.EOF, fmt.Errorf("x: %w", invalid), apierror.CodePermissionDenied.New(), upstream())))
	equal(t, "param", e.Param(), "a")
	equal(t, "fields", fmt.Sprint(e.Fields()), "[{parameter_missing a Missing required parameter: a.} {parameter_invalid b Invalid parameter: b must be a number.}]")

	equal(t, "one", len(apierror.From(errors.Join(invalid)).Fields()), 0)
	equal(t, "another error comes first", len(apierror.From(errors.Join(apierror.CodePermissionDenied.New(), invalid, invalid)).Fields()), 0)
	equal(t, "Idempotency-Key comes first", len(apierror.From(errors.Join(apierror.CodeIdempotencyConflict.New().WithParam("Idempotency-Key"), invalid, invalid)).Fields()), 0)
	equal(t, "the limit", len(apierror.From(wide(1000)).Fields()), 100)
	equal(t, "a cause is for the log", len(apierror.From(errors.Join(invalid.WithCause(apierror.ParameterMissing("c")))).Fields()), 0)
	theirs := asError(t, upstream()).WithParam("theirs")
	equal(t, "another's parameter", len(apierror.From(errors.Join(invalid, theirs)).Fields()), 0)
	own := invalid.WithField(apierror.Field{Param: "c"})
	equal(t, "has fields", len(apierror.From(errors.Join(own, invalid, invalid)).Fields()), 2)
}

func TestCodeOfReturnsTheOutermostCode(t *testing.T) {
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

var declined = apierror.Definition{Code: "card_declined", Type: apierror.TypePermission, Status: 403, Message: "Declined."}

func TestCodesDefinitionsAndErrorsAreSentAlike(t *testing.T) {
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

func TestFromAcceptsPointersToDefinitions(t *testing.T) {
	t.Parallel()
	var none *apierror.Definition
	equal(t, "wrapped", apierror.From(fmt.Errorf("x: %w", &declined)).Code(), declined.Code)
	equal(t, "nil", apierror.From(none).Code(), apierror.CodeAPIError)
	equal(t, "nil, wrapped", apierror.From(fmt.Errorf("x: %w", error(none))).Code(), apierror.CodeAPIError)
}

func TestFromSkipsNilPointers(t *testing.T) {
	t.Parallel()
	var (
		def  *apierror.Definition
		none *apierror.Error
		size *http.MaxBytesError
	)
	err := errors.Join(def, size, apierror.CodeTimeout)
	equal(t, "From", apierror.From(err).Code(), apierror.CodeTimeout)
	equal(t, "CodeOf", apierror.CodeOf(err), apierror.CodeTimeout)
	equal(t, "From a nil *http.MaxBytesError", apierror.From(size).Code(), apierror.CodeAPIError)
	err = errors.Join(apierror.ParameterMissing("a"), none, apierror.ParameterMissing("b"))
	equal(t, "fields", len(apierror.From(err).Fields()), 2)
	err = errors.Join(apierror.ParameterMissing("a"), apierror.CodeRequestTooLarge.New(), apierror.ParameterMissing("b"))
	equal(t, "fields beside an error without a param", len(apierror.From(err).Fields()), 2)
	err = errors.Join(apierror.ParameterMissing("a"), apierror.CodeIdempotencyConflict.New().WithParam("Idempotency-Key"))
	equal(t, "fields beside an error of another type", len(apierror.From(err).Fields()), 0)
}

func TestFromVisits256Errors(t *testing.T) {
	t.Parallel()
	missing := apierror.ParameterMissing("a")
	equal(t, "the last", apierror.From(deep(255, missing)).Code(), apierror.CodeParameterMissing)
	equal(t, "one further in", apierror.From(deep(256, missing)).Code(), apierror.CodeAPIError)
}

// late has an Is method that says that a deadline has passed.
type late struct{}

func (late) Error() string { return "late" }

func (late) Is(target error) bool { return target == context.DeadlineExceeded }

func TestFromCallsIsMethods(t *testing.T) {
	t.Parallel()
	equal(t, "code", apierror.From(late{}).Code(), apierror.CodeTimeout)
}

// chainErrors looks like github.com/hashicorp/go-multierror: only its As and Is methods find its
// members.
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

// asking has an As method that calls a function, and wraps an error.
type asking struct {
	as   func(target any) bool
	next error
}

func (asking) Error() string { return "asking" }

func (a asking) As(target any) bool { return a.as(target) }

func (a asking) Unwrap() error { return a.next }

func TestFromUsesResultsOfAsMethods(t *testing.T) {
	t.Parallel()
	def := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: 503, Message: "m"}
	for name, as := range map[string]func(any) bool{
		"a Code": func(target any) bool {
			code, ok := target.(*apierror.Code)
			if ok {
				*code = "own"
			}
			return ok
		},
		"a Definition": func(target any) bool {
			d, ok := target.(*apierror.Definition)
			if ok {
				*d = def
			}
			return ok
		},
		"a *Definition": func(target any) bool {
			d, ok := target.(**apierror.Definition)
			if ok {
				*d = &def
			}
			return ok
		},
	} {
		equal(t, name, apierror.From(asking{as: as}).Code(), "own")
	}
}

func TestFromIgnoresEmptyResultsOfAsMethods(t *testing.T) {
	t.Parallel()
	for name, as := range map[string]func(any) bool{
		"false": func(any) bool { return false },
		"a nil *Error": func(target any) bool {
			_, ok := target.(**apierror.Error)
			return ok
		},
		"a nil *Definition": func(target any) bool {
			_, ok := target.(**apierror.Definition)
			return ok
		},
	} {
		err := asking{as, apierror.ParameterMissing("a")}
		equal(t, name, apierror.From(err).Code(), apierror.CodeParameterMissing)
		equal(t, name, apierror.CodeOf(err), apierror.CodeParameterMissing)
	}
}

func TestFromDoesNotPassOnParsedErrorsOfAsMethods(t *testing.T) {
	t.Parallel()
	theirs := asError(t, apierror.Parse(response(400, jsonType, `{"error":{"code":"parameter_missing"}}`)))
	err := asking{as: func(target any) bool {
		e, ok := target.(**apierror.Error)
		if ok {
			*e = theirs
		}
		return ok
	}}
	equal(t, "code", apierror.From(err).Code(), apierror.CodeAPIError)
}

// loop may wrap itself.
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

func causeText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = "panic"
		}
	}()
	return err.Error()
}

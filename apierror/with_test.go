package apierror_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

func TestErrorsNeverChange(t *testing.T) {
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
	// Two copies of one error do not share additions.
	b, c := more.WithField(apierror.Field{Param: "b1"}), more.WithField(apierror.Field{Param: "c1"})
	equal(t, "b", b.Fields()[3].Param, "b1")
	equal(t, "c", c.Fields()[3].Param, "c1")
}

func TestWithFieldMirrorsTheFirstField(t *testing.T) {
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
		{"an own code", apierror.CodeParameterInvalid.Messagef("m").WithField(cvc), "bad_cvc", "cvc", "The CVC is wrong.", "[{bad_cvc cvc The CVC is wrong.}]"},
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
	equal(t, "not retryable", apierror.RateLimitExceeded(0).WithNotRetryable().WithField(apierror.Field{Code: "rate_limit_exceeded", Param: "a"}).Retryable(), false)
}

func TestWithFieldKeepsOwnCodes(t *testing.T) {
	t.Parallel()
	own := apierror.Definition{Code: "unprocessable", Type: apierror.TypeInvalidRequest, Status: 422, Message: "No."}
	e := own.New().WithField(apierror.Field{Code: apierror.CodeParameterMissing, Param: "a", Message: "A."})
	equal(t, "error", fmt.Sprint(e.Status(), e.Code(), e.Param(), e.Message(), e.Fields()), "422unprocessableaNo.[{parameter_missing a A.}]")
}

func TestWithFieldReplacesUnknownCodes(t *testing.T) {
	t.Parallel()
	e := apierror.Code("own").New().WithField(apierror.Field{Code: apierror.CodeParameterMissing, Param: "a", Message: "m"})
	equal(t, "code", e.Code(), apierror.CodeParameterMissing)
	equal(t, "status", e.Status(), 400)
	equal(t, "retryable", e.Retryable(), false)
	equal(t, "message", e.Message(), "m")
}

func TestWithHeaderAddsASecondValue(t *testing.T) {
	t.Parallel()
	w := write(quiet(), "", apierror.CodeAuthenticationFailed.New().WithHeader("WWW-Authenticate", "Basic").WithHeader("WWW-Authenticate", "Bearer"))
	equal(t, "header", fmt.Sprint(w.Header()["Www-Authenticate"]), "[Basic Bearer]")
}

func TestWithRetryAfterIsNeverNegative(t *testing.T) {
	t.Parallel()
	equal(t, "negative", apierror.RateLimitExceeded(-time.Second).RetryAfter(), 0)
	equal(t, "negative, service_unavailable", apierror.ServiceUnavailable(-1).RetryAfter(), 0)
	equal(t, "pointless", apierror.RateLimitExceeded(time.Second).WithNotRetryable().RetryAfter(), 0)
	w := write(quiet(), "", apierror.CodeAPIError.New().WithRetryAfter(time.Nanosecond))
	equal(t, "the shortest", w.Header().Get("Retry-After"), "1")
}

package apierror_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

func TestStrictSendsOnlyTheSpecification(t *testing.T) {
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

func TestStrictFoldsByTypeThenStatus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		typ    apierror.Type
		status int
		want   apierror.Code
	}{
		{apierror.TypeAPI, 404, apierror.CodeAPIError},
		{apierror.TypeAPI, 410, apierror.CodeAPIError},
		{apierror.TypeInvalidRequest, 404, apierror.CodeResourceMissing},
		{apierror.TypeInvalidRequest, 410, apierror.CodeResourceMissing},
		{apierror.TypeInvalidRequest, 409, apierror.CodeParameterInvalid},
		{apierror.TypeIdempotency, 404, apierror.CodeIdempotencyConflict},
		{apierror.TypeRateLimit, 404, apierror.CodeRateLimitExceeded},
		{apierror.TypePermission, 404, apierror.CodePermissionDenied},
		{apierror.TypeAuthentication, 404, apierror.CodeAuthenticationFailed},
	} {
		rd := quiet()
		rd.Strict = true
		w := write(rd, "", apierror.Definition{Code: "own", Type: row.typ, Status: row.status, Message: "m"})
		e := asError(t, apierror.Parse(w.Result()))
		equal(t, fmt.Sprint(row.typ, " with ", row.status), e.Code(), row.want)
	}
}

func TestStrictKeepsCodesOfTheSpecification(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Strict = true
	w := write(rd, "", apierror.Definition{Code: apierror.CodeAPIError, Type: apierror.TypeInvalidRequest, Status: 404, Message: "m"})
	equal(t, "code", asError(t, apierror.Parse(w.Result())).Code(), apierror.CodeAPIError)
	w = write(rd, "", apierror.CodeTimeout.New().WithNotRetryable())
	equal(t, "X-Should-Retry", w.Header().Get("X-Should-Retry"), "false")
}

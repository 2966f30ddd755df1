package apierror_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

func TestConstructorsFillCodeParamAndMessage(t *testing.T) {
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
		{apierror.RequestTooLarge(1), "request_too_large", "", "The request body is larger than the 1 bytes allowed."},
		{apierror.RequestTooLarge(5), "request_too_large", "", "The request body is larger than the 5 bytes allowed."},
		{apierror.RequestTooLarge(0), "request_too_large", "", "The request body is too large."},
		{apierror.UnsupportedMediaType("text/csv", "text/plain"), "unsupported_media_type", "Content-Type", "The Content-Type must be text/csv or text/plain."},
		{apierror.UnsupportedMediaType(), "unsupported_media_type", "Content-Type", "The request body is of an unsupported media type."},
		{apierror.CodeIdempotencyInProgress.New().WithRetryAfter(time.Second), "idempotency_in_progress", "", "The first request with this idempotency key is still running."},
		{apierror.CodeIdempotencyOutcomeUnknown.New(), "idempotency_outcome_unknown", "", "The first request with this idempotency key failed halfway: it may or may not have taken effect."},
		{apierror.CodeIdempotencyResponseUnavailable.New(), "idempotency_response_unavailable", "", "The first request with this idempotency key was carried out, but its response was not kept."},
		{apierror.ServiceUnavailable(time.Second), "service_unavailable", "", "The service is temporarily unavailable."},
		{apierror.CodeTimeout.New(), "timeout", "", "The request took too long to process."},
	} {
		equal(t, "code", row.e.Code(), row.code)
		equal(t, "param", row.e.Param(), row.param)
		equal(t, "message", row.e.Message(), row.message)
	}
}

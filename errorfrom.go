package seawall

import (
	"context"
	"errors"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// ErrorFrom returns the error that the request of ctx was answered with. It returns nil if
// there was none, or none yet, so call it when the handler has returned, for metrics and
// logs. ctx must be the context of a middleware inside [RequestID] or [AccessLog], and outside of
// that of package idempotent: the error of a request with a key is known only when its response
// is sent.
//
// A replayed error is read from the recorded response: its FromServer method returns true, and its
// RequestID method returns the id of the request that ran.
//
// If a request was canceled before its response began, the error of the cancellation, or an
// error that would be api_error, becomes service_unavailable, with the original error as
// its cause. The access log has 499.
func ErrorFrom(ctx context.Context) *apierror.Error {
	e, _ := errors.AsType[*apierror.Error](reqstate.From(ctx).Err())
	return e
}

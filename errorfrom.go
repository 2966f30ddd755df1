package seawall

import (
	"context"
	"errors"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// ErrorFrom returns the error that the request of ctx was answered with. It is nil if there was
// none, or none yet: call it when the handler has returned, for metrics and logs. ctx must be the
// context of a middleware inside [RequestID] or [AccessLog].
//
// If a request was canceled before its response began, its error is service_unavailable, and
// errors.Is(err.Cause(), context.Canceled) holds. The access log counts it as 499.
func ErrorFrom(ctx context.Context) *apierror.Error {
	e, _ := errors.AsType[*apierror.Error](reqstate.From(ctx).Err())
	return e
}

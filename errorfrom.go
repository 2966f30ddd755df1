package seawall

import (
	"context"
	"errors"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// ErrorFrom returns the error object that the request of ctx was answered with, nil where there
// was none, or none yet: for a service's own metrics and logs, once the handler has returned.
// The context must be that of a middleware inside of [RequestID] or [AccessLog]: they pass one
// on in which everything further in leaves its error.
//
// A request that was canceled before its response began has service_unavailable, and
// errors.Is(err.Cause(), context.Canceled) holds; the access log counts it as 499.
func ErrorFrom(ctx context.Context) *apierror.Error {
	e, _ := errors.AsType[*apierror.Error](reqstate.From(ctx).Err())
	return e
}

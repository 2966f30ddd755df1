package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// fault fails on demand:
//
//	a code of the catalog, such as rate_limit_exceeded   answers with this error
//	panic                                                panics
//	error                                                returns an error that no client may see
//	slow                                                 works until the request's time is over
func (s *service) fault(_ http.ResponseWriter, r *http.Request) error {
	switch kind := r.PathValue("kind"); kind {
	case "panic":
		panic("a bug: password=hunter2")
	case "error":
		return errors.New("dial tcp 10.0.0.7:5432: connection refused")
	case "slow":
		<-r.Context().Done()
		return r.Context().Err()
	default:
		definition, ok := apierror.DefaultCatalog().Lookup(apierror.Code(kind))
		if !ok {
			return apierror.ResourceMissing("kind of fault")
		}
		return withHeaders(definition)
	}
}

// withHeaders returns the error of a definition, with the headers that its status needs.
func withHeaders(d apierror.Definition) *apierror.Error {
	switch d.Status {
	case http.StatusMethodNotAllowed:
		return apierror.MethodNotAllowed(http.MethodGet)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return d.New().WithRetryAfter(time.Second)
	default:
		return d.New()
	}
}

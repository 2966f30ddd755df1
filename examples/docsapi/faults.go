package main

import (
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

// fault fails on demand:
//
//	a code of the catalog, such as rate_limit_exceeded   answers with this error
//	panic                                                panics
//	error                                                returns an error that no client may see
//	slow                                                 works until the request's time is over
//	memory                                               answers with what the process uses
func (s *service) fault(w http.ResponseWriter, r *http.Request) error {
	switch kind := r.PathValue("kind"); kind {
	case "panic":
		panic("a bug: password=hunter2")
	case "error":
		return errors.New("dial tcp 10.0.0.7:5432: connection refused")
	case "slow":
		<-r.Context().Done()
		return r.Context().Err()
	case "memory":
		return writeJSON(w, http.StatusOK, measureMemory())
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

// memory is what a process has in memory.
type memory struct {
	HeapBytes  uint64 `json:"heap_bytes"` // that are still in use after a garbage collection
	Goroutines int    `json:"goroutines"`
}

func measureMemory() memory {
	runtime.GC()
	runtime.GC() // the first one keeps what is in a sync.Pool
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return memory{stats.HeapAlloc, runtime.NumGoroutine()}
}

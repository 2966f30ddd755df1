package seawall

import (
	"net/http"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/track"
)

// MaxBody allows at most limit bytes in the request's body. A request with a larger
// Content-Length is answered with 413 before the handler runs. Otherwise a read beyond the
// limit fails with an *http.MaxBytesError, and the connection is closed after the response.
// If the handler returns that error, wrapped or not, it is sent as a 413. MaxBody panics if
// limit is not positive.
func MaxBody(limit int64) Middleware {
	if limit <= 0 {
		panic("seawall: MaxBody needs a positive number of bytes")
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > limit {
				apierror.Write(w, r, apierror.RequestTooLarge(limit))
				return
			}
			if r.Body != nil && r.Body != http.NoBody {
				// net/http closes the connection only if it finds its own writer here.
				r.Body = http.MaxBytesReader(track.Innermost(w), r.Body, limit)
			}
			next.ServeHTTP(w, r)
		})
	}
}

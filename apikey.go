package seawall

import (
	"net/http"

	"github.com/seawall-go/seawall/internal/credential"
)

// APIKey returns the API key that the request presents: as a Bearer token (RFC 6750, section 2.1), as
// the user of Basic authentication (RFC 7617, section 2), or in the X-Api-Key header. White space
// around it does not count. ok is false if the request presents no key, or two different ones: a
// request with two must be refused, because a proxy or a limit might look at another one than
// authentication does. ratelimit.ByAPIKey reads the key in the same way.
//
//	key, ok := seawall.APIKey(r)
//	if !ok {
//		apierror.Write(w, r, apierror.CodeAuthenticationFailed)
//		return
//	}
//
// A key is a secret. Keep the hash of it, compare in constant time, and log neither.
func APIKey(r *http.Request) (key string, ok bool) {
	key, conflict := credential.APIKey(r)
	return key, key != "" && !conflict
}

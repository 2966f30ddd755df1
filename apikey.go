package seawall

import (
	"net/http"

	"github.com/seawall-go/seawall/internal/credential"
)

// APIKey returns the API key of a request: a Bearer token (RFC 6750, section 2.1), the user
// of Basic authentication (RFC 7617, section 2), or the X-Api-Key header, without the white
// space around it. ok is false if there is no key. It is also false if there are two
// different ones: such a request must be refused, because a proxy might check one key and
// authentication the other. ratelimit.ByAPIKey reads the key in the same way.
//
//	key, ok := seawall.APIKey(r)
//	if !ok {
//		apierror.Write(w, r, apierror.CodeAuthenticationFailed)
//		return
//	}
//
// A key is a secret. Store only its hash, compare hashes in constant time, and log neither.
func APIKey(r *http.Request) (key string, ok bool) {
	key, conflict := credential.APIKey(r)
	return key, key != "" && !conflict
}

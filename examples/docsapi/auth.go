package main

import (
	"context"
	"crypto/sha256"
	"net/http"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// keyHash is the hash of an API key. The service keeps no key itself.
type keyHash [sha256.Size]byte

// apiKey is what the service knows about an API key.
type apiKey struct {
	id      string // names the key in logs and limits; not a secret
	account string // owns resources; can have several keys
	write   bool   // has the scope to write
	revoked bool
}

// demoKeys returns the API keys of the example. A real service has them in its database.
func demoKeys() map[keyHash]apiKey {
	return map[keyHash]apiKey{
		sha256.Sum256([]byte("sk_test_demo")):     {id: "key_demo", account: "acct_demo", write: true},
		sha256.Sum256([]byte("sk_test_readonly")): {id: "key_readonly", account: "acct_demo"},
		sha256.Sum256([]byte("sk_test_revoked")):  {id: "key_revoked", account: "acct_demo", write: true, revoked: true},
	}
}

// apiKeyContext is the key under which a request's context holds its apiKey.
type apiKeyContext struct{}

// keyOf returns the API key of an authenticated request.
func keyOf(r *http.Request) apiKey {
	key, _ := r.Context().Value(apiKeyContext{}).(apiKey)
	return key
}

// authenticate finds out whose API key a request has.
func (s *service) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isPublic(r) {
			next.ServeHTTP(w, r)
			return
		}
		secret, _ := seawall.APIKey(r)
		key, ok := s.keys[sha256.Sum256([]byte(secret))]
		switch {
		case !ok:
			apierror.Write(w, r, apierror.CodeAuthenticationFailed)
		case key.revoked:
			apierror.Write(w, r, apierror.CodeAuthenticationFailed.Messagef("The API key has been revoked."))
		default:
			r = r.WithContext(context.WithValue(r.Context(), apiKeyContext{}, key))
			next.ServeHTTP(w, seawall.WithPrincipal(r, key.id))
		}
	})
}

// requireScope refuses writes with a key that may only read.
func requireScope(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		if !reads && !keyOf(r).write {
			apierror.Write(w, r, apierror.CodePermissionDenied.Messagef("The API key may not write."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/credential"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// KeyFunc returns the key of a request, which selects the bucket that the request is
// charged to. The error is [ErrNoKey] if the request has no key. An empty key counts as
// ErrNoKey. Any other error is written to the response with [apierror.Write].
//
// The functions of this package put the kind of the key in front of it
// ("principal:acct_1"), so that keys of different kinds never collide. Your own functions
// should do the same. Keys may be secrets: this package does not log them or pass them to
// Observe functions. A key longer than 256 bytes is replaced by its hash.
type KeyFunc func(*http.Request) (key string, err error)

// ErrNoKey is the error of a [KeyFunc] if the request does not have a key.
var ErrNoKey = errors.New("ratelimit: the request has no key")

// errNoPrincipal is the ErrNoKey of ByPrincipal. The usual cause is a mistake in the
// service.
var errNoPrincipal = fmt.Errorf("%w: it has no principal, which authentication must set (seawall.WithPrincipal)", ErrNoKey)

// ByPrincipal returns the account, user or key id that the service's authentication has
// set with seawall.WithPrincipal. Use it behind authentication: clients cannot invent
// principals.
func ByPrincipal(r *http.Request) (string, error) {
	principal := reqstate.From(r.Context()).Principal()
	if principal == "" {
		return "", errNoPrincipal
	}
	return "principal:" + principal, nil
}

// ByAPIKey returns the API key that the request presents as a Bearer token, as the user of
// Basic authentication, or in X-Api-Key. A key has the same bucket in all three places. A
// request with two different keys is refused with 401 authentication_failed, since
// authentication might use the other one.
//
// ByAPIKey does not know which keys exist, and every invalid key has a full bucket. Without
// authentication before it, put a limit by address ([ByRemoteAddr]) in front.
func ByAPIKey(r *http.Request) (string, error) {
	key, conflict := credential.APIKey(r)
	if conflict {
		return "", apierror.CodeAuthenticationFailed.New()
	}
	return prefixed("api_key:", key)
}

// ByHeader returns the value of a header. It is safe only if the service's own proxy sets
// that header: a client that can set it can have any number of buckets. Several lines are
// joined. ByHeader panics if the name is empty.
func ByHeader(name string) KeyFunc {
	if name == "" {
		panic("ratelimit: ByHeader without a name")
	}
	name = http.CanonicalHeaderKey(name)
	prefix := "header:" + name + ":"
	return func(r *http.Request) (string, error) {
		return prefixed(prefix, strings.Join(r.Header[name], ", "))
	}
}

// ByPattern returns the pattern of mux that the request matches, such as "GET
// /v1/resources/{id}". If the path were the key instead, each id would have its own
// bucket. Requests that match no pattern share one key, and so do CONNECT requests. Use
// it with [Join] if routes have different limits. It panics if mux is nil.
func ByPattern(mux *http.ServeMux) KeyFunc {
	if mux == nil {
		panic("ratelimit: ByPattern with a nil *http.ServeMux")
	}
	return func(r *http.Request) (string, error) {
		pattern := ""
		if r.Method != http.MethodConnect { // if mux redirects one, Handler returns its path
			_, pattern = mux.Handler(r)
		}
		return "pattern:" + pattern, nil
	}
}

// Join returns the combination of several keys. If one of them is missing, the error is
// [ErrNoKey]. Join panics if it is called without a KeyFunc or with a nil one.
func Join(keys ...KeyFunc) KeyFunc {
	checkKeys("Join", keys)
	return func(r *http.Request) (string, error) {
		var joined strings.Builder
		joined.WriteString("join:")
		for _, f := range keys {
			key, err := keyOf(f, r)
			if err != nil {
				return "", err
			}
			joined.WriteString(strconv.Itoa(len(key)) + ":" + key) // the length shows where the key ends
		}
		return joined.String(), nil
	}
}

// First returns the first key that is not missing. If all are missing, the error is
// [ErrNoKey]. First panics if it is called without a KeyFunc or with a nil one.
//
// An invalid key is not missing: First(ByAPIKey, ByRemoteAddr) does not limit a client
// that sends a new API key with each request. Use First only for keys that the service
// has checked already, as in First(ByPrincipal, ByRemoteAddr) behind an authentication
// that admits anonymous callers. Otherwise use several rules.
func First(keys ...KeyFunc) KeyFunc {
	checkKeys("First", keys)
	return func(r *http.Request) (string, error) {
		for _, f := range keys {
			if key, err := keyOf(f, r); !errors.Is(err, ErrNoKey) {
				return key, err
			}
		}
		return "", ErrNoKey
	}
}

func checkKeys(name string, keys []KeyFunc) {
	if len(keys) == 0 {
		panic("ratelimit: " + name + " without a KeyFunc")
	}
	for _, f := range keys {
		if f == nil {
			panic("ratelimit: " + name + " with a nil KeyFunc")
		}
	}
}

func prefixed(prefix, key string) (string, error) {
	if key == "" {
		return "", ErrNoKey
	}
	return prefix + key, nil
}

// maxKey is the number of bytes above which a key is hashed, so that clients do not
// choose how much a back end stores.
const maxKey = 256

// keyOf returns the key of a request. It is not empty.
func keyOf(f KeyFunc, r *http.Request) (string, error) {
	key, err := f(r)
	switch {
	case err != nil:
		return "", err
	case key == "":
		return "", ErrNoKey
	case len(key) > maxKey:
		sum := sha256.Sum256([]byte(key))
		return "sha256:" + base64.RawURLEncoding.EncodeToString(sum[:]), nil
	}
	return key, nil
}

// keyError returns the outcome of a request whose charge failed with err, and the error
// to answer the request with.
func keyError(err error) (Outcome, error) {
	switch {
	case errors.Is(err, ErrNoKey):
		return OutcomeNoKey, apierror.CodeAuthenticationFailed.New().WithCause(err)
	case apierror.From(err).Status() >= 500:
		return OutcomeFailed, err
	default:
		return OutcomeNoKey, err
	}
}

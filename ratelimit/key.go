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

// KeyFunc says whose bucket a request is charged to. It returns [ErrNoKey] when the request does not tell, and any other error to have
// the request refused with it, as apierror.Write answers it. An empty key counts as ErrNoKey.
//
// The functions of this package put the kind before the key ("principal:acct_1"), so that keys of two kinds are never the same one; a
// function of your own should, too. Keys may be secrets: nothing in this package logs one or shows it to an Observe function.
type KeyFunc func(*http.Request) (key string, err error)

// ErrNoKey says that a request does not tell its key. What follows is in [Rule].KeyOptional; [First] goes on to its next function.
var ErrNoKey = errors.New("ratelimit: the request has no key")

// errNoPrincipal is the ErrNoKey of ByPrincipal: a mistake of the service's, as a rule.
var errNoPrincipal = fmt.Errorf("%w: it has no principal; authentication must come before and name one (seawall.WithPrincipal)", ErrNoKey)

// ByPrincipal is the account, user or key id that the service's authentication found (seawall.WithPrincipal). It is the right key for
// whatever runs behind authentication: nobody can make one up.
func ByPrincipal(r *http.Request) (string, error) {
	key, err := kind("principal:", reqstate.From(r.Context()).Principal())
	if err != nil {
		err = errNoPrincipal
	}
	return key, err
}

// ByAPIKey is the API key that the request presents: as a Bearer token, as the user of Basic authentication, or in X-API-Key. One key is
// one bucket, however it is presented. A request that presents two different ones is refused with 401: authentication might look at
// another one than the limit does.
//
// It does not know which keys exist. A key that is made up has a bucket of its own, and a full one: where no authentication runs
// before, put a limit [ByRemoteAddr] in front.
func ByAPIKey(r *http.Request) (string, error) {
	key, conflict := credential.APIKey(r)
	if conflict {
		return "", apierror.CodeAuthenticationFailed.New()
	}
	return kind("api_key:", key)
}

// ByHeader is the value of a header that the service's own proxy sets. Of one that the client may set, the client makes up as many as it
// likes. Several lines are one value, in their order. It panics without a name.
func ByHeader(name string) KeyFunc {
	if name == "" {
		panic("ratelimit: ByHeader without a name")
	}
	name = http.CanonicalHeaderKey(name)
	prefix := "header:" + name + ":"
	return func(r *http.Request) (string, error) {
		return kind(prefix, strings.Join(r.Header[name], ", ")) // of one value, that is the value
	}
}

// ByPattern is the pattern of mux that the request matches, such as "GET /v1/resources/{id}": a key by path would give each id a bucket
// of its own. All requests without a route have one key, and so have all CONNECT requests. It is meant for [Join]: routes whose limits
// differ need buckets of their own.
func ByPattern(mux *http.ServeMux) KeyFunc {
	if mux == nil {
		panic("ratelimit: ByPattern of a nil *http.ServeMux")
	}
	return func(r *http.Request) (string, error) {
		pattern := ""
		if r.Method != http.MethodConnect { // of one that the mux would redirect, it takes the path for the pattern
			_, pattern = mux.Handler(r)
		}
		return "pattern:" + pattern, nil
	}
}

// Join is the combination of several keys. It has none if one of them has none.
func Join(keys ...KeyFunc) KeyFunc {
	check("Join", keys)
	return func(r *http.Request) (string, error) {
		joined := []byte("join:")
		for _, f := range keys {
			key, err := call(f, r)
			if err != nil {
				return "", err
			}
			// The length makes it unambiguous where a key ends.
			joined = strconv.AppendInt(joined, int64(len(key)), 10)
			joined = append(joined, ':')
			joined = append(joined, key...)
		}
		return string(joined), nil
	}
}

// First is the key of the first function that finds one.
//
// A key that is made up is found, too: First(ByAPIKey, ByRemoteAddr) limits nobody who sends
// another API key with each request. It is for keys that were checked before, as in
// First(ByPrincipal, ByRemoteAddr) behind an authentication that lets strangers through. For
// others, put a limit [ByRemoteAddr] in front, or into the same [New] as a rule of its own.
func First(keys ...KeyFunc) KeyFunc {
	check("First", keys)
	return func(r *http.Request) (string, error) {
		for _, f := range keys {
			if key, err := call(f, r); !errors.Is(err, ErrNoKey) {
				return key, err
			}
		}
		return "", ErrNoKey
	}
}

func check(name string, keys []KeyFunc) {
	if len(keys) == 0 {
		panic("ratelimit: " + name + " of nothing")
	}
	for _, f := range keys {
		if f == nil {
			panic("ratelimit: " + name + " of a nil KeyFunc")
		}
	}
}

func kind(prefix, key string) (string, error) {
	if key == "" {
		return "", ErrNoKey
	}
	return prefix + key, nil
}

// maxKey is the length from which on a key is replaced by a hash: what a back end stores is not the caller's to blow up.
const maxKey = 256

// call returns the request's key. It is never empty.
func call(f KeyFunc, r *http.Request) (string, error) {
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

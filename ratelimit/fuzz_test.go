package ratelimit_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

// FuzzAPIKey presents one key in two ways, and whatever as Authorization.
func FuzzAPIKey(f *testing.F) {
	f.Add("sk_1", "Bearer sk_1")
	f.Add("sk_2", "Basic c2tfMTo=")
	f.Add("", "Basic ====")
	f.Add("a b", "bearer  a b ")
	f.Add("\x00", "Basic \x00")
	f.Fuzz(func(t *testing.T, key, authorization string) {
		ask := func(headers ...string) (string, error) {
			k, err := ratelimit.ByAPIKey(request(headers...))
			if err != nil {
				require.Empty(t, k)
			} else {
				require.True(t, strings.HasPrefix(k, "api_key:") && len(k) > len("api_key:"))
			}
			return k, err
		}
		asHeader, err := ask("X-API-Key", key)
		asBearer, berr := ask("Authorization", "Bearer "+key)
		require.Equal(t, err, berr)
		require.Equal(t, asHeader, asBearer)

		alone, aerr := ask("Authorization", authorization)
		both, err := ask("Authorization", authorization, "X-API-Key", key)
		switch {
		case aerr != nil:
			require.Equal(t, asHeader, both)
		case berr != nil || alone == asHeader:
			require.Equal(t, alone, both)
		default:
			require.ErrorIs(t, err, apierror.CodeAuthenticationFailed)
		}
	})
}

// FuzzJoin looks for two lists of keys that are joined to the same one.
func FuzzJoin(f *testing.F) {
	f.Add("a:b", "c", "a", "b:c")
	f.Add("1", "1:1", "1:1", "1")
	f.Add("x2:y", "z", "x", "y2:z")
	f.Add("a", "b", "a", "b")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		join := func(keys ...string) (string, error) {
			var fs []ratelimit.KeyFunc
			for _, key := range keys {
				fs = append(fs, func(*http.Request) (string, error) { return key, nil })
			}
			return ratelimit.Join(fs...)(request())
		}
		first, err := join(a, b)
		if err != nil {
			require.ErrorIs(t, err, ratelimit.ErrNoKey)
			require.True(t, a == "" || b == "")
			return
		}
		second, err := join(c, d)
		if err == nil {
			require.Equal(t, a == c && b == d, first == second)
		}
		if three, err := join(a, c, d); err == nil {
			require.NotEqual(t, first, three)
		}
	})
}

package ratelimit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/ratelimit"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestByAPIKey(t *testing.T) {
	t.Parallel()
	const one = "api_key:sk_1"
	for name, row := range map[string]struct {
		headers []string
		key     string
		err     error
	}{
		// One key, presented in different ways.
		"Bearer":                  {[]string{"Authorization", "Bearer sk_1"}, one, nil},
		"bearer in lower case":    {[]string{"Authorization", "bearer sk_1"}, one, nil},
		"Bearer with more spaces": {[]string{"Authorization", " Bearer   sk_1 "}, one, nil},
		"Basic user":              {[]string{"Authorization", basic("sk_1", "")}, one, nil},
		"Basic user and password": {[]string{"Authorization", basic("sk_1", "a:b")}, one, nil},
		"basic in lower case":     {[]string{"Authorization", strings.Replace(basic("sk_1", ""), "B", "b", 1)}, one, nil},
		"Basic user with spaces":  {[]string{"Authorization", basic(" sk_1\t", "")}, one, nil},
		"X-API-Key":               {[]string{"X-API-Key", "sk_1"}, one, nil},
		"X-API-Key with spaces":   {[]string{"X-API-Key", "\tsk_1 "}, one, nil},
		"twice the same":          {[]string{"Authorization", "Bearer sk_1", "X-API-Key", "sk_1"}, one, nil},

		// No key.
		"nothing":             {nil, "", ratelimit.ErrNoKey},
		"empty":               {[]string{"Authorization", ""}, "", ratelimit.ErrNoKey},
		"a scheme alone":      {[]string{"Authorization", "Bearer"}, "", ratelimit.ErrNoKey},
		"a scheme and spaces": {[]string{"Authorization", "Bearer   "}, "", ratelimit.ErrNoKey},
		"no base64":           {[]string{"Authorization", "Basic %%%"}, "", ratelimit.ErrNoKey},
		"a user of spaces":    {[]string{"Authorization", basic("  ", "secret")}, "", ratelimit.ErrNoKey},
		"no user":             {[]string{"Authorization", basic("", "secret")}, "", ratelimit.ErrNoKey},
		"another scheme":      {[]string{"Authorization", "Digest sk_1"}, "", ratelimit.ErrNoKey},
		"no scheme":           {[]string{"Authorization", "sk_1"}, "", ratelimit.ErrNoKey},
		"an empty X-API-Key":  {[]string{"X-API-Key", " "}, "", ratelimit.ErrNoKey},
		"another scheme beside a key": {
			[]string{"Authorization", "Digest x", "X-API-Key", "sk_1"}, one, nil,
		},

		// Two keys, of which authentication may use either.
		"two headers":              {[]string{"Authorization", "Bearer invalid", "X-API-Key", "sk_1"}, "", apierror.CodeAuthenticationFailed},
		"two lines":                {[]string{"Authorization", "Bearer sk_1", "Authorization", "Bearer invalid"}, "", apierror.CodeAuthenticationFailed},
		"two lines of X-API-Key":   {[]string{"X-API-Key", "sk_1", "X-API-Key", "invalid"}, "", apierror.CodeAuthenticationFailed},
		"two schemes":              {[]string{"Authorization", "Bearer invalid", "Authorization", basic("sk_1", "")}, "", apierror.CodeAuthenticationFailed},
		"an empty one and another": {[]string{"Authorization", "", "Authorization", "Bearer sk_1"}, one, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := ratelimit.ByAPIKey(request(row.headers...))
			require.ErrorIs(t, err, row.err)
			require.Equal(t, row.key, key)
		})
	}
}

// FuzzAPIKey presents a key in two ways, and beside any Authorization.
func FuzzAPIKey(f *testing.F) {
	f.Add("sk_1", "Bearer sk_1")
	f.Add("sk_2", "Basic c2tfMTo=")
	f.Add("", "Basic ====")
	f.Add("a b", "bearer  a b ")
	f.Add("\x00", "Basic \x00")
	f.Add("", "BAsiC 000 0000") // a space in the credentials
	f.Add("0", "   ")
	f.Add("\xc2\xc2\u00a0", "0") // ends in a no-break space
	f.Add("0\x89", "  0\xc3")    // not UTF-8
	f.Add("\xa2", "\xa2 \xf7")   // not UTF-8, with a space
	f.Add("0", " \xcd\xcd ")     // spaces around
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

func TestByPattern(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("GET /v1/resources/{id}", http.NotFoundHandler())
	mux.Handle("/files/{name}/", http.NotFoundHandler())
	f := ratelimit.ByPattern(mux)
	for path, want := range map[string]string{
		"/v1/resources/1": "pattern:GET /v1/resources/{id}",
		"/v1/resources/2": "pattern:GET /v1/resources/{id}",
		"/no/route":       "pattern:",
	} {
		key, err := f(httptest.NewRequest(http.MethodGet, path, nil))
		require.NoError(t, err)
		require.Equal(t, want, key)
	}
	for _, path := range []string{"/files/made", "/files/up"} {
		key, err := f(httptest.NewRequest(http.MethodConnect, path, nil))
		require.NoError(t, err)
		require.Equal(t, "pattern:", key, "clients cannot choose the key")
	}
}

func TestJoinOfAMissingKeyIsMissing(t *testing.T) {
	t.Parallel()
	_, err := ratelimit.Join(ratelimit.ByRemoteAddr, ratelimit.ByAPIKey)(request())
	require.ErrorIs(t, err, ratelimit.ErrNoKey)
}

// FuzzJoin looks for two different lists of keys with the same result.
func FuzzJoin(f *testing.F) {
	f.Add("a:b", "c", "a", "b:c")
	f.Add("1", "1:1", "1:1", "1")
	f.Add("x2:y", "z", "x", "y2:z")
	f.Add("a", "b", "a", "b")
	f.Add("0", "0", "0", "") // a missing key
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

func TestFirst(t *testing.T) {
	t.Parallel()
	first := ratelimit.First(ratelimit.ByAPIKey, ratelimit.ByRemoteAddr)

	key, err := first(request("X-Api-Key", "sk_1"))
	require.NoError(t, err)
	require.Equal(t, "api_key:sk_1", key)

	key, err = first(request())
	require.NoError(t, err)
	require.Equal(t, "addr:192.0.2.1", key)

	_, err = ratelimit.First(ratelimit.ByAPIKey, ratelimit.ByPrincipal)(request())
	require.ErrorIs(t, err, ratelimit.ErrNoKey)

	_, err = first(request("X-Api-Key", "sk_1", "X-Api-Key", "invalid"))
	require.ErrorIs(t, err, apierror.CodeAuthenticationFailed, "a conflict is not a missing key")
}

func TestKeysOfDifferentKindsNeverCollide(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("GET /v1/resources/{id}", http.NotFoundHandler())
	of := func(value string) ratelimit.KeyFunc { return func(*http.Request) (string, error) { return value, nil } }
	const value = "192.0.2.1"
	r := request("X-Api-Key", value, "X-A", value, "X-B", value, "X-C", "A:"+value)
	r = reqstate.WithPrincipal(r, value)
	r.RemoteAddr = value + ":1234"
	seen := map[string]string{}
	for name, f := range map[string]ratelimit.KeyFunc{
		"principal":       ratelimit.ByPrincipal,
		"API key":         ratelimit.ByAPIKey,
		"header A":        ratelimit.ByHeader("x-a"),
		"header B":        ratelimit.ByHeader("X-B"),
		"header C":        ratelimit.ByHeader("X-C"),
		"address":         ratelimit.ByRemoteAddr,
		"pattern":         ratelimit.ByPattern(mux),
		"join of one":     ratelimit.Join(of("a:b")),
		"a:b and c":       ratelimit.Join(of("a:b"), of("c")),
		"a and b:c":       ratelimit.Join(of("a"), of("b:c")),
		"a, b and c":      ratelimit.Join(of("a"), of("b"), of("c")),
		"a join in front": ratelimit.Join(ratelimit.Join(of("a"), of("b")), of("c")),
		"a join behind":   ratelimit.Join(of("a"), ratelimit.Join(of("b"), of("c"))),
		"digits":          ratelimit.Join(of("1"), of("1:1")),
		"x2:y and z":      ratelimit.Join(of("x2:y"), of("z")),
		"x and y2:z":      ratelimit.Join(of("x"), of("y2:z")),
		"length in a key": ratelimit.Join(of("1"), of("aaaaaaaaa9bbbbbbbbb")),
		"key in a length": ratelimit.Join(of("19aaaaaaaaa"), of("bbbbbbbbb")),
		"more digits":     ratelimit.Join(of("1:1"), of("1")),
	} {
		key, err := f(r)
		require.NoError(t, err, name)
		require.NotContains(t, seen, key, "%s and %s", name, seen[key])
		seen[key] = name
	}
}

// Servers of two versions may share a back end, and must use the same keys.
func TestKeysAreStable(t *testing.T) {
	t.Parallel()
	r := request("X-Api-Key", "sk_1", "X-Account", "acme")
	r = reqstate.WithPrincipal(r, "acct_1")
	r.RemoteAddr = "192.0.2.1:1234"
	mux := http.NewServeMux()
	mux.Handle("/", http.NotFoundHandler())
	for want, f := range map[string]ratelimit.KeyFunc{
		"principal:acct_1": ratelimit.ByPrincipal,
		"addr:192.0.2.1":   ratelimit.ByRemoteAddr,
		"pattern:/":        ratelimit.ByPattern(mux),
		"join:16:principal:acct_114:addr:192.0.2.1": ratelimit.Join(ratelimit.ByPrincipal, ratelimit.ByRemoteAddr),
	} {
		key, err := f(r)
		require.NoError(t, err)
		require.Equal(t, want, key)
	}
}

// keysTaken is a limiter that records the keys of its charges.
type keysTaken struct {
	*ratelimit.Memory
	keys []string
}

func (k *keysTaken) Take(_ context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	k.keys = append(k.keys, c.Key)
	return ratelimit.Decision{Allowed: true}, nil
}

func TestLongKeysAreHashed(t *testing.T) {
	t.Parallel()
	l := &keysTaken{Memory: ratelimit.NewMemory(nil)}
	h := ratelimit.New(l, nil, ratelimit.Rule{Key: ratelimit.ByAPIKey})(ok)
	long := strings.Repeat("x", 1<<16)
	for _, key := range []string{long, long + "y", long, "short"} {
		require.Equal(t, http.StatusOK, get(h, key).Code)
	}
	for _, key := range l.keys {
		require.LessOrEqual(t, len(key), 256)
	}
	require.Equal(t, l.keys[0], l.keys[2])
	require.NotEqual(t, l.keys[0], l.keys[1])
	require.Equal(t, "api_key:short", l.keys[3])
}

func TestKeysOver256BytesAreHashed(t *testing.T) {
	t.Parallel()
	for _, n := range []int{255, 256, 257} {
		l := &keysTaken{Memory: ratelimit.NewMemory(nil)}
		key := strings.Repeat("x", n)
		h := ratelimit.New(l, nil, ratelimit.Rule{Key: func(*http.Request) (string, error) { return key, nil }})(ok)
		require.Equal(t, 200, get(h, "").Code)
		require.Equal(t, n <= 256, l.keys[0] == key)
		require.LessOrEqual(t, len(l.keys[0]), 256)
	}
}

func TestErrorOfAKeyFuncIsAnswered(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err  error
		code int
	}{
		"an API error": {apierror.CodePermissionDenied.New(), 403},
		"another":      {errors.New("no such tenant"), 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
				Key:         func(*http.Request) (string, error) { return "", row.err },
				KeyOptional: true, // only for missing keys
			})
			w := get(limit(ok), "")
			require.Equal(t, row.code, w.Code)
			require.NotContains(t, w.Body.String(), "tenant")
		})
	}
}

func TestErrorOfAKeyFuncIsObserved(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err     error
		outcome ratelimit.Outcome
	}{
		{ratelimit.ErrNoKey, ratelimit.OutcomeNoKey},
		{apierror.Definition{Code: "gone_away", Type: apierror.TypeInvalidRequest, Status: 499}.New(), ratelimit.OutcomeNoKey},
		{apierror.Definition{Code: "gone_under", Type: apierror.TypeAPI, Status: 500}.New(), ratelimit.OutcomeFailed},
		{errors.New("no such tenant"), ratelimit.OutcomeFailed},
	} {
		var seen []ratelimit.Event
		observe := func(_ context.Context, e ratelimit.Event) { seen = append(seen, e) }
		key := func(*http.Request) (string, error) { return "", row.err }
		get(ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{Observe: observe}, ratelimit.Rule{Key: key})(ok), "")
		get(ratelimit.MaxConcurrent(1, key, &ratelimit.ConcurrentOptions{Observe: observe})(ok), "")
		require.Len(t, seen, 2)
		for i, rule := range []string{"default", "concurrent"} {
			require.Equal(t, rule, seen[i].Rule)
			require.Equal(t, row.outcome, seen[i].Outcome, row.err)
			require.Zero(t, seen[i].Decision)
			require.ErrorIs(t, seen[i].Err, row.err)
		}
	}
}

// If authentication sets no principal, every request gets a 401. The log has the reason.
func TestMissingPrincipalIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := &ratelimit.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	h := ratelimit.New(ratelimit.NewMemory(nil), o, ratelimit.Rule{Key: ratelimit.ByPrincipal})(http.NotFoundHandler())
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, http.StatusUnauthorized, w.Code)
	}
	require.Equal(t, 1, strings.Count(log.String(), "seawall.WithPrincipal"), log.String())

	log.Reset()
	anonymous := ratelimit.Rule{Key: ratelimit.First(ratelimit.ByPrincipal, ratelimit.ByRemoteAddr)}
	h = ratelimit.New(ratelimit.NewMemory(nil), o, anonymous)(http.NotFoundHandler())
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	require.Empty(t, log.String())
}

func TestKeyFunctionsPanicOnInvalidArguments(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"ByHeader":         func() { ratelimit.ByHeader("") },
		"ByPattern":        func() { ratelimit.ByPattern(nil) },
		"Join":             func() { ratelimit.Join() },
		"First":            func() { ratelimit.First() },
		"Join of nil":      func() { ratelimit.Join(nil) },
		"First of nil":     func() { ratelimit.First(ratelimit.ByAPIKey, nil) },
		"ByForwardedFor":   func() { ratelimit.ByForwardedFor() },
		"IPv6Bits":         func() { ratelimit.ByAddress(&ratelimit.AddressOptions{IPv6Bits: 129}) },
		"an empty prefix":  func() { ratelimit.ByForwardedFor(prefixes("")...) },
		"negative IPvBits": func() { ratelimit.ByAddress(&ratelimit.AddressOptions{IPv6Bits: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Panics(t, f)
		})
	}
}

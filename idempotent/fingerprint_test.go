package idempotent_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// fingerprint returns the fingerprint of a POST to / with a body. It has no Content-Type if
// contentType is empty.
func fingerprint(t *testing.T, f idempotent.FingerprintFunc, contentType, body string) idempotent.Fingerprint {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	fp, err := f(r, func() ([]byte, error) { return []byte(body), nil })
	require.NoError(t, err)
	return fp
}

var fingerprintFuncs = map[string]idempotent.FingerprintFunc{
	"FingerprintBody":   idempotent.FingerprintBody,
	"FingerprintJSON":   idempotent.FingerprintJSON,
	"FingerprintForm":   idempotent.FingerprintForm,
	"FingerprintDigest": idempotent.FingerprintDigest,
}

func TestFingerprintDependsOnMethodTargetTypeAndBody(t *testing.T) {
	t.Parallel()
	type request struct{ method, target, contentType, body string }
	base := request{"POST", "/a?b=c", "text/plain", "{}"}
	same := map[string]request{
		"media type in other case":     {"POST", "/a?b=c", "Text/PLAIN", "{}"},
		"parameters of the media type": {"POST", "/a?b=c", "text/plain; charset=utf-8", "{}"},
		"space around the media type":  {"POST", "/a?b=c", " text/plain ;", "{}"},
		"host":                         {"POST", "http://other.example/a?b=c", "text/plain", "{}"},
	}
	different := map[string]request{
		"method":                  {"PUT", "/a?b=c", "text/plain", "{}"},
		"path":                    {"POST", "/a/?b=c", "text/plain", "{}"},
		"escaped path":            {"POST", "/%61?b=c", "text/plain", "{}"},
		"query":                   {"POST", "/a?b=d", "text/plain", "{}"},
		"spelling of the query":   {"POST", "/a?b=c&", "text/plain", "{}"},
		"media type":              {"POST", "/a?b=c", "text/json", "{}"},
		"no media type":           {"POST", "/a?b=c", "", "{}"},
		"body":                    {"POST", "/a?b=c", "text/plain", "{ }"},
		"no body":                 {"POST", "/a?b=c", "text/plain", ""},
		"path and query shifted":  {"POST", "/ab?=c", "text/plain", "{}"},
		"query and type shifted":  {"POST", "/a?b=ct", "ext/plain", "{}"},
		"type and body shifted":   {"POST", "/a?b=c", "text/plain{", "}"},
		"method and path shifted": {"POST/a", "?b=c", "text/plain", "{}"},
	}
	for name, f := range fingerprintFuncs {
		of := func(c request) idempotent.Fingerprint {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			var err error
			r.Method = c.method
			r.URL, err = r.URL.Parse(c.target)
			require.NoError(t, err)
			r.Header.Set("Content-Type", c.contentType)
			fp, err := f(r, func() ([]byte, error) { return []byte(c.body), nil })
			require.NoError(t, err)
			return fp
		}
		for what, c := range same {
			require.Equal(t, of(base), of(c), "%s: %s", name, what)
		}
		for what, c := range different {
			require.NotEqual(t, of(base), of(c), "%s: %s", name, what)
		}
	}
}

func TestFingerprintOfEqualsFingerprintBody(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/a?b=c", nil)
	want, err := idempotent.FingerprintBody(r, func() ([]byte, error) { return []byte("content"), nil })
	require.NoError(t, err)
	require.Equal(t, want, idempotent.FingerprintOf(r, []byte("content")))
	require.NotEqual(t, want, idempotent.FingerprintOf(r, []byte("other")))
}

func TestFingerprintReturnsTheErrorOfTheBody(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, f := range fingerprintFuncs {
		fp, err := f(httptest.NewRequest(http.MethodPost, "/", nil), func() ([]byte, error) { return []byte("part"), broken })
		require.ErrorIs(t, err, broken, name)
		require.Zero(t, fp, name)
	}
}

func TestFingerprintErrorIsNotDisclosed(t *testing.T) {
	t.Parallel()
	var h counter
	failing := func(*http.Request, func() ([]byte, error)) (idempotent.Fingerprint, error) {
		return idempotent.Fingerprint{}, errors.New("secret")
	}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: failing})(&h)
	r := call(mw, "k", "")
	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.NotContains(t, r.Body, "secret")
	require.Zero(t, h.runs.Load())
}

// A canonical form, a form or a digest has another fingerprint than a body of the same bytes.
func TestFingerprintsOfDifferentKindsDiffer(t *testing.T) {
	t.Parallel()
	const jsonType = "application/json"
	canonical, ok := idempotent.CanonicalJSON([]byte(`{"a":1}`))
	require.True(t, ok)
	require.NotEqual(t, fingerprint(t, idempotent.FingerprintJSON, jsonType, `{"a":1}`),
		fingerprint(t, idempotent.FingerprintJSON, jsonType, string(canonical)))

	multipart := "multipart/form-data; boundary=b"
	require.NotEqual(t, fingerprint(t, idempotent.FingerprintForm, multipart, "--b--"),
		fingerprint(t, idempotent.FingerprintForm, multipart, ""), "an empty form, and no form")
	require.NotEqual(t, fingerprint(t, idempotent.FingerprintForm, urlencoded, "a=%zz&b=2"),
		fingerprint(t, idempotent.FingerprintForm, urlencoded, "b=2"), "an invalid field is not dropped")

	sum := sha256.Sum256([]byte("body"))
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	digest, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	require.NotEqual(t, idempotent.FingerprintOf(r, sum[:]), digest)
}

package idempotent_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// printOf is the default's, or another fingerprint's, for a request.
func printOf(t *testing.T, f idempotent.FingerprintFunc, method, url, contentType, body string) idempotent.Print {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	p, err := f(r, func() ([]byte, error) { return []byte(body), nil })
	require.NoError(t, err)
	return p
}

func TestFingerprintBody(t *testing.T) {
	t.Parallel()
	base := printOf(t, idempotent.FingerprintBody, "POST", "/a?b=c", "application/json", "{}")
	require.Equal(t, base, printOf(t, idempotent.FingerprintBody, "POST", "/a?b=c", "Application/JSON; charset=utf-8", "{}"))
	for name, c := range map[string][4]string{
		"method":       {"PUT", "/a?b=c", "application/json", "{}"},
		"path":         {"POST", "/a/?b=c", "application/json", "{}"},
		"escaped path": {"POST", "/%61/?b=c", "application/json", "{}"},
		"query":        {"POST", "/a?b=d", "application/json", "{}"},
		"query order":  {"POST", "/a?b=c&", "application/json", "{}"},
		"media type":   {"POST", "/a?b=c", "text/json", "{}"},
		"no type":      {"POST", "/a?b=c", "", "{}"},
		"body":         {"POST", "/a?b=c", "application/json", "{ }"},
		"shifted":      {"POST", "/a", "b=capplication/json", "{}"},
	} {
		require.NotEqual(t, base, printOf(t, idempotent.FingerprintBody, c[0], c[1], c[2], c[3]), name)
	}
}

func TestFingerprintJSON(t *testing.T) {
	t.Parallel()
	of := func(body string) idempotent.Print {
		return printOf(t, idempotent.FingerprintJSON, "POST", "/", "application/vnd.x+json", body)
	}
	for name, same := range map[string][2]string{
		"space":   {`{"a":[1,2,{"b":null}]}`, " {\n\t\"a\" : [ 1 , 2 , { \"b\" : null } ] } "},
		"order":   {`{"a":1,"b":{"c":2,"d":3},"e":[]}`, `{"e":[],"b":{"d":3,"c":2},"a":1}`},
		"scalars": {`[true,false,null,-1.5e3,"x"]`, `[ true, false, null, -1.5e3, "x" ]`},
		"nothing": {`[[],{},[{}],""]`, `[ [ ], { }, [ { } ], "" ]`},
	} {
		require.Equal(t, of(same[0]), of(same[1]), name)
	}
	for name, different := range map[string][2]string{
		"value":              {`{"a":1}`, `{"a":2}`},
		"name":               {`{"a":1}`, `{"b":1}`},
		"number's spelling":  {`1`, `1.0`},
		"large numbers":      {`9007199254740992`, `9007199254740993`},
		"string and number":  {`"1"`, `1`},
		"array order":        {`[1,2]`, `[2,1]`},
		"nesting":            {`[[1],2]`, `[[1,2]]`},
		"array and items":    {`[1,2]`, `[12]`},
		"swapped values":     {`{"a":1,"b":2}`, `{"a":2,"b":1}`},
		"object in a string": {`{"a":"{}"}`, `{"a":{}}`},
		"repeated name":      {`{"a":1,"a":2}`, `{"a":2,"a":1}`},
		"escaped name":       {`{"a":1,"\u0061":2}`, `{"\u0061":2,"a":1}`},
		"lone surrogates":    {`"\ud800"`, `"\ud801"`},
		"not JSON":           {`{"a":1`, `{"a":1 `},
		"two documents":      {`1 2`, `1  2`},
	} {
		require.NotEqual(t, of(different[0]), of(different[1]), name)
	}
	require.NotEqual(t, printOf(t, idempotent.FingerprintJSON, "POST", "/", "text/plain", "[1]"),
		printOf(t, idempotent.FingerprintJSON, "POST", "/", "text/plain", "[1] "), "only what is sent as JSON is read as JSON")
}

func TestDeepJSONIsCheap(t *testing.T) {
	t.Parallel()
	const depth = 9000
	body := []byte(strings.Repeat(`{"a":`, depth) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat("}", depth))
	require.Less(t, len(idempotent.CanonicalJSON(body)), 100, "an object is as large as its hash, or each level would copy all below")
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":[{}, "x\"y"]}`, `[[],{}]`, `"`, `{"a":1,"a":2}`, ` 1 `, `{"":{"":""}}`, `nul`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := idempotent.CanonicalJSON(b)
		if !json.Valid(b) {
			require.True(t, bytes.Equal(b, c))
			return
		}
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, b, " ", "\t"))
		again := idempotent.CanonicalJSON(indented.Bytes())
		if !bytes.Equal(c, b) && !bytes.Equal(again, indented.Bytes()) { // else one of them is ambiguous, or canonical already
			require.True(t, bytes.Equal(c, again))
		}
	})
}

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func TestUploadIsReadByTheHandlerAndChecked(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 3<<20)
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, "bad upload", http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, http.StatusText(int(n>>20)))
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: idempotent.FingerprintDigest})(&h)
	upload := func(key, digest string, body io.Reader) reply {
		r := httptest.NewRequest(http.MethodPut, "/file", body)
		r.Header.Set("Idempotency-Key", key)
		r.Header.Set("Content-Digest", digest)
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, r)
		return reply{w.Code, w.Header(), w.Body.String()}
	}

	broken := upload("k", digestOf(large), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	require.Equal(t, http.StatusBadRequest, broken.Status)
	wrong := upload("k", digestOf(large), strings.NewReader(large[1:]+"y"))
	require.Equal(t, http.StatusBadRequest, wrong.Status)
	require.False(t, wrong.replayed(), "a broken upload is nobody's answer")
	good := upload("k", digestOf(large), strings.NewReader(large))
	require.Equal(t, http.StatusCreated, good.Status)
	require.True(t, upload("k", digestOf(large), strings.NewReader(large)).replayed())
	require.Equal(t, http.StatusConflict, upload("k", digestOf("other"), strings.NewReader("other")).Status)
	require.EqualValues(t, 3, h.runs.Load())

	for _, malformed := range []string{"sha-256=abc", "sha-256=:!:", "sha-256=:AAAA:", "sha-256", ","} {
		r := upload("m", malformed, strings.NewReader("x"))
		require.Equal(t, http.StatusBadRequest, r.Status, malformed)
		require.Contains(t, r.Body, "Content-Digest")
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, upload("n", "md5=:AAAA:", strings.NewReader(large)).Status, "no digest that is known: the body counts")
	require.Equal(t, http.StatusCreated, upload("n", "md5=:AAAA:, "+digestOf(large), strings.NewReader(large)).Status)
}

func TestDigestIsCheckedAtTheLastByte(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader("body"))
	r.Header.Set("Content-Digest", digestOf("BODY"))
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	_, err = io.ReadFull(r.Body, make([]byte, 4)) // never sees the end
	require.ErrorIs(t, err, idempotent.ErrDigest)
}

func TestStrongestDigestCounts(t *testing.T) {
	t.Parallel()
	sum := sha512.Sum512([]byte("BODY"))
	wrong := "sha-512=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	for _, field := range []string{wrong + ", " + digestOf("body"), digestOf("body") + "," + wrong} {
		r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader("body"))
		r.Header.Set("Content-Digest", field)
		_, err := idempotent.FingerprintDigest(r, nil)
		require.NoError(t, err)
		_, err = io.ReadAll(r.Body)
		require.ErrorIs(t, err, idempotent.ErrDigest)
	}
}

func TestFingerprintHookErrors(t *testing.T) {
	t.Parallel()
	var h counter
	failing := func(*http.Request, func() ([]byte, error)) (idempotent.Print, error) {
		return idempotent.Print{}, errors.New("secret")
	}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: failing})(&h)
	r := call(mw, "k", "")
	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.NotContains(t, r.Body, "secret")
	require.Zero(t, h.runs.Load())
}

func FuzzContentDigest(f *testing.F) {
	for _, seed := range []string{"", ",", digestOf("body"), "md5=:AAAA:, " + digestOf("body"), "sha-256=:AAAA:", "sha-512=::", "sha-256"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader("body"))
		r.Header.Set("Content-Digest", field)
		read := false
		_, err := idempotent.FingerprintDigest(r, func() ([]byte, error) { read = true; return nil, nil })
		if err != nil || read {
			return
		}
		body, err := io.ReadAll(r.Body) // nothing else than the digest of the body passes
		if err == nil {
			require.Equal(t, "body", string(body))
			require.Contains(t, field, "=:")
		} else {
			require.ErrorIs(t, err, idempotent.ErrDigest)
		}
	})
}

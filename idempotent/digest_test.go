package idempotent_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// digestOf returns the SHA-256 member of a Content-Digest.
func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// digest512Of returns the SHA-512 member of a Content-Digest.
func digest512Of(body string) string {
	sum := sha512.Sum512([]byte(body))
	return "sha-512=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// upload returns a request with a body and Content-Digest lines.
func upload(body string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader(body))
	r.Header["Content-Digest"] = lines
	return r
}

// requireMismatch checks that err is the answer to a body that does not match its Content-Digest.
func requireMismatch(t *testing.T, err error) {
	t.Helper()
	require.Equal(t, apierror.CodeParameterInvalid, apierror.CodeOf(err))
	require.Equal(t, "Content-Digest", apierror.From(err).Param())
}

// bodyOf returns the body function of a FingerprintFunc, and whether it was called.
func bodyOf(r *http.Request) (body func() ([]byte, error), called *bool) {
	called = new(bool)
	return func() ([]byte, error) { *called = true; return io.ReadAll(r.Body) }, called
}

func TestContentDigestIsADictionary(t *testing.T) {
	t.Parallel()
	good, wrong := digestOf("body"), digestOf("BODY")
	good512, wrong512 := digest512Of("body"), digest512Of("BODY")
	unpadded := strings.TrimRight(strings.TrimSuffix(good, ":"), "=") + ":"
	const digits12, digits15 = "123456789012", "123456789012345"

	for name, lines := range map[string][]string{
		"alone":                     {good},
		"without padding":           {unpadded},
		"space around":              {"  " + good + "  "},
		"space around a comma":      {"md5=:AAAA: \t , \t " + good},
		"after another":             {"md5=:AAAA:," + good},
		"before another":            {good + ",md5=:AAAA:"},
		"two lines":                 {"md5=:AAAA:", good},
		"parameter":                 {good + ";a=b"},
		"parameters":                {good + `;a;b=1;  c="x;,y";*d=?0;e=:AA==:;f=*t`},
		"last of two":               {wrong + ", " + good},
		"last of two lines":         {wrong, good},
		"last of two, other type":   {"sha-256=1, " + good},
		"last of two, too short":    {"sha-256=:AAAA:, " + good},
		"sha-512":                   {good512},
		"strongest, first":          {good512 + "," + wrong},
		"strongest, last":           {wrong + "," + good512},
		"last of two sha-512":       {wrong512 + "," + wrong + "," + good512},
		"integers":                  {"a=0,b=-1,c=" + digits15 + ",d=-" + digits15 + "," + good},
		"decimals":                  {"a=0.0,b=-1.123,c=" + digits12 + ".123," + good},
		"strings":                   {`a="",b=" !~",c="\"\\",d="sha-256=:AAAA:,(",` + good},
		"tokens":                    {"a=a,b=*,c=A!#$%&'*+-.^_`|~:/9z," + good},
		"byte sequences":            {"a=::,b=:AA==:,c=:+/09azAZ:,d=:AA:,e=:AAA:," + good},
		"booleans":                  {"a,b=?0,c=?1,d;x," + good},
		"inner lists":               {`a=(),b=( ),c=(1),d=( 1  "a)" t;x=1  c );y,e=(a;b c);d=1,` + good},
		"keys":                      {"*=1,a*-._0z=1,z=1," + good},
		"key that begins the same":  {"sha-256x=1,sha-25=1," + good},
		"key of another's length":   {"sha-512-256=:AAAA:," + good},
		"known name as a parameter": {good + ";sha-256=1;sha-512=:AAAA:"},
	} {
		r := upload("body", lines...)
		body, called := bodyOf(r)
		_, err := idempotent.FingerprintDigest(r, body)
		require.NoError(t, err, name)
		require.False(t, *called, name)
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err, name)
		require.Equal(t, "body", string(got), name)
	}

	for name, lines := range map[string][]string{
		"no field":         nil,
		"empty":            {""},
		"blank":            {"   "},
		"another":          {"md5=:AAAA:"},
		"other case":       {"a=SHA-256"},
		"inner list":       {"sha=(sha-256 sha-512)"},
		"parameter of one": {"a;sha-256=:AAAA:"},
	} {
		r := upload("body", lines...)
		body, called := bodyOf(r)
		fp, err := idempotent.FingerprintDigest(r, body)
		require.NoError(t, err, name)
		require.True(t, *called, name)
		require.Equal(t, idempotent.FingerprintOf(r, []byte("body")), fp, name)
	}

	for name, lines := range map[string][]string{
		"not a byte sequence":         {"sha-256=abc"},
		"boolean":                     {"sha-256"},
		"inner list of the right one": {"sha-256=(" + strings.TrimPrefix(good, "sha-256=") + ")"},
		"string":                      {`sha-512="` + strings.Repeat("a", 64) + `"`},
		"not base64":                  {"sha-256=:!:"},
		"too short":                   {"sha-256=:AAAA:"},
		"empty bytes":                 {"sha-512=::"},
		"sha-512 of another's length": {strings.Replace(good, "256", "512", 1)},
		"weaker one is malformed":     {good512 + ",sha-256=:AAAA:"},
		"last of two is malformed":    {good + ",sha-256"},
		"comma":                       {","},
		"trailing comma":              {good + ","},
		"trailing comma and space":    {good + ", "},
		"leading comma":               {"," + good},
		"two commas":                  {"a=1,," + good},
		"empty line among others":     {"", good},
		"no comma":                    {good + " " + "a=1"},
		"no comma, run together":      {good + "a=1"},
		"upper-case key":              {"SHA-256" + strings.TrimPrefix(good, "sha-256")},
		"key begins with a digit":     {"1=1," + good},
		"key begins with a hyphen":    {"-a=1," + good},
		"key of other characters":     {"a!=1," + good},
		"no key":                      {"=1," + good},
		"no value":                    {"a=," + good},
		"no value at the end":         {good + ",a="},
		"space before =":              {"a =1," + good},
		"space after =":               {"a= 1," + good},
		"open bytes":                  {"a=:AAAA," + good},
		"open bytes at the end":       {good + ",a=:AAAA"},
		"colon alone":                 {good + ",a=:"},
		"padding in the middle":       {"a=:A=AA:," + good},
		"too much padding":            {"a=:AAAA=:," + good},
		"padding alone":               {"a=:=:," + good},
		"one character":               {"a=:A:," + good},
		"URL alphabet":                {"a=:A-_A:," + good},
		"line break in bytes":         {"a=:AA\nAA:," + good},
		"space in bytes":              {"a=:AA AA:," + good},
		"open string":                 {good + `,a="b`},
		"unknown escape":              {`a="\n",` + good},
		"escape at the end":           {good + `,a="\`},
		"control character":           {"a=\"\x1f\"," + good},
		"delete":                      {"a=\"\x7f\"," + good},
		"not ASCII":                   {"a=\"é\"," + good},
		"token begins with a mark":    {"a=!b," + good},
		"token of other characters":   {"a=b@c," + good},
		"boolean 2":                   {"a=?2," + good},
		"boolean without a digit":     {good + ",a=?"},
		"minus":                       {"a=-," + good},
		"minus a token":               {"a=-a," + good},
		"two minuses":                 {"a=--1," + good},
		"plus":                        {"a=+1," + good},
		"integer of 16 digits":        {"a=" + digits15 + "6," + good},
		"decimal of 13 digits":        {"a=" + digits12 + "3.1," + good},
		"decimal of 4 places":         {"a=1.1234," + good},
		"decimal without places":      {"a=1.," + good},
		"decimal without digits":      {"a=.1," + good},
		"minus and point":             {"a=-.1," + good},
		"two points":                  {"a=1.1.1," + good},
		"open inner list":             {good + ",a=(1"},
		"open inner list, space":      {good + ",a=(1 "},
		"inner list, nothing":         {good + ",a=("},
		"inner list with commas":      {"a=(1,2)," + good},
		"inner list, run together":    {`a=("a""b"),` + good},
		"inner list, tab":             {"a=(1\t2)," + good},
		"nested inner list":           {"a=((1))," + good},
		"inner list, bad item":        {"a=(1 @)," + good},
		"inner list, bad number":      {"a=(1.)," + good},
		"inner list, bad number 2":    {"a=(1. 2)," + good},
		"open string, then a member":  {good + `,a=",b`},
		"token begins with a slash":   {"a=/b," + good},
		"token with a bracket":        {"a=b[," + good},
		"token with a brace":          {"a=b{," + good},
		"item begins with a bracket":  {"a=[," + good},
		"item begins with a brace":    {"a={," + good},
		"key begins with a backtick":  {"`=1," + good},
		"key begins with a brace":     {"{=1," + good},
		"key with a backtick":         {"a`=1," + good},
		"key with a brace":            {"a{=1," + good},
		"key with a slash":            {"a/=1," + good},
		"inner list, bad parameter":   {"a=(1;=1)," + good},
		"bad parameter":               {good + ";"},
		"upper-case parameter":        {good + ";A=1"},
		"no parameter's value":        {good + ";a="},
		"inner list as a parameter":   {good + ";a=(1)"},
		"space before ;":              {good + " ;a=1"},
		"tab after ;":                 {good + ";\ta=1"},
		"leading tab":                 {"\t" + good},
		"date of RFC 9651":            {"a=@1659578233," + good},
	} {
		r := upload("body", lines...)
		body, called := bodyOf(r)
		fp, err := idempotent.FingerprintDigest(r, body)
		require.Error(t, err, name)
		require.Equal(t, http.StatusBadRequest, apierror.From(err).Status(), name)
		require.Equal(t, apierror.CodeParameterInvalid, apierror.From(err).Code(), name)
		require.Equal(t, "Content-Digest", apierror.From(err).Param(), name)
		require.NotContains(t, err.Error(), "=", name)
		require.Zero(t, fp, name)
		require.False(t, *called, name)
	}
}

func TestDigestIsTheFingerprint(t *testing.T) {
	t.Parallel()
	of := func(body string, lines ...string) idempotent.Fingerprint {
		fp, err := idempotent.FingerprintDigest(upload(body, lines...), nil)
		require.NoError(t, err)
		return fp
	}
	base := of("body", digestOf("body"))
	require.Equal(t, base, of("", digestOf("body")), "the body is not read yet")
	require.Equal(t, base, of("body", "md5=:AAAA:", strings.TrimRight(digestOf("body"), ":=")+":;a"), "another spelling")
	require.NotEqual(t, base, of("body", digestOf("BODY")))
	require.NotEqual(t, base, of("body", digest512Of("body")))
	require.Equal(t, of("body", digest512Of("body")), of("body", digestOf("body"), digest512Of("body")))
}

func TestUploadIsCheckedAgainstItsDigest(t *testing.T) {
	t.Parallel()
	for name, digest := range map[string]func(string) string{"sha-256": digestOf, "sha-512": digest512Of} {
		for _, body := range []string{"", "b", strings.Repeat("body", 10000)} {
			r := upload(body, digest(body))
			_, err := idempotent.FingerprintDigest(r, nil)
			require.NoError(t, err)
			require.NoError(t, iotest.TestReader(r.Body, []byte(body)), "%s: %d", name, len(body))
			require.NoError(t, r.Body.Close())

			r = upload(body, digest(body+"x"))
			_, err = idempotent.FingerprintDigest(r, nil)
			require.NoError(t, err)
			for range 2 {
				_, err = io.ReadAll(r.Body)
				requireMismatch(t, err)
			}
		}
	}
}

func TestDigestIsCheckedAtTheLastByte(t *testing.T) {
	t.Parallel()
	r := upload("body", digestOf("BODY"))
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	n, err := io.ReadFull(r.Body, make([]byte, 3))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	n, err = r.Body.Read(make([]byte, 1)) // does not see io.EOF
	requireMismatch(t, err)
	require.Zero(t, n)
}

// A Read may return no bytes without an error.
func TestEmptyReadDoesNotEndAnUpload(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{-1, 0, 4} {
		r := upload("", digestOf("body"))
		r.Body = io.NopCloser(iotest.OneByteReader(strings.NewReader("body")))
		r.ContentLength = length
		_, err := idempotent.FingerprintDigest(r, nil)
		require.NoError(t, err)
		_, err = r.Body.Read(nil)
		require.NoError(t, err)
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "body", string(got))
	}
}

func TestReadErrorIsNoDigestMismatch(t *testing.T) {
	t.Parallel()
	r := upload("", digestOf("body"))
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("bo"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	got, err := io.ReadAll(r.Body)
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Equal(t, "bo", string(got))
}

func TestReadErrorAtTheLastByteIsNoDigestMismatch(t *testing.T) {
	t.Parallel()
	r := upload("body", digestOf("BODY"))
	r.Body = io.NopCloser(iotest.DataErrReader(io.MultiReader(strings.NewReader("body"), iotest.ErrReader(io.ErrUnexpectedEOF))))
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	n, err := r.Body.Read(make([]byte, 4))
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Equal(t, 4, n)
}

func TestUploadCloseReturnsItsError(t *testing.T) {
	t.Parallel()
	r := upload("", digestOf("body"))
	r.Body = unclosable{r.Body}
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	require.Equal(t, errClose, r.Body.Close())
}

func TestUploadIsRecordedIfItMatches(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 3<<20)
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, "bad upload", http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: idempotent.FingerprintDigest})(&h)
	put := func(key, digest string, body io.Reader) reply {
		r := httptest.NewRequest(http.MethodPut, "/file", body)
		r.Header.Set("Idempotency-Key", key)
		r.Header.Set("Content-Digest", digest)
		return do(mw, r)
	}

	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))
	require.Equal(t, http.StatusBadRequest, put("k", digestOf(body), broken).Status)
	wrong := put("k", digestOf(body), strings.NewReader(body[1:]+"y"))
	require.Equal(t, http.StatusBadRequest, wrong.Status)
	require.False(t, wrong.replayed())
	require.Equal(t, http.StatusCreated, put("k", digestOf(body), strings.NewReader(body)).Status)
	require.True(t, put("k", digestOf(body), strings.NewReader(body)).replayed())
	require.Equal(t, http.StatusConflict, put("k", digestOf("other"), strings.NewReader("other")).Status)
	require.EqualValues(t, 3, h.runs.Load())

	unknown := put("n", "md5=:AAAA:", strings.NewReader(body))
	require.Equal(t, http.StatusRequestEntityTooLarge, unknown.Status, "the body is the fingerprint, and too large")
	require.Equal(t, http.StatusCreated, put("n", "md5=:AAAA:, "+digestOf(body), strings.NewReader(body)).Status)
}

func TestDigestErrorsAreClientErrors(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: idempotent.FingerprintDigest})(
		apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.Copy(io.Discard, r.Body)
			return err
		}))
	for name, digest := range map[string]string{
		"of another body": digestOf("other"), "token": "sha-256=abc", "not base64": "sha-256=:!:", "short": "sha-256=:AAAA:",
		"boolean": "sha-256", "comma": ",",
	} {
		r := keyedRequest("k", strings.NewReader("body"))
		r.Header.Set("Content-Digest", digest)
		got := do(mw, r)
		require.Equal(t, http.StatusBadRequest, got.Status, name)
		require.Contains(t, got.Body, `"param":"Content-Digest"`, name)
		require.Equal(t, "false", got.Header.Get("X-Should-Retry"), name)
	}
}

func FuzzContentDigest(f *testing.F) {
	for _, seed := range []string{
		"", ",", digestOf("body"), "md5=:AAAA:, " + digestOf("body"), "sha-256=:AAAA:", "sha-512=::", "sha-256",
		digestOf("body") + ";a=b", digestOf("BODY") + ", " + digestOf("body"), digest512Of("body") + `;a="\"";b`,
		`a=(1 "b";c d),b=-1.5,c=?1,d=*t,` + digestOf("body"), digestOf("body") + ",a=(", "a=1.", "a=-",
		" ", "        0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		r := upload("body", field)
		body, called := bodyOf(r)
		fp, err := idempotent.FingerprintDigest(r, body)
		if err != nil {
			require.Equal(t, http.StatusBadRequest, apierror.From(err).Status())
			require.Zero(t, fp)
			require.False(t, *called)
			return
		}
		if *called {
			return
		}
		got, err := io.ReadAll(r.Body) // only the digest of the body passes
		if err == nil {
			require.Equal(t, "body", string(got))
			require.Contains(t, field, "=:")
		} else {
			requireMismatch(t, err)
		}
		// A parameter, another member, and an earlier one of the same key change nothing.
		field = strings.Trim(field, " ")
		for _, same := range [][]string{{field + ";a=1"}, {field + ", x=(1 2)"}, {"sha-256=1, sha-512=()", field}} {
			again, err := idempotent.FingerprintDigest(upload("body", same...), nil)
			if err != nil {
				require.Len(t, same, 2) // field does not name the algorithm
				continue
			}
			require.Equal(t, fp, again, "%q and %q", field, same)
		}
	})
}

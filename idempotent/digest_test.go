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

// digestOf is the member of a Content-Digest for a body.
func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

func digest512Of(body string) string {
	sum := sha512.Sum512([]byte(body))
	return "sha-512=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// upload is a request with a body and Content-Digest lines.
func upload(body string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader(body))
	r.Header["Content-Digest"] = lines
	return r
}

// bodyOf is the function body of a FingerprintFunc, and whether it was called.
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
	require.Equal(t, base, of("body", "md5=:AAAA:", strings.TrimRight(digestOf("body"), ":=")+":;a"), "spelled otherwise")
	require.NotEqual(t, base, of("body", digestOf("BODY")))
	require.NotEqual(t, base, of("body", digest512Of("body")))
	require.Equal(t, of("body", digest512Of("body")), of("body", digestOf("body"), digest512Of("body")))
}

func TestUploadIsComparedWithItsDigest(t *testing.T) {
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
				require.ErrorIs(t, err, idempotent.ErrDigest, "%s: %d", name, len(body))
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
	require.NoError(t, err, "a part says nothing yet")
	require.Equal(t, 3, n)
	n, err = r.Body.Read(make([]byte, 1)) // never sees the end
	require.ErrorIs(t, err, idempotent.ErrDigest)
	require.Zero(t, n)
}

// A reader may return nothing, without an error, wherever it is.
func TestReadOfNothingIsNotTheEndOfAnUpload(t *testing.T) {
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

func TestUploadThatBreaksIsNoMismatch(t *testing.T) {
	t.Parallel()
	r := upload("", digestOf("body"))
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("bo"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	got, err := io.ReadAll(r.Body)
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Equal(t, "bo", string(got))
}

// lastRead returns all of its text together with its error.
type lastRead struct {
	text string
	err  error
}

func (r lastRead) Read(p []byte) (int, error) { return copy(p, r.text), r.err }

func TestErrorAtTheLastByteOfAnUploadIsTheClients(t *testing.T) {
	t.Parallel()
	r := upload("body", digestOf("BODY"))
	r.Body = io.NopCloser(lastRead{"body", io.ErrUnexpectedEOF})
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	n, err := r.Body.Read(make([]byte, 4))
	require.Equal(t, io.ErrUnexpectedEOF, err)
	require.Equal(t, 4, n)
}

type closed struct {
	io.Reader
	err error
}

func (c closed) Close() error { return c.err }

func TestUploadIsClosed(t *testing.T) {
	t.Parallel()
	r := upload("", digestOf("body"))
	r.Body = closed{r.Body, io.ErrClosedPipe}
	_, err := idempotent.FingerprintDigest(r, nil)
	require.NoError(t, err)
	require.Equal(t, io.ErrClosedPipe, r.Body.Close())
}

func FuzzContentDigest(f *testing.F) {
	for _, seed := range []string{
		"", ",", digestOf("body"), "md5=:AAAA:, " + digestOf("body"), "sha-256=:AAAA:", "sha-512=::", "sha-256",
		digestOf("body") + ";a=b", digestOf("BODY") + ", " + digestOf("body"), digest512Of("body") + `;a="\"";b`,
		`a=(1 "b";c d),b=-1.5,c=?1,d=*t,` + digestOf("body"), digestOf("body") + ",a=(", "a=1.", "a=-",
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
		got, err := io.ReadAll(r.Body) // nothing but the digest of the body passes
		if err == nil {
			require.Equal(t, "body", string(got))
			require.Contains(t, field, "=:")
		} else {
			require.ErrorIs(t, err, idempotent.ErrDigest)
		}
		// A parameter, another member, and an earlier one of the same key change nothing.
		field = strings.Trim(field, " ")
		for _, same := range [][]string{{field + ";a=1"}, {field + ", x=(1 2)"}, {"sha-256=1, sha-512=()", field}} {
			again, err := idempotent.FingerprintDigest(upload("body", same...), nil)
			if err != nil {
				require.Len(t, same, 2) // the algorithm that field does not name
				continue
			}
			require.Equal(t, fp, again, "%q and %q", field, same)
		}
	})
}

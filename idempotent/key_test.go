package idempotent_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestKey(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 255)
	for name, c := range map[string]struct {
		lines []string
		want  string
		err   string
	}{
		"bare":                {lines: []string{"abc"}, want: "abc"},
		"quoted is the same":  {lines: []string{`"abc"`}, want: "abc"},
		"surrounding space":   {lines: []string{" \tabc "}, want: "abc"},
		"uuid":                {lines: []string{"8e03978e-40d5-43dd-bc93-6894a57f9324"}, want: "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		"escaped quote":       {lines: []string{`"a\"b\\c"`}, want: `a"b\c`},
		"bare with quote":     {lines: []string{`a"b`}, want: `a"b`},
		"bare with comma":     {lines: []string{"a,b"}, want: "a,b"},
		"longest":             {lines: []string{long}, want: long},
		"longest quoted":      {lines: []string{`"` + long + `"`}, want: long},
		"two lines":           {lines: []string{"a", "a"}, err: "must be sent once"},
		"empty":               {lines: []string{""}, err: "must not be empty"},
		"blank":               {lines: []string{" \t"}, err: "must not be empty"},
		"empty quoted":        {lines: []string{`""`}, err: "must not be empty"},
		"too long":            {lines: []string{long + "k"}, err: "must be at most 255 characters"},
		"too long quoted":     {lines: []string{`"` + long + `k"`}, err: "must be at most 255 characters"},
		"inner space":         {lines: []string{"a b"}, err: "must be visible ASCII characters"},
		"quoted space":        {lines: []string{`"a b"`}, err: "must be visible ASCII characters"},
		"control character":   {lines: []string{"a\x00b"}, err: "must be visible ASCII characters"},
		"delete":              {lines: []string{"a\x7f"}, err: "must be visible ASCII characters"},
		"not ASCII":           {lines: []string{"ключ"}, err: "must be visible ASCII characters"},
		"open quote":          {lines: []string{`"abc`}, err: "is not a well-formed quoted string"},
		"lone quote":          {lines: []string{`"`}, err: "is not a well-formed quoted string"},
		"escaped end":         {lines: []string{`"abc\"`}, err: "is not a well-formed quoted string"},
		"unknown escape":      {lines: []string{`"a\nb"`}, err: "is not a well-formed quoted string"},
		"quote in the middle": {lines: []string{`"a"b"`}, err: "is not a well-formed quoted string"},
		"parameters":          {lines: []string{`"abc";v=1`}, err: "is not a well-formed quoted string"},
		"list of two":         {lines: []string{`"a", "b"`}, err: "is not a well-formed quoted string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := idempotent.ParseKey(c.lines)
			if c.err != "" {
				require.EqualError(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, key)
		})
	}
}

func TestBadKeyIsRefusedAndNotTold(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	for _, key := range []string{"", "SECRET SECRET", `"SECRET`, "SECRET\x01"} {
		r := call(mw, key, "")
		require.Equal(t, http.StatusBadRequest, r.Status)
		require.Contains(t, r.Body, `"param":"Idempotency-Key"`)
		require.Contains(t, r.Body, "parameter_invalid")
		require.NotContains(t, r.Body, "SECRET")
	}
	require.Zero(t, h.runs.Load())
}

func TestQuotedKeyIsTheSameKey(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	call(mw, "abc", "")
	require.True(t, call(mw, `"abc"`, "").replayed())
}

func TestKeyIsOptionalUnlessRequired(t *testing.T) {
	t.Parallel()
	var h counter
	bare := func(mw http.Handler, method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		return w
	}
	optional := idempotent.New(memory(), idempotent.Global, nil)(&h)
	required := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Required: true})(&h)

	require.Equal(t, http.StatusCreated, bare(optional, http.MethodPost).Code)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		require.Equal(t, http.StatusCreated, bare(required, method).Code, method)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		w := bare(required, method)
		require.Equal(t, http.StatusBadRequest, w.Code, method)
		require.Contains(t, w.Body.String(), `"code":"parameter_missing"`)
		require.Contains(t, w.Body.String(), `"param":"Idempotency-Key"`)
	}
	require.EqualValues(t, 4, h.runs.Load())
}

func TestKeyIsRequiredOnOneRouteWithinAnother(t *testing.T) {
	t.Parallel()
	var h counter
	store := memory()
	inner := idempotent.New(store, idempotent.Global, &idempotent.Options{Required: true})(&h)
	mw := idempotent.New(store, idempotent.Global, nil)(inner)

	w := httptest.NewRecorder()
	mw.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, http.StatusCreated, call(mw, "k", "body").Status)
	require.True(t, call(mw, "k", "body").replayed())
	require.EqualValues(t, 1, h.runs.Load())
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"a\"b\\"`, `"`, `"\`, "", " ", "a b", "é", strings.Repeat("k", 256)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := idempotent.ParseKey([]string{line})
		if err != nil {
			require.Empty(t, key)
			return
		}
		require.NotEmpty(t, key)
		require.LessOrEqual(t, len(key), 255)
		require.NotContains(t, key, " ")
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		again, err := idempotent.ParseKey([]string{quoted})
		require.NoError(t, err)
		require.Equal(t, key, again)
	})
}

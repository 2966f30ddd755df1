package idempotent_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestParseKey(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 255)
	for name, c := range map[string]struct {
		lines []string
		want  string
		err   string
	}{
		"bare":                {lines: []string{"abc"}, want: "abc"},
		"quoted is the same":  {lines: []string{`"abc"`}, want: "abc"},
		"surrounding space":   {lines: []string{" \tabc\t "}, want: "abc"},
		"space around quotes": {lines: []string{" \t\"abc\"\t "}, want: "abc"},
		"uuid":                {lines: []string{"8e03978e-40d5-43dd-bc93-6894a57f9324"}, want: "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		"one character":       {lines: []string{"a"}, want: "a"},
		"first and last":      {lines: []string{"!~"}, want: "!~"},
		"quoted first, last":  {lines: []string{`"!~"`}, want: "!~"},
		"escaped quote":       {lines: []string{`"a\"b\\c"`}, want: `a"b\c`},
		"escaped backslashes": {lines: []string{`"\\\\\""`}, want: `\\"`},
		"bare with quote":     {lines: []string{`a"b`}, want: `a"b`},
		"bare with backslash": {lines: []string{`a\\b`}, want: `a\\b`},
		"bare with comma":     {lines: []string{"a,b"}, want: "a,b"},
		"longest":             {lines: []string{long}, want: long},
		"longest quoted":      {lines: []string{`"` + long + `"`}, want: long},
		"longest escaped":     {lines: []string{`"` + long[1:] + `\\"`}, want: long[1:] + `\`},
		"no line":             {lines: nil, err: "must be sent once"},
		"two lines":           {lines: []string{"a", "a"}, err: "must be sent once"},
		"empty":               {lines: []string{""}, err: "must not be empty"},
		"blank":               {lines: []string{" \t"}, err: "must not be empty"},
		"empty quoted":        {lines: []string{`""`}, err: "must not be empty"},
		"too long":            {lines: []string{long + "k"}, err: "must be at most 255 characters"},
		"too long quoted":     {lines: []string{`"` + long + `k"`}, err: "must be at most 255 characters"},
		"inner space":         {lines: []string{"a b"}, err: "must be visible ASCII characters"},
		"quoted space":        {lines: []string{`"a b"`}, err: "must be visible ASCII characters"},
		"last is a space":     {lines: []string{`"a "`}, err: "must be visible ASCII characters"},
		"control character":   {lines: []string{"a\x00b"}, err: "must be visible ASCII characters"},
		"quoted control":      {lines: []string{"\"a\x1fb\""}, err: "is not a well-formed quoted string"},
		"delete":              {lines: []string{"a\x7f"}, err: "must be visible ASCII characters"},
		"not ASCII":           {lines: []string{"ключ"}, err: "must be visible ASCII characters"},
		"not ASCII, quoted":   {lines: []string{`"ключ"`}, err: "is not a well-formed quoted string"},
		"open quote":          {lines: []string{`"abc`}, err: "is not a well-formed quoted string"},
		"lone quote":          {lines: []string{`"`}, err: "is not a well-formed quoted string"},
		"escaped end":         {lines: []string{`"abc\"`}, err: "is not a well-formed quoted string"},
		"backslash at end":    {lines: []string{`"abc\`}, err: "is not a well-formed quoted string"},
		"unknown escape":      {lines: []string{`"a\nb"`}, err: "is not a well-formed quoted string"},
		"quote in the middle": {lines: []string{`"a"b"`}, err: "is not a well-formed quoted string"},
		"parameters":          {lines: []string{`"abc";v=1`}, err: "is not a well-formed quoted string"},
		"list of two":         {lines: []string{`"a", "b"`}, err: "is not a well-formed quoted string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := idempotent.ParseKey(c.lines)
			require.Equal(t, c.want, key)
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.err)
		})
	}
}

func TestInvalidKeyIsRefusedAndNotEchoed(t *testing.T) {
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
	optional := idempotent.New(memory(), idempotent.Global, nil)(&h)
	required := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Required: true})(&h)

	require.Equal(t, http.StatusCreated, do(optional, httptest.NewRequest(http.MethodPost, "/", nil)).Status)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		require.Equal(t, http.StatusCreated, do(required, httptest.NewRequest(method, "/", nil)).Status, method)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		r := do(required, httptest.NewRequest(method, "/", nil))
		require.Equal(t, http.StatusBadRequest, r.Status, method)
		require.Contains(t, r.Body, `"code":"parameter_missing"`)
		require.Contains(t, r.Body, `"param":"Idempotency-Key"`)
	}
	require.EqualValues(t, 4, h.runs.Load())
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{
		"abc", `"abc"`, `"a\"b\\"`, `"`, `"\`, "", " ", "a b", "é", strings.Repeat("k", 256),
		`\`, `\\\\`, `00000000""`, strings.Repeat("0", 46) + `"0`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, err := idempotent.ParseKey([]string{line})
		if err != nil {
			require.Empty(t, key)
			require.NotContains(t, err.Error(), `"`)
			return
		}
		require.NotEmpty(t, key)
		require.LessOrEqual(t, len(key), 255)
		require.Equal(t, -1, strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }))
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		again, err := idempotent.ParseKey([]string{quoted})
		require.NoError(t, err)
		require.Equal(t, key, again)
	})
}

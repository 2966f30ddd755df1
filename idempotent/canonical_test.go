package idempotent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestFingerprintJSONComparesDocuments(t *testing.T) {
	t.Parallel()
	of := func(body string) idempotent.Fingerprint {
		return fingerprint(t, idempotent.FingerprintJSON, "application/vnd.x+json", body)
	}
	for name, same := range map[string][2]string{
		"space":             {`{"a":[1,2,{"b":null}]}`, " {\n\t\"a\" : [ 1 , 2 , { \"b\" : null } ]\r } "},
		"order":             {`{"a":1,"b":{"c":2,"d":3},"e":[]}`, `{"e":[],"b":{"d":3,"c":2},"a":1}`},
		"order in an array": {`[{"a":1,"b":2}]`, `[{"b":2,"a":1}]`},
		"names by bytes":    {`{"b":1,"B1":2,"é":3,"":4}`, `{"":4,"é":3,"b":1,"B1":2}`},
		"prefixes":          {`{"a":1,"aa":2,"a,":3,"a\u007d":4}`, `{"a":1,"aa":2,"a,":3,"a\u007d":4}`},
		"scalars":           {`[true,false,null,-1.5e3,"x"]`, `[ true, false, null, -1.5e3, "x" ]`},
		"empty containers":  {`[[],{},[{}],""]`, `[ [ ], { }, [ { } ], "" ]`},
		"scalar alone":      {`1`, "\n1\t"},
		"string alone":      {`"a b"`, ` "a b" `},
		"array alone":       {`[]`, `[ ]`},
		"object alone":      {`{}`, `{ }`},
		"brackets in a string": {
			`{"a":"]}","b":[",","\"","\\",{"c":"{["}]}`, ` { "b" : [ "," , "\"" , "\\" , { "c" : "{[" } ] , "a" : "]}" } `},
	} {
		require.Equal(t, of(same[0]), of(same[1]), name)
	}
	for name, different := range map[string][2]string{
		"value":                   {`{"a":1}`, `{"a":2}`},
		"name":                    {`{"a":1}`, `{"b":1}`},
		"case of a name":          {`{"a":1}`, `{"A":1}`},
		"member":                  {`{"a":1}`, `{"a":1,"b":1}`},
		"number's spelling":       {`1`, `1.0`},
		"large numbers":           {`9007199254740992`, `9007199254740993`},
		"string and number":       {`"1"`, `1`},
		"string and null":         {`"null"`, `null`},
		"string's spelling":       {`"a"`, `"\u0061"`},
		"array order":             {`[1,2]`, `[2,1]`},
		"nesting":                 {`[[1],2]`, `[[1,2]]`},
		"nesting of empty ones":   {`[[],[]]`, `[[[]]]`},
		"array and items":         {`[1,2]`, `[12]`},
		"array of an item":        {`[1]`, `1`},
		"empty array":             {`[]`, `[[]]`},
		"empty object":            {`{}`, `[]`},
		"null and empty":          {`{"a":null}`, `{}`},
		"swapped values":          {`{"a":1,"b":2}`, `{"a":2,"b":1}`},
		"value and next name":     {`{"a":"b","c":1}`, `{"a":"bc","":1}`},
		"moved member":            {`{"a":{"b":1},"c":2}`, `{"a":{"b":1,"c":2}}`},
		"moved item":              {`[{"a":[1]},2]`, `[{"a":[1,2]}]`},
		"object in a string":      {`{"a":"{}"}`, `{"a":{}}`},
		"comma in a string":       {`["a,b"]`, `["a","b"]`},
		"bracket in a string":     {`["a]"]`, `["a"]`},
		"quote in a string":       {`["a\",\"b"]`, `["a","b"]`},
		"backslash in a string":   {`["a\\","b"]`, `["a\\\",\"b"]`},
		"space in a string":       {`"a b"`, `"a  b"`},
		"lone surrogates":         {`"\ud800"`, `"\ud801"`},
		"not UTF-8":               {"\"\xff\"", "\"\xfe\""},
		"not JSON":                {`{"a":1`, `{"a":1 `},
		"order, not JSON":         {`{"a":1,"b":2}x`, `{"b":2,"a":1}x`},
		"two documents":           {`1 2`, `1  2`},
		"nothing":                 {``, ` `},
		"too deep":                {strings.Repeat("[", 10001) + strings.Repeat("]", 10001), strings.Repeat("[", 10001) + " " + strings.Repeat("]", 10001)},
		"repeated name":           {`{"a":1,"a":2}`, `{"a":2,"a":1}`},
		"repeated, apart":         {`{"a":1,"b":0,"a":2}`, `{"a":2,"b":0,"a":1}`},
		"repeated, deep":          {`[{"x":{"a":1,"a":2}}]`, `[{"x":{"a":2,"a":1}}]`},
		"repeated, same value":    {`{"a":1,"a":1}`, `{"a":1}`},
		"repeated in other case":  {`{"amount":1,"Amount":2}`, `{"Amount":2,"amount":1}`},
		"repeated, Kelvin sign":   {"{\"k\":1,\"\u212a\":2}", "{\"\u212a\":2,\"k\":1}"},
		"repeated, long s":        {"{\"s\":1,\"\u017f\":2}", "{\"\u017f\":2,\"s\":1}"},
		"repeated, letter of 3":   {"{\"\u01c4\":1,\"\u01c5\":2}", "{\"\u01c5\":2,\"\u01c4\":1}"},
		"repeated, not UTF-8":     {"{\"\xff\":1,\"\xfe\":2}", "{\"\xfe\":2,\"\xff\":1}"},
		"repeated, and U+FFFD":    {"{\"\xff\":1,\"\ufffd\":2}", "{\"\ufffd\":2,\"\xff\":1}"},
		"escaped name":            {`{"a":1,"\u0061":2}`, `{"\u0061":2,"a":1}`},
		"escaped name alone":      {`{"\u0061":1}`, `{"\u0061": 1}`},
		"escaped quote in a name": {`{"a\"":1}`, `{"a\"": 1}`},
	} {
		require.NotEqual(t, of(different[0]), of(different[1]), name)
	}
}

func TestFingerprintJSONDependsOnTheMediaType(t *testing.T) {
	t.Parallel()
	for contentType, isJSON := range map[string]bool{
		"application/json":                true,
		"Application/JSON; charset=utf-8": true,
		"application/problem+json":        true,
		"text/plain":                      false,
		"text/json":                       false,
		"application/jsonp":               false,
		"application/json-seq":            false,
		"json":                            false,
		"":                                false,
	} {
		of := func(body string) idempotent.Fingerprint {
			return fingerprint(t, idempotent.FingerprintJSON, contentType, body)
		}
		require.Equal(t, isJSON, of("[1]") == of("[1] "), contentType)
	}
}

func TestCanonicalFormOfDeepJSONIsSmall(t *testing.T) {
	t.Parallel()
	const depth = 9000
	body := strings.Repeat(`{"a":`, depth) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat("}", depth)
	canonical, ok := idempotent.CanonicalJSON([]byte(body))
	require.True(t, ok)
	require.Less(t, len(canonical), 100, "an object is replaced by its hash")
}

// reference returns the canonical form that encoding/json gives: decoded, and encoded with sorted
// names.
func reference(t *testing.T, b []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	out, err := json.Marshal(v)
	require.NoError(t, err)
	return string(out)
}

// writeJSON writes v, a value that encoding/json decodes into any, in a random spelling.
func writeJSON(b *strings.Builder, rng *rand.Rand, v any) {
	space := func() { b.WriteString([]string{"", "", " ", "\n", "\t\r"}[rng.IntN(5)]) }
	space()
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			fmt.Fprintf(b, `"%s"`, name)
			space()
			b.WriteByte(':')
			writeJSON(b, rng, v[name])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, rng, item)
		}
		space()
		b.WriteByte(']')
	default:
		out, _ := json.Marshal(v)
		b.Write(out)
	}
	space()
}

func randomJSON(rng *rand.Rand, depth int) any {
	switch n := rng.IntN(7); {
	case n == 0 && depth > 0:
		m := map[string]any{}
		for range rng.IntN(4) {
			m[[]string{"", "a", "b", "ab", ",", "]}", "{"}[rng.IntN(7)]] = randomJSON(rng, depth-1)
		}
		return m
	case n <= 2 && depth > 0:
		s := make([]any, rng.IntN(3))
		for i := range s {
			s[i] = randomJSON(rng, depth-1)
		}
		return s
	case n == 3:
		return json.Number([]string{"0", "1", "12", "-1", "1.0", "1e3"}[rng.IntN(6)])
	case n == 4:
		return []any{true, false, nil}[rng.IntN(3)]
	default:
		return []string{"", "a", ",", "]", "}", "\"", "\\", "\\\"", "a\",\"b", "{}", "1", "null"}[rng.IntN(12)]
	}
}

// Documents in random spellings have the same canonical form if and only if they are equal.
func TestCanonicalJSONAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	canonicals, references := map[string]string{}, map[string]string{}
	for range 20000 {
		v := randomJSON(rng, 3)
		var b strings.Builder
		writeJSON(&b, rng, v)
		canonical, ok := idempotent.CanonicalJSON([]byte(b.String()))
		require.True(t, ok, b.String())
		ref := reference(t, []byte(b.String()))
		if other, seen := canonicals[ref]; seen {
			require.Equal(t, other, string(canonical), "%s has two canonical forms", ref)
		}
		if other, seen := references[string(canonical)]; seen {
			require.Equal(t, other, ref, "one canonical form for two documents")
		}
		canonicals[ref], references[string(canonical)] = string(canonical), ref
	}
	require.Greater(t, len(references), 3000)
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":1,"b":[{}, "x\"y"]}`, `[[],{}]`, `"`, `{"a":1,"a":2}`, ` 1 `, `{"":{"":""}}`, `nul`,
		`["a,b","]","}","\\"]`, `{"a":1,"A":2}`, `{"\u0061":1}`, "{\"\xff\":1,\"\xfe\":2}", `{"b":[1,{"d":2,"c":[]}],"a":{}}`,
		"[[[[0", "[]0", "{\"\":\"\x1c", `\`, "[000", "10", "0\n\n", "0\r ", "{\x06",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := idempotent.CanonicalJSON(b)
		if !ok {
			return
		}
		require.True(t, json.Valid(b))
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, b, " ", "\t"))
		again, ok := idempotent.CanonicalJSON(indented.Bytes())
		require.True(t, ok)
		require.True(t, bytes.Equal(c, again))

		// The reference spells strings in another way, and replaces invalid UTF-8.
		spelled := reference(t, b)
		require.Equal(t, spelled, reference(t, []byte(spelled)))
		if bytes.IndexByte(b, '\\') < 0 && bytes.Equal(bytes.ToValidUTF8(b, nil), b) && !strings.Contains(spelled, `\`) {
			again, ok = idempotent.CanonicalJSON([]byte(spelled))
			require.True(t, ok)
			require.True(t, bytes.Equal(c, again), "%s and %s", b, spelled)
		}
	})
}

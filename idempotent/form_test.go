package idempotent_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

const urlencoded = "application/x-www-form-urlencoded"

// formPart is a part of a multipart form. It is a file if it has a file name.
type formPart struct{ name, file, contentType, content string }

// encodeForm returns a multipart form with a random boundary.
func encodeForm(t testing.TB, parts ...formPart) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		params := map[string]string{"name": p.name}
		if p.file != "" {
			params["filename"] = p.file
		}
		h := textproto.MIMEHeader{"Content-Disposition": {mime.FormatMediaType("form-data", params)}}
		if p.contentType != "" {
			h.Set("Content-Type", p.contentType)
		}
		part, err := w.CreatePart(h)
		require.NoError(t, err)
		_, _ = io.WriteString(part, p.content)
	}
	require.NoError(t, w.Close())
	return w.FormDataContentType(), b.String()
}

func TestFingerprintFormComparesURLEncodedFields(t *testing.T) {
	t.Parallel()
	of := func(body string) idempotent.Fingerprint {
		return fingerprint(t, idempotent.FingerprintForm, urlencoded+"; charset=utf-8", body)
	}
	for name, same := range map[string][2]string{
		"order of different names": {"a=1&b=2&c=3", "c=3&b=2&a=1"},
		"order among values":       {"a=1&b=2&a=3", "b=2&a=1&a=3"},
		"escaped letter":           {"a=b", "%61=%62"},
		"case of an escape":        {"a=%2f", "a=%2F"},
		"escaped or not":           {"a=/", "a=%2f"},
		"space":                    {"a=+", "a=%20"},
		"plus":                     {"a=%2B", "a=%2b"},
		"empty pieces":             {"a=1&b=2", "&a=1&&b=2&"},
		"no equals sign":           {"a", "a="},
		"nothing":                  {"", "&"},
	} {
		require.Equal(t, of(same[0]), of(same[1]), name)
	}
	for name, different := range map[string][2]string{
		"value":                {"a=1", "a=2"},
		"name":                 {"a=1", "b=1"},
		"case of a name":       {"a=1", "A=1"},
		"order of values":      {"a=1&a=2", "a=2&a=1"},
		"one more":             {"a=1", "a=1&a=1"},
		"one less":             {"a=1&b=", "a=1"},
		"empty name":           {"=1", ""},
		"swapped":              {"a=1&b=2", "a=2&b=1"},
		"escaped ampersand":    {"a=1%26b=2", "a=1&b=2"},
		"escaped equals sign":  {"a%3d=", "a=%3d"},
		"plus and space":       {"a=%2B", "a=+"},
		"bytes, not text":      {"a=%ff", "a=%fe"},
		"order, not a form":    {"a=1&b=%zz", "b=%zz&a=1"},
		"semicolon":            {"a=1;b=2", "b=2;a=1"},
		"spelling, not a form": {"a=1&%", "%61=1&%"},
	} {
		require.NotEqual(t, of(different[0]), of(different[1]), name)
	}
}

func TestFingerprintFormComparesPartsOfMultipartForms(t *testing.T) {
	t.Parallel()
	of := func(parts ...formPart) idempotent.Fingerprint {
		contentType, body := encodeForm(t, parts...)
		return fingerprint(t, idempotent.FingerprintForm, contentType, body)
	}
	a, b := formPart{name: "a", content: "1"}, formPart{name: "b", content: "2"}
	file := formPart{name: "f", file: "x.txt", contentType: "text/plain", content: strings.Repeat("content\r\n--", 5000)}
	base := of(a, b, file)

	require.Equal(t, base, of(a, b, file), "with another boundary")
	require.Equal(t, base, of(file, b, a), "in another order of names")
	require.Equal(t, of(a, b, formPart{name: "a", content: "3"}), of(b, a, formPart{name: "a", content: "3"}))

	change := func(f func(p *formPart)) formPart {
		p := file
		f(&p)
		return p
	}
	for name, different := range map[string][]formPart{
		"value":           {{name: "a", content: "2"}, b, file},
		"name":            {{name: "A", content: "1"}, b, file},
		"missing field":   {a, file},
		"one more":        {a, a, b, file},
		"empty field":     {a, b, file, {name: "c"}},
		"swapped values":  {{name: "a", content: "2"}, {name: "b", content: "1"}, file},
		"field's type":    {{name: "a", content: "1", contentType: "text/plain"}, b, file},
		"field as a file": {{name: "a", content: "1", file: "a"}, b, file},
		"file name":       {a, b, change(func(p *formPart) { p.file = "y.txt" })},
		"file's folder":   {a, b, change(func(p *formPart) { p.file = "y/x.txt" })},
		"file's type":     {a, b, change(func(p *formPart) { p.contentType = "text/html" })},
		"file's content":  {a, b, change(func(p *formPart) { p.content = p.content[1:] + "x" })},
		"file's length":   {a, b, change(func(p *formPart) { p.content += "\r\n" })},
		"empty file":      {a, b, change(func(p *formPart) { p.content = "" })},
	} {
		require.NotEqual(t, base, of(different...), name)
	}
	require.NotEqual(t, of(a, formPart{name: "a", content: "3"}), of(formPart{name: "a", content: "3"}, a), "order of values")
	require.NotEqual(t, of(a, formPart{name: "a", file: "x"}), of(formPart{name: "a", file: "x"}, a), "order of a value and a file")
	require.NotEqual(t, of(a, b), of(formPart{name: "a", content: "1\r\n2"}), "two parts in one")
}

func TestFingerprintFormComparesHeadersOfParts(t *testing.T) {
	t.Parallel()
	of := func(header ...string) idempotent.Fingerprint {
		body := "--b\r\n" + strings.Join(header, "\r\n") + "\r\n\r\nvalue\r\n--b--\r\n"
		return fingerprint(t, idempotent.FingerprintForm, "multipart/form-data; boundary=b", body)
	}
	const disposition, text = `Content-Disposition: form-data; name="a"; filename="f"`, "Content-Type: text/plain"
	base := of(disposition, text)
	require.Equal(t, base, of(text, disposition), "order of header fields")
	require.Equal(t, base, of(strings.ToLower(disposition), "CONTENT-TYPE:text/plain"), "case of their names, and space")
	for name, header := range map[string][]string{
		"parameter":         {text, `Content-Disposition: form-data; name="a"; filename="f"; size=5`},
		"extended name":     {text, `Content-Disposition: form-data; name="a"; filename="f"; filename*=utf-8''g`},
		"kind":              {text, `Content-Disposition: attachment; name="a"; filename="f"`},
		"encoding":          {text, disposition, "Content-Transfer-Encoding: quoted-printable"},
		"any field":         {text, disposition, "X: y"},
		"field twice":       {text, text, disposition},
		"run together":      {"Content-Type: text/plainContent-Type", disposition},
		"name and value":    {text + "x", disposition},
		"no disposition":    {text},
		"type's parameters": {text + "; charset=utf-8", disposition},
	} {
		require.NotEqual(t, base, of(header...), name)
	}
	require.NotEqual(t, of(text, "Content-Type: text/html"), of("Content-Type: text/html", text), "order of lines of one field")
	require.NotEqual(t, of(disposition, "A: B: C"), of(disposition, "A: B", "C:"))
	require.NotEqual(t, of(disposition, "Content-Transfer-Encoding: quoted-printable", "A: b"), of(disposition, "A: b"))
}

func TestHeaderAndContentOfAPartAreSeparate(t *testing.T) {
	t.Parallel()
	of := func(part string) idempotent.Fingerprint {
		return fingerprint(t, idempotent.FingerprintForm, "multipart/form-data; boundary=b", "--b\r\n"+part+"\r\n--b--")
	}
	// The content consists of the bytes as which the header field is hashed.
	content := "\x00\x00\x00\x00\x00\x00\x00\x01B\x00\x00\x00\x00\x00\x00\x00\x01c"
	require.NotEqual(t, of("A: b\r\nB: c\r\n\r\n"), of("A: b\r\n\r\n"+content))
}

func requireByteForByte(t *testing.T, contentType, body, what string) {
	t.Helper()
	require.Equal(t, fingerprint(t, idempotent.FingerprintBody, contentType, body),
		fingerprint(t, idempotent.FingerprintForm, contentType, body), what)
}

func requireForm(t *testing.T, contentType, body, what string) {
	t.Helper()
	require.NotEqual(t, fingerprint(t, idempotent.FingerprintBody, contentType, body),
		fingerprint(t, idempotent.FingerprintForm, contentType, body), what)
}

func TestInvalidFormIsComparedByItsBytes(t *testing.T) {
	t.Parallel()
	const form = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n"
	header := func(s string) string { return "--b\r\n" + s + "\r\n\r\n1\r\n--b--\r\n" }
	longest := strings.Repeat("b", 70)
	for name, c := range map[string]struct{ contentType, body string }{
		"form":                      {"multipart/form-data; boundary=b", form},
		"quoted boundary":           {`Multipart/Form-Data; Boundary="b"`, form},
		"no line break at the end":  {"multipart/form-data; boundary=b", strings.TrimSuffix(form, "\r\n")},
		"something after the end":   {"multipart/form-data; boundary=b", form + "bye"},
		"preamble":                  {"multipart/form-data; boundary=b", "hello\r\n" + form},
		"line feeds only":           {"multipart/form-data; boundary=b", strings.ReplaceAll(form, "\r\n", "\n")},
		"no part":                   {"multipart/form-data; boundary=b", "--b--"},
		"longest boundary":          {"multipart/form-data; boundary=" + longest, strings.ReplaceAll(form, "--b", "--"+longest)},
		"part without a name":       {"multipart/form-data; boundary=b", header("A: b")},
		"urlencoded":                {urlencoded, "a=1"},
		"urlencoded, bad parameter": {urlencoded + "; =", "a=1"},
	} {
		requireForm(t, c.contentType, c.body, name)
	}
	for name, c := range map[string]struct{ contentType, body string }{
		"other type":              {"text/plain", "a=1"},
		"no type":                 {"", "a=1"},
		"other multipart":         {"multipart/mixed; boundary=b", form},
		"no boundary":             {"multipart/form-data", form},
		"empty boundary":          {`multipart/form-data; boundary=""`, strings.ReplaceAll(form, "--b", "--")},
		"other boundary":          {"multipart/form-data; boundary=c", form},
		"two boundaries":          {"multipart/form-data; boundary=b; boundary=c", form},
		"malformed parameters":    {"multipart/form-data; boundary=b; =", form},
		"boundary is too long":    {"multipart/form-data; boundary=b" + longest, strings.ReplaceAll(form, "--b", "--b"+longest)},
		"empty":                   {"multipart/form-data; boundary=b", ""},
		"cut short":               {"multipart/form-data; boundary=b", strings.TrimSuffix(form, "--b--\r\n")},
		"cut before a header":     {"multipart/form-data; boundary=b", "--b\r\n"},
		"cut after a header":      {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n"},
		"cut in the last line":    {"multipart/form-data; boundary=b", strings.TrimSuffix(form, "-\r\n")},
		"cut in a header":         {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form"},
		"cut in the boundary":     {"multipart/form-data; boundary=b", strings.TrimSuffix(form, "b--\r\n")},
		"second part is cut":      {"multipart/form-data; boundary=b", strings.TrimSuffix(form, "--\r\n") + "\r\nA: b\r\n\r\n"},
		"header is no header":     {"multipart/form-data; boundary=b", header("no colon")},
		"urlencoded, bad escape":  {urlencoded, "a=%6"},
		"urlencoded, a semicolon": {urlencoded, "a=1;b=2"},
	} {
		requireByteForByte(t, c.contentType, c.body, name)
	}
}

func TestHostileFormsAreBounded(t *testing.T) {
	t.Parallel()
	const part, contentType = "--b\r\n\r\n\r\n", "multipart/form-data; boundary=b"
	requireForm(t, contentType, strings.Repeat(part, 1000)+"--b--", "as many parts as net/http accepts")
	requireByteForByte(t, contentType, strings.Repeat(part, 1001)+"--b--", "one more")
	requireByteForByte(t, contentType, "--b\r\n"+strings.Repeat("a:\r\n", 1<<18)+"\r\n\r\n--b--", "header fields")
	requireForm(t, contentType, "--b\r\na: "+strings.Repeat("x", 1<<20)+"\r\n\r\n\r\n--b--", "a long header field")

	// Every line is a prefix of a boundary.
	long := strings.Repeat("-", 70)
	requireForm(t, "multipart/form-data; boundary="+long, "--"+long+"\r\n\r\n"+strings.Repeat("\r\n--"+long[1:]+"x", 1<<14)+
		"\r\n--"+long+"--", "almost boundaries")
	requireByteForByte(t, "multipart/form-data; boundary="+strings.Repeat("x", 1<<20), strings.Repeat("--x\r\n", 1<<17), "a huge boundary")
	pieces := "multipart/form-data"
	for i := range 1 << 12 {
		pieces += fmt.Sprintf("; boundary*%d=x", i)
	}
	requireByteForByte(t, pieces, "--x--", "a boundary in many pieces")
}

//nolint:paralleltest // it measures the allocations of the process
func TestPartsOfAFormShareOneBuffer(t *testing.T) {
	body := []byte(strings.Repeat("--b\r\n\r\nx\r\n", 1000) + "--b--")
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := idempotent.FingerprintForm(r, func() ([]byte, error) { return body, nil })
	runtime.ReadMemStats(&after)

	require.NoError(t, err)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "a buffer for each part would be 32 MiB")
}

func TestHandlerParsesTheFormAfterItsFingerprint(t *testing.T) {
	t.Parallel()
	contentType, body := encodeForm(t, formPart{name: "a", content: "1"}, formPart{name: "f", file: "x", content: "file"})
	for _, c := range []struct{ contentType, body string }{{contentType, body}, {urlencoded, "a=1"}} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		_, err := idempotent.FingerprintForm(r, func() ([]byte, error) { return []byte(c.body), nil })
		require.NoError(t, err)
		require.Nil(t, r.Form)
		require.Nil(t, r.PostForm)
		require.Nil(t, r.MultipartForm)
		require.Equal(t, "1", r.PostFormValue("a"))
	}
}

// Forms in random spellings have the same fingerprint if and only if they are equal for a
// handler.
func TestFingerprintFormAgreesWithThePostForm(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	escape := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			switch {
			case rng.IntN(2) == 0 && s[i] != '%' && s[i] != '&' && s[i] != '=' && s[i] != '+' && s[i] != ' ' && s[i] != ';':
				b.WriteByte(s[i])
			case s[i] == ' ' && rng.IntN(2) == 0:
				b.WriteByte('+')
			default:
				fmt.Fprintf(&b, pick("%%%02x", "%%%02X"), s[i])
			}
		}
		return b.String()
	}
	type form struct {
		fields url.Values
		sent   []idempotent.Fingerprint
	}
	forms := map[string]form{}
	for range 3000 {
		fields := url.Values{}
		var pieces []string
		for range rng.IntN(4) {
			name, value := pick("", "a", "b", "a=", "é"), pick("", "1", "2", " ", "&b=2", "\xff")
			fields.Add(name, value)
			pieces = append(pieces, escape(name)+"="+escape(value))
		}
		key := fields.Encode()
		f := forms[key]
		f.fields = fields
		f.sent = append(f.sent, fingerprint(t, idempotent.FingerprintForm, urlencoded, strings.Join(pieces, "&")))
		forms[key] = f
	}
	seen := map[idempotent.Fingerprint]string{}
	for key, f := range forms {
		require.Len(t, slices.Compact(f.sent), 1, "%v", f.fields)
		other, taken := seen[f.sent[0]]
		require.False(t, taken, "%q and %q", key, other)
		seen[f.sent[0]] = key
	}
	require.Greater(t, len(forms), 100)
}

// formOf returns a form as a handler sees it.
func formOf(contentType, body string) (*multipart.Form, error) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		return nil, err
	}
	return r.MultipartForm, nil
}

func FuzzFingerprintForm(f *testing.F) {
	const part = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
	f.Add("b", part+"--b--", part+"--b--\r\n")
	f.Add("b", part+"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=x\r\nA: b\r\n\r\n\r\n--b--", "--b--")
	f.Add("b", part, "--b\r\n\r\n")
	f.Add("--", "----\r\n\r\n\r\n------", "")
	f.Add("", "--\r\n", "----")
	f.Fuzz(func(t *testing.T, boundary, one, two string) {
		contentType := mime.FormatMediaType("multipart/form-data", map[string]string{"boundary": boundary})
		if fingerprint(t, idempotent.FingerprintForm, contentType, one) != fingerprint(t, idempotent.FingerprintForm, contentType, two) {
			require.NotEqual(t, one, two)
			return
		}
		if one == two {
			return
		}
		// Bodies with the same fingerprint are the same form for a handler.
		formOne, errOne := formOf(contentType, one)
		formTwo, errTwo := formOf(contentType, two)
		require.Equal(t, errOne == nil, errTwo == nil)
		if errOne == nil {
			require.True(t, reflect.DeepEqual(formOne, formTwo))
		}
	})
}

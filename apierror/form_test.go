package apierror_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

const (
	plainForm     = "application/x-www-form-urlencoded"
	multipartForm = "multipart/form-data; boundary=xyz"

	fieldPart = "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"
	filePart  = "--xyz\r\nContent-Disposition: form-data; name=file; filename=f\r\n\r\ncontent\r\n"
)

// The ways in which a handler reads a form.
var (
	parseForm      = func(r *http.Request) error { return r.ParseForm() }
	parseMultipart = func(r *http.Request) error { return r.ParseMultipartForm(1 << 10) }
	parseToDisk    = func(r *http.Request) error { return r.ParseMultipartForm(0) }
	formFile       = func(r *http.Request) error {
		f, _, err := r.FormFile("file")
		if err == nil {
			err = f.Close()
		}
		return err
	}
	formValueFirst = func(r *http.Request) error {
		_ = r.FormValue("a") // ignores the error
		return formFile(r)
	}
	readParts = func(r *http.Request) error {
		form, err := r.MultipartReader()
		for err == nil {
			var part io.Reader
			if part, err = form.NextPart(); err == nil {
				_, err = io.Copy(io.Discard, part)
			}
		}
		if err == io.EOF { //nolint:errorlint // what wraps it is a malformed form
			return nil
		}
		return err
	}
)

// malformedForms are requests whose form cannot be read.
var malformedForms = []struct {
	name              string
	read              func(*http.Request) error
	contentType, body string
	query             string
	status            int
	code              apierror.Code
	param             string
}{
	{name: "escape", read: parseForm, contentType: plainForm, body: "a=%zz"},
	{name: "escape in the query", read: parseForm, contentType: plainForm, query: "?a=%zz"},
	{name: "semicolon", read: parseForm, contentType: plainForm, body: "a=1;b=2"},
	{name: "too many parameters", read: parseForm, contentType: plainForm, body: strings.Repeat("a&", 11_000)},
	{name: "too large", read: parseForm, contentType: plainForm, body: strings.Repeat("a", 10<<20+1), status: 413, code: apierror.CodeRequestTooLarge},

	{name: "Content-Type with a space", read: parseForm, contentType: "form data", param: "Content-Type"},
	{name: "Content-Type without a subtype", read: parseForm, contentType: "form/", param: "Content-Type"},
	{name: "Content-Type with two subtypes", read: parseForm, contentType: "form/data data", param: "Content-Type"},
	{name: "Content-Type that is only a parameter", read: parseForm, contentType: ";a=b", param: "Content-Type"},
	{name: "Content-Type with a malformed parameter", read: parseForm, contentType: plainForm + ";=", param: "Content-Type"},
	{name: "Content-Type with a parameter twice", read: parseForm, contentType: plainForm + ";a=1;a=2", param: "Content-Type"},

	{name: "another type", read: parseMultipart, contentType: plainForm, body: "a=b", status: 415, code: apierror.CodeUnsupportedMediaType, param: "Content-Type"},
	{name: "no type", read: readParts, body: "a=b", status: 415, code: apierror.CodeUnsupportedMediaType, param: "Content-Type"},
	{name: "malformed type", read: formFile, contentType: "multipart/form-data;=", body: "a", status: 415, code: apierror.CodeUnsupportedMediaType, param: "Content-Type"},
	{name: "no boundary", read: parseMultipart, contentType: "multipart/form-data", body: "a", param: "Content-Type"},
	{name: "no boundary, no body", read: formFile, contentType: "multipart/form-data", param: "Content-Type"},
	{name: "an empty boundary", read: parseMultipart, contentType: `multipart/form-data; boundary=""`, body: "a", param: "Content-Type"},
	{name: "too many parts", read: parseMultipart, contentType: multipartForm, body: strings.Repeat(fieldPart, 1001) + "--xyz--\r\n", status: 413, code: apierror.CodeRequestTooLarge},
	{name: "too large a part", read: parseMultipart, contentType: multipartForm, body: fieldPart + strings.Repeat("a", 11<<20), status: 413, code: apierror.CodeRequestTooLarge},
	{name: "too large a header", read: parseMultipart, contentType: multipartForm, body: "--xyz\r\na: " + strings.Repeat("b", 11<<20), status: 413, code: apierror.CodeRequestTooLarge},
	{name: "no file", read: formFile, contentType: multipartForm, body: fieldPart + "--xyz--", code: apierror.CodeParameterMissing},

	{name: "empty", read: parseMultipart, contentType: multipartForm},
	{name: "nothing but text", read: readParts, contentType: multipartForm, body: "a\r\nb"},
	{name: "a line that does not end", read: parseMultipart, contentType: multipartForm, body: strings.Repeat("a", 1<<16)},
	{name: "a malformed header", read: parseMultipart, contentType: multipartForm, body: "--xyz\r\n: b\r\n\r\n--xyz--"},
	{name: "a header without a colon", read: readParts, contentType: multipartForm, body: "--xyz\r\na\r\n\r\n--xyz--"},
	{name: "a header that is continued", read: parseMultipart, contentType: multipartForm, body: "--xyz\r\n a: b\r\n\r\n--xyz--"},
	{name: "an unexpected line", read: parseMultipart, contentType: multipartForm, body: fieldPart + "--xyz--x\r\n--xyz--"},
	{name: "text after a part", read: parseMultipart, contentType: multipartForm, body: fieldPart + "--xyz \tx\r\n--xyz--"},
	{name: "quoted-printable", read: parseMultipart, contentType: multipartForm, body: "--xyz\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\x01\r\n--xyz--"},

	{name: "ends in a part", read: parseMultipart, contentType: multipartForm, body: fieldPart[:len(fieldPart)-1]},
	{name: "ends in a part on disk", read: parseToDisk, contentType: multipartForm, body: filePart[:len(filePart)-4]},
	{name: "ends in a part, FormFile", read: formFile, contentType: multipartForm, body: filePart[:len(filePart)-4]},
	{name: "ends in a part, after FormValue", read: formValueFirst, contentType: multipartForm, body: filePart[:len(filePart)-4]},
	{name: "ends in a part, MultipartReader", read: readParts, contentType: multipartForm, body: fieldPart + filePart[:len(filePart)-4]},
	{name: "ends in a part of mixed ones", read: readParts, contentType: "Multipart/Mixed; boundary=xyz", body: fieldPart[:len(fieldPart)-1]},
	{name: "ends after a part", read: parseMultipart, contentType: multipartForm, body: fieldPart},
	{name: "ends in the last boundary", read: parseMultipart, contentType: multipartForm, body: fieldPart + "--xyz-"},
	{name: "ends in a part with what looks like the last boundary", read: parseMultipart, contentType: multipartForm, body: fieldPart[:len(fieldPart)-1] + "--xyz--"},
	{name: "ends in a large part", read: parseMultipart, contentType: multipartForm, body: fieldPart[:len(fieldPart)-1] + strings.Repeat("--xyz-", 1<<16)},
}

// chains returns what may be around a handler.
func chains() map[string]func(func(http.ResponseWriter, *http.Request) error) http.Handler {
	return map[string]func(func(http.ResponseWriter, *http.Request) error) http.Handler{
		"only a HandlerFunc": func(f func(http.ResponseWriter, *http.Request) error) http.Handler { return apierror.HandlerFunc(f) },
		"Write below a Renderer": func(f func(http.ResponseWriter, *http.Request) error) http.Handler {
			return quiet().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := f(w, r); err != nil {
					apierror.Write(w, r, err)
				}
			}))
		},
		"below a bound and a copy": func(f func(http.ResponseWriter, *http.Request) error) http.Handler {
			bounded := http.MaxBytesHandler(apierror.HandlerFunc(f), 1<<30)
			return quiet().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				bounded.ServeHTTP(w, r.WithContext(r.Context()))
			}))
		},
	}
}

func TestMalformedFormsAreTheClientsFault(t *testing.T) {
	t.Parallel()
	for protocol, newServer := range map[string]func(http.Handler) *memhttp.Server{"h1": memhttp.New, "h2": memhttp.NewHTTP2} {
		for chain, around := range chains() {
			for _, row := range malformedForms {
				if len(row.body) > 1<<20 && chain != "only a HandlerFunc" {
					continue // it takes long
				}
				t.Run(protocol+"/"+chain+"/"+row.name, func(t *testing.T) {
					t.Parallel()
					var read error
					s := newServer(around(func(_ http.ResponseWriter, r *http.Request) error {
						read = row.read(r)
						return fmt.Errorf("reading the form: %w", read)
					}))
					defer s.Close()
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/"+row.query, strings.NewReader(row.body))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", row.contentType)
					resp, err := s.Client().Do(r)
					if err != nil {
						t.Fatal(err)
					}
					e := asError(t, apierror.Parse(resp))

					if read == nil {
						t.Fatal("the form could be read")
					}
					equal(t, "status", e.Status(), cmp.Or(row.status, 400))
					equal(t, "code", e.Code(), cmp.Or(row.code, apierror.CodeParameterInvalid))
					equal(t, "param", e.Param(), row.param)
					if strings.Contains(e.Message(), "zz") {
						t.Error(e.Message())
					}
				})
			}
		}
	}
}

// A bound that the service sets replaces net/http's own bound for forms, also if it is set further
// out.
func TestOuterMaxBytesHandlerBoundsForms(t *testing.T) {
	t.Parallel()
	var length int
	s := memhttp.New(http.MaxBytesHandler(apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		err := r.ParseForm()
		length = len(r.PostForm.Get("a"))
		return err
	}), 20<<20))
	defer s.Close()
	for size, want := range map[int]int{11 << 20: http.StatusOK, 21 << 20: http.StatusRequestEntityTooLarge} {
		length = 0
		resp, err := s.Client().Post(s.URL, plainForm, strings.NewReader("a="+strings.Repeat("b", size)))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		equal(t, "status", resp.StatusCode, want)
		if want == http.StatusOK {
			equal(t, "length", length, size)
		}
	}
}

func TestFromKnowsErrorsOfFormParsing(t *testing.T) {
	t.Parallel()
	form := newRequest
	const plain = "application/x-www-form-urlencoded"
	multi := func(r *http.Request) error { return r.ParseMultipartForm(1 << 10) }
	for name, err := range map[string]error{
		"escape":          form(plain, "email=%zz").ParseForm(),
		"semicolon":       form(plain, "a=1;b=2").ParseForm(),
		"media type":      form("a;b;c=", "a=1").ParseForm(),
		"too large":       form(plain, strings.Repeat("a", 11<<20)).ParseForm(),
		"no multipart":    multi(form(plain, "a=1")),
		"no boundary":     multi(form("multipart/form-data", "a")),
		"empty boundary":  multi(form(`multipart/form-data; boundary=""`, "a")),
		"empty":           multi(form("multipart/form-data; boundary=x", "")),
		"too many parts":  multipart.ErrMessageTooLarge,
		"no file":         http.ErrMissingFile,
		"malformed parts": multi(form("multipart/form-data; boundary=x", "--x\r\n:\r\n\r\nb\r\n--x--")),
	} {
		e := apierror.From(fmt.Errorf("form: %w", err))
		if err == nil || e.Status() >= 500 || strings.Contains(e.Message(), "zz") {
			t.Errorf("%s: %v: %v", name, err, e)
		}
	}
}

func TestFromSearchesErrorsOfFormParsing(t *testing.T) {
	t.Parallel()
	multi := func(body io.Reader) error {
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		r.Body = http.MaxBytesReader(nil, r.Body, 100)
		return r.ParseMultipartForm(1 << 10)
	}
	const part = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"
	for _, row := range []struct {
		name string
		err  error
		code apierror.Code
	}{
		{"too large before the first part", multi(strings.NewReader(strings.Repeat("a\r\n", 100))), apierror.CodeRequestTooLarge},
		{"too slow", multi(io.MultiReader(strings.NewReader("--"), failingBody{timeoutError(t)})), apierror.CodeTimeout},
		{"of the service's own reader", multi(failingBody{apierror.CodePermissionDenied}), apierror.CodePermissionDenied},
		{"a reader that breaks", multi(failingBody{errors.New("broken")}), apierror.CodeAPIError},
		{"cut off before a part", multi(strings.NewReader("\r\n")), apierror.CodeParameterInvalid},
		{"cut off in a part: it may be a dependency's error as well", multi(strings.NewReader(part)), apierror.CodeAPIError},
		{"an unexpected line", multi(strings.NewReader(part + "--x  y\r\n--x--")), apierror.CodeParameterInvalid},
		{"a header without a colon", multi(strings.NewReader("--x\r\nname\r\n\r\nb\r\n--x--")), apierror.CodeParameterInvalid},
		{"the service's own", errors.New("multipart: the store is down"), apierror.CodeAPIError},
		{"the service's own, wrapping", fmt.Errorf("multipart: NextPart: %w", errors.New("no disk")), apierror.CodeAPIError},
		{"the service's own text", fmt.Errorf("http: POST too large%w", errEmpty{}), apierror.CodeAPIError},
		{"the service's own header", errors.New("malformed MIME header in the template"), apierror.CodeAPIError},
	} {
		e := apierror.From(fmt.Errorf("form: %w", row.err))
		if row.err == nil || e.Code() != row.code {
			t.Errorf("%s: %v: %s", row.name, row.err, e.Code())
		}
	}
}

type errEmpty struct{}

func (errEmpty) Error() string { return "" }

func TestFromKnowsMultipartFormsThatEndEarly(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, bufio.ErrBufferFull} {
		e := apierror.From(fmt.Errorf("multipart: NextPart: %w", cause))
		equal(t, cause.Error(), e.Message(), "The multipart form is malformed.")
	}
	equal(t, "another cause", apierror.From(fmt.Errorf("multipart: NextPart: %w", io.ErrNoProgress)).Code(), apierror.CodeAPIError)
	equal(t, "another text", apierror.From(fmt.Errorf("read: %w", io.EOF)).Code(), apierror.CodeAPIError)
}

func TestFromKnowsMalformedPartHeaders(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]apierror.Code{
		"malformed MIME header line: a": apierror.CodeParameterInvalid,
		"short response: a":             apierror.CodeAPIError,
	} {
		equal(t, text, apierror.From(textproto.ProtocolError(text)).Code(), want)
	}
}

func TestTooLargeFormsNameTheKnownLimit(t *testing.T) {
	t.Parallel()
	equal(t, "a form", apierror.From(newRequest(plainForm, strings.Repeat("a", 11<<20)).ParseForm()).Message(),
		"The request body is larger than the 10485760 bytes allowed.")
	equal(t, "parts", apierror.From(multipart.ErrMessageTooLarge).Message(), apierror.RequestTooLarge(0).Message())
	r := newRequest(plainForm, "")
	r.Body = nil // a server never does that
	equal(t, "no body", apierror.From(r.ParseForm()).Code(), apierror.CodeParameterMissing)
}

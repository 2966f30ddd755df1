package apierror_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
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
		_ = r.FormValue("a") // ignores what it fails with
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

// malformedForms are requests that no handler can read.
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

// chains are what may stand around a handler.
func chains() map[string]func(func(http.ResponseWriter, *http.Request) error) http.Handler {
	return map[string]func(func(http.ResponseWriter, *http.Request) error) http.Handler{
		"a HandlerFunc alone": func(f func(http.ResponseWriter, *http.Request) error) http.Handler { return apierror.HandlerFunc(f) },
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

func TestAMalformedFormIsNeverA500(t *testing.T) {
	t.Parallel()
	for protocol, newServer := range map[string]func(http.Handler) *memhttp.Server{"h1": memhttp.New, "h2": memhttp.NewHTTP2} {
		for chain, around := range chains() {
			for _, row := range malformedForms {
				if len(row.body) > 1<<20 && chain != "a HandlerFunc alone" {
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

// Only HTTP/1 can show what the server answers to a body that is cut short: over HTTP/2 the
// stream is reset.
func TestABodyThatCannotBeReadIsTheClientsFault(t *testing.T) {
	t.Parallel()
	readAll := func(r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	}
	forward := func(r *http.Request) error { // to a dependency that takes all
		out, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://upstream.example", r.Body)
		if err != nil {
			return err
		}
		_, err = (&http.Client{Transport: roundTripper(func(out *http.Request) (*http.Response, error) {
			_, err := io.Copy(io.Discard, out.Body)
			return nil, err
		})}).Do(out)
		return err
	}
	decode := func(r *http.Request) error { return apierror.DecodeJSON(httptest.NewRecorder(), r, new(any), nil) }
	cut := func(body string) string { return "Content-Length: " + strconv.Itoa(len(body)+1) + "\r\n\r\n" + body }
	chunked := func(body string) string { return "Transfer-Encoding: chunked\r\n\r\n" + body }
	for chain, around := range chains() {
		for _, row := range []struct {
			name              string
			read              func(*http.Request) error
			contentType, rest string
		}{
			{"cut short, a form", parseForm, plainForm, cut("a=b")},
			{"cut short, a multipart form", parseMultipart, multipartForm, cut(filePart)},
			{"cut short, FormFile", formFile, multipartForm, cut(filePart)},
			{"cut short, FormFile after FormValue", formValueFirst, multipartForm, cut(filePart)},
			{"cut short, on disk", parseToDisk, multipartForm, cut(filePart)},
			{"cut short, part by part", readParts, multipartForm, cut(filePart)},
			{"cut short, before the first part", readParts, multipartForm, cut("")},
			{"cut short, in a part's header", readParts, multipartForm, cut("--xyz\r\nContent-Di")},
			{"cut short, any body", readAll, "text/plain", cut("abc")},
			{"cut short, any body, compressed", readAll, "text/plain\r\nContent-Encoding: gzip", cut("abc")},
			{"cut short, on its way to a dependency", forward, "text/plain", cut("abc")},
			{"cut short, JSON", decode, "application/json", cut("{}")},
			{"chunks cut short", readAll, "text/plain", chunked("3\r\nabc\r\n")},
			{"a chunk cut short", parseForm, plainForm, chunked("3\r\nab")},
			{"a malformed chunk", parseForm, plainForm, chunked("3\r\nabcd\r\n0\r\n\r\n")},
			{"no chunk", parseMultipart, multipartForm, chunked("xyz\r\n\r\n")},
			{"a chunk that is too long", parseForm, plainForm, chunked("fffffffffffffffff\r\n")},
			{"a trailer cut short", parseForm, plainForm, chunked("3\r\nabc\r\n0\r\na")},
			{"a malformed trailer", parseForm, plainForm, chunked("3\r\nabc\r\n0\r\na\r\n\r\n")},
		} {
			t.Run(chain+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				var read error
				s := memhttp.New(around(func(_ http.ResponseWriter, r *http.Request) error {
					read = row.read(r)
					return fmt.Errorf("reading the form: %w", read)
				}))
				defer s.Close()
				e := half(t, s, "Content-Type: "+row.contentType+"\r\n"+row.rest)
				if read == nil {
					t.Fatal("the body could be read")
				}
				equal(t, "status", e.Status(), 400)
				equal(t, "code", e.Code(), apierror.CodeParameterInvalid)
			})
		}
	}
}

// half sends a POST whose headers and body are these, and closes its half of the connection.
func half(t *testing.T, s *memhttp.Server, headersAndBody string) *apierror.Error {
	t.Helper()
	conn, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+headersAndBody); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return asError(t, apierror.Parse(resp))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Over HTTP/2 a client resets the stream of a body that it cannot send. No one reads the answer,
// but it is counted.
func TestABodyThatEndsInAResetIsNoFaultOfOurs(t *testing.T) {
	t.Parallel()
	for chain, around := range chains() {
		var answered *apierror.Error
		var read error
		reading := make(chan struct{})
		s := memhttp.NewHTTP2(quiet().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			around(func(_ http.ResponseWriter, r *http.Request) error {
				close(reading)
				read = parseMultipart(r)
				return read
			}).ServeHTTP(w, r)
			answered, _ = errors.AsType[*apierror.Error](reqstate.From(r.Context()).Err())
		})))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, io.MultiReader(strings.NewReader(filePart), breaking(reading)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", multipartForm)
		if resp, err := s.Client().Do(r); err == nil {
			_ = resp.Body.Close()
		}
		s.Close()
		if read == nil {
			t.Fatal("the form could be read")
		}
		equal(t, chain, answered.Status(), 400)
	}
}

// breaking is a body that cannot be sent any further when the channel is closed.
type breaking chan struct{}

func (b breaking) Read([]byte) (int, error) {
	<-b
	return 0, errors.New("broken")
}

// The same error from elsewhere is the service's.
func TestAnErrorThatReadingTheBodyDidNotFailWithIsTheServices(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(zw, filePart+"--xyz--\r\n")
	_ = zw.Close()
	elsewhere := fmt.Errorf("upstream: %w", io.ErrUnexpectedEOF)
	for _, row := range []struct {
		name              string
		contentType, body string
		header            http.Header
		handle            func(*http.Request) error
	}{
		{name: "nothing is read", contentType: multipartForm, body: filePart, handle: func(*http.Request) error { return elsewhere }},
		{name: "nothing is sent", contentType: multipartForm, handle: func(*http.Request) error { return elsewhere }},
		{name: "a part is read", contentType: multipartForm, body: filePart, handle: func(r *http.Request) error {
			_, err := io.CopyN(io.Discard, r.Body, 20)
			return errors.Join(err, elsewhere)
		}},
		{name: "a form is read", contentType: multipartForm, body: filePart + "--xyz--", handle: func(r *http.Request) error {
			return errors.Join(parseMultipart(r), elsewhere)
		}},
		{name: "parts are read", contentType: multipartForm, body: filePart + "--xyz--\r\n", handle: func(r *http.Request) error {
			return errors.Join(readParts(r), elsewhere)
		}},
		{name: "a form is read, and what follows it", contentType: multipartForm, body: filePart + "--xyz--\r\n" + strings.Repeat("epilogue", 1<<10), handle: func(r *http.Request) error {
			err := readParts(r)
			_, _ = io.Copy(io.Discard, r.Body)
			return errors.Join(err, elsewhere)
		}},
		{name: "a form is read byte by byte", contentType: multipartForm, body: filePart + "--xyz--\r\n", handle: func(r *http.Request) error {
			for b := make([]byte, 1); ; {
				if _, err := r.Body.Read(b); err != nil {
					return elsewhere
				}
			}
		}},
		{name: "a form is read in two parts", contentType: multipartForm, body: filePart + "--xyz--\r\n", handle: func(r *http.Request) error {
			_, first := io.ReadFull(r.Body, make([]byte, len(filePart)+3))
			_, second := io.ReadAll(r.Body)
			return errors.Join(first, second, elsewhere)
		}},
		{name: "a body without a form is read", contentType: "text/plain", body: filePart, handle: func(r *http.Request) error {
			_, err := io.ReadAll(r.Body)
			return errors.Join(err, elsewhere)
		}},
		{name: "a compressed form is read", contentType: multipartForm, body: zipped.String(), header: http.Header{"Content-Encoding": {"gzip"}}, handle: func(r *http.Request) error {
			zr, err := gzip.NewReader(r.Body)
			if err != nil {
				return err
			}
			r.Body = io.NopCloser(zr)
			return errors.Join(parseMultipart(r), elsewhere)
		}},
		{name: "a body that the handler has closed", contentType: "text/plain", body: "abc", handle: func(r *http.Request) error {
			_ = r.Body.Close()
			_, err := r.Body.Read(make([]byte, 1))
			return err
		}},
		{name: "a form that is cut short, and an error of a disk", contentType: multipartForm, body: filePart, handle: func(r *http.Request) error {
			_ = parseMultipart(r)
			return &fs.PathError{Op: "write", Path: "x", Err: errors.New("no space left")}
		}},
		{name: "MultipartReader twice", contentType: multipartForm, body: filePart + "--xyz--", handle: func(r *http.Request) error {
			return errors.Join(readParts(r), readParts(r))
		}},
		{name: "ParseMultipartForm after MultipartReader", contentType: multipartForm, body: filePart + "--xyz--", handle: func(r *http.Request) error {
			return errors.Join(readParts(r), parseMultipart(r))
		}},
	} {
		for chain, around := range chains() {
			for protocol, newServer := range map[string]func(http.Handler) *memhttp.Server{"h1": memhttp.New, "h2": memhttp.NewHTTP2} {
				t.Run(row.name+"/"+chain+"/"+protocol, func(t *testing.T) {
					t.Parallel()
					s := newServer(around(func(_ http.ResponseWriter, r *http.Request) error { return row.handle(r) }))
					defer s.Close()
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(row.body))
					if err != nil {
						t.Fatal(err)
					}
					maps.Copy(r.Header, row.header)
					r.Header.Set("Content-Type", row.contentType)
					resp, err := s.Client().Do(r)
					if err != nil {
						t.Fatal(err)
					}
					e := asError(t, apierror.Parse(resp))
					equal(t, "status", e.Status(), 500)
					equal(t, "code", e.Code(), apierror.CodeAPIError)
				})
			}
		}
	}
}

// A bound that the service has set stands instead of net/http's own one for forms, wherever it
// is set.
func TestABoundOutsideOfAHandlerFuncHoldsForForms(t *testing.T) {
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

package apierror_test

import (
	"bufio"
	"bytes"
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

// Ways in which a handler reads any body.
var (
	readAll = func(r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	}
	forward = func(r *http.Request) error { // to a dependency that reads all of it
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
	decode = func(r *http.Request) error { return apierror.DecodeJSON(httptest.NewRecorder(), r, new(any), nil) }
)

// The client's fault is answered only over HTTP/1. Over HTTP/2 the stream is reset.
func TestUnreadableBodiesAreTheClientsFault(t *testing.T) {
	t.Parallel()
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

// half sends a POST with these headers and this body, and closes its half of the connection.
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
// but access logs and metrics count it.
func TestResetBodiesAreTheClientsFault(t *testing.T) {
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

// breaking is a body that fails once the channel is closed.
type breaking chan struct{}

func (b breaking) Read([]byte) (int, error) {
	<-b
	return 0, errors.New("broken")
}

// unrelatedErrors are handlers that fail with an error like that of an unreadable body, which
// reading the body did not fail with.
func unrelatedErrors() []unrelatedError {
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(zw, filePart+"--xyz--\r\n")
	_ = zw.Close()
	elsewhere := fmt.Errorf("upstream: %w", io.ErrUnexpectedEOF)
	return []unrelatedError{
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
	}
}

type unrelatedError struct {
	name              string
	contentType, body string
	header            http.Header
	handle            func(*http.Request) error
}

func TestUnrelatedReadErrorsAreTheServersFault(t *testing.T) {
	t.Parallel()
	for _, row := range unrelatedErrors() {
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

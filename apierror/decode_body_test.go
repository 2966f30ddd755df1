package apierror_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

func TestDecodeJSONRequiresABody(t *testing.T) {
	t.Parallel()
	without := httptest.NewRequest(http.MethodPost, "/", nil)
	without.Body = nil
	for _, r := range []*http.Request{
		without,
		httptest.NewRequest(http.MethodPost, "/", http.NoBody),
		newRequest("", ""),
		newRequest(jsonType, " \r\n\t"),
	} {
		e := asError(t, apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil))
		equal(t, "code", e.Code(), apierror.CodeParameterMissing)
		equal(t, "param", e.Param(), "")
		equal(t, "message", e.Message(), "The request body is empty.")
	}
}

func TestDecodeJSONRecognizesAbsentBodies(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{-1, 0} {
		for name, body := range map[string]io.ReadCloser{"nil": nil, "NoBody": http.NoBody} {
			r := newRequest("", "")
			r.Body, r.ContentLength = body, length
			err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
			equal(t, fmt.Sprint(name, " of length ", length), apierror.CodeOf(err), apierror.CodeParameterMissing)
		}
	}
}

func TestDecodeJSONRequiresJSON(t *testing.T) {
	t.Parallel()
	for contentType, ok := range map[string]bool{
		"application/json":                     true,
		"Application/JSON; charset=UTF-8":      true,
		`application/json; charset="utf-8"`:    true,
		"application/merge-patch+json":         true,
		"application/json; charset=iso-8859-1": false,
		"application/json; charset":            false,
		"text/plain":                           false,
		"application/x-www-form-urlencoded":    false,
		"multipart/form-data; boundary=x":      false,
		"application/jsonp":                    false,
		"text/plain; application/json":         false,
		"application/json, text/plain":         false,
		"":                                     false,
	} {
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(contentType, `{}`), new(order), nil)
		if (err == nil) != ok {
			t.Errorf("%s: %v", contentType, err)
		}
		if err == nil {
			continue
		}
		e := asError(t, err)
		equal(t, "code", e.Code(), apierror.CodeUnsupportedMediaType)
		equal(t, "status", e.Status(), 415)
		equal(t, "param", e.Param(), "Content-Type")
		equal(t, "message", e.Message(), "The Content-Type must be application/json.")
		lax := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(contentType, `{}`), new(order), &apierror.DecodeOptions{AnyMediaType: true})
		if lax != nil {
			t.Errorf("%s: %v", contentType, lax)
		}
	}
	doubled := newRequest(jsonType, `{}`)
	doubled.Header.Add("Content-Type", "text/plain")
	if err := apierror.DecodeJSON(httptest.NewRecorder(), doubled, new(order), nil); !errors.Is(err, apierror.CodeUnsupportedMediaType) {
		t.Errorf("two Content-Types: %v", err)
	}
}

func TestDecodeJSONChecksTheMediaTypeUnlessTheBodyIsEmpty(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		length int64
		body   io.ReadCloser
		want   apierror.Code
	}{
		{-1, io.NopCloser(strings.NewReader("")), apierror.CodeParameterMissing},
		{-1, io.NopCloser(strings.NewReader("x")), apierror.CodeUnsupportedMediaType},
		{-1, failingBody{io.ErrNoProgress}, apierror.CodeUnsupportedMediaType},
		{0, io.NopCloser(strings.NewReader("")), apierror.CodeParameterMissing},
		{1, io.NopCloser(strings.NewReader("")), apierror.CodeUnsupportedMediaType},
	} {
		r := newRequest("", "")
		r.Body, r.ContentLength = row.body, row.length
		err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
		equal(t, fmt.Sprintf("%T of length %d", row.body, row.length), apierror.CodeOf(err), row.want)
	}
}

func TestDecodeJSONAcceptsExactlyTheLimit(t *testing.T) {
	t.Parallel()
	body := func(n int) string { return `{"name":"` + strings.Repeat("x", n-len(`{"name":""}`)) + `"}` }
	for _, row := range []struct {
		limit int64
		size  int
		ok    bool
	}{
		{100, 100, true},
		{100, 101, false},
		{0, 1 << 20, true},
		{0, 1<<20 + 1, false},
		{-1, 1<<20 + 1, true},
	} {
		for _, announced := range []bool{true, false} {
			r := newRequest(jsonType, body(row.size))
			if !announced {
				r.ContentLength = -1
			}
			err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), &apierror.DecodeOptions{MaxBody: row.limit})
			if (err == nil) != row.ok {
				t.Errorf("%+v, announced %v: %v", row, announced, err)
			}
			if err == nil {
				continue
			}
			e := asError(t, err)
			equal(t, "code", e.Code(), apierror.CodeRequestTooLarge)
			equal(t, "status", e.Status(), 413)
			limit := row.limit
			if limit == 0 {
				limit = 1 << 20
			}
			equal(t, "message", e.Message(), fmt.Sprintf("The request body is larger than the %d bytes allowed.", limit))
		}
	}
}

func TestDecodeJSONDoesNotReadBodiesAnnouncedAsTooLarge(t *testing.T) {
	t.Parallel()
	r := newRequest(jsonType, "")
	r.Body, r.ContentLength = failingBody{io.ErrNoProgress}, 1<<20+1
	err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
	equal(t, "code", apierror.CodeOf(err), apierror.CodeRequestTooLarge)
}

// wrapper is the ResponseWriter of a middleware, around net/http's.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestDecodeJSONClosesTheConnectionForTooLargeBodies(t *testing.T) {
	t.Parallel()
	create := apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return apierror.DecodeJSON(w, r, new(order), &apierror.DecodeOptions{MaxBody: 10})
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		create.ServeHTTP(wrapper{wrapper{w}}, r)
	}))
	defer server.Close()
	// io.MultiReader hides the length, so the server learns it only by reading.
	body := io.MultiReader(strings.NewReader(`{"name":"` + strings.Repeat("x", 50) + `"}`))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
	req.Header.Set("Content-Type", jsonType)

	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	err = apierror.Parse(resp)

	if !errors.Is(err, apierror.CodeRequestTooLarge) {
		t.Error(resp.Status, err)
	}
	if !resp.Close {
		t.Error("the connection stays open")
	}
}

// The server of net/http reads bodies with a length and in chunks, at the limit and over it, cut
// off, and empty ones.
func TestDecodeJSONReadsBodiesFromTheWire(t *testing.T) {
	t.Parallel()
	const limit = 100
	server := memhttp.New(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return apierror.DecodeJSON(w, r, new(order), &apierror.DecodeOptions{MaxBody: limit})
	}))
	defer server.Close()
	body := func(n int) string { return `{"name":"` + strings.Repeat("x", n-len(`{"name":""}`)) + `"}` }
	for _, row := range []struct {
		name, contentType, body string
		code                    apierror.Code
	}{
		{"the limit", jsonType, body(limit), ""},
		{"one over the limit", jsonType, body(limit + 1), apierror.CodeRequestTooLarge},
		{"white space up to the limit", jsonType, body(limit-1) + "\n", ""},
		{"white space over the limit", jsonType, body(limit) + "\n", apierror.CodeRequestTooLarge},
		{"none", jsonType, "", apierror.CodeParameterMissing},
		{"none, without a type", "", "", apierror.CodeParameterMissing},
		{"white space", jsonType, " \n", apierror.CodeParameterMissing},
		{"white space of another type", "text/plain", " \n", apierror.CodeUnsupportedMediaType},
		{"another type over the limit", "text/plain", body(limit + 1), apierror.CodeUnsupportedMediaType},
		{"a prefix", jsonType, body(limit)[:limit-1], apierror.CodeParameterInvalid},
	} {
		for _, chunked := range []bool{false, true} {
			from := io.Reader(strings.NewReader(row.body))
			if chunked {
				from = io.MultiReader(from)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, from)
			if err != nil {
				t.Fatal(err)
			}
			if chunked {
				req.ContentLength = -1
			}
			if row.contentType != "" {
				req.Header.Set("Content-Type", row.contentType)
			}
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, fmt.Sprintf("%s, chunked %v", row.name, chunked), apierror.CodeOf(apierror.Parse(resp)), row.code)
			_ = resp.Body.Close()
		}
	}
}

func TestDecodeJSONReportsErrorsOfTheBody(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		code apierror.Code
	}{
		{io.ErrUnexpectedEOF, apierror.CodeParameterInvalid},
		{fmt.Errorf("outer middleware: %w", &http.MaxBytesError{Limit: 5}), apierror.CodeRequestTooLarge},
		{&net.OpError{Op: "read", Err: errTimeout{}}, apierror.CodeParameterInvalid},
		{fmt.Errorf("read: %w", timeoutError(t)), apierror.CodeTimeout},
		{fmt.Errorf("signature: %w", apierror.CodePermissionDenied), apierror.CodePermissionDenied},
	} {
		r := newRequest(jsonType, "{}")
		r.Body = failingBody{row.err}
		e := asError(t, apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil))
		equal(t, row.err.Error(), e.Code(), row.code)
		if !errors.Is(e, row.err) {
			t.Errorf("%v is not the cause of %v", row.err, e)
		}
	}
}

func TestDecodeJSONKeepsCodesOfBodyErrors(t *testing.T) {
	t.Parallel()
	r := newRequest(jsonType, "")
	r.Body, r.ContentLength = failingBody{apierror.CodeAPIError}, -1
	err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
	equal(t, "code", apierror.CodeOf(err), apierror.CodeAPIError)
}

type failingBody struct{ err error }

func (b failingBody) Read([]byte) (int, error) { return 0, b.err }

func (failingBody) Close() error { return nil }

type errTimeout struct{}

func (errTimeout) Error() string { return "slow" }

// timeoutError returns the error of a connection whose read deadline has passed.
func timeoutError(t *testing.T) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := a.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := a.Read(make([]byte, 1))
	return err
}

package apierror_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

// sink keeps the results of benchmarks from being optimized away.
var sink *apierror.Error

type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             {}

func BenchmarkWrite(b *testing.B) {
	several := apierror.ParameterMissing("name")
	for range 5 {
		several = several.WithField(apierror.Field{Code: "parameter_invalid", Param: "items[1].price", Message: "Invalid parameter: items[1].price must be a whole number."})
	}
	for name, err := range map[string]error{
		"usual":   apierror.ParameterMissing("name"),
		"plain":   errors.New("plain"),
		"several": several,
	} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			w := &nullWriter{make(http.Header)}
			b.ReportAllocs()
			rd := quiet()
			rd.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				for b.Loop() {
					apierror.Write(w, r, err)
				}
			})).ServeHTTP(w, r)
		})
	}
}

func BenchmarkParse(b *testing.B) {
	w := write(quiet(), "", apierror.ParameterMissing("name"))
	body := w.Body.Bytes()
	page := bytes.Repeat([]byte("<p>502 Bad Gateway</p>\n"), 50)
	for name, text := range map[string][]byte{"object": body, "a proxy's page": page} {
		b.Run(name, func(b *testing.B) {
			resp := &http.Response{StatusCode: 400, Header: w.Header(), ContentLength: int64(len(text))}
			b.ReportAllocs()
			for b.Loop() {
				resp.Body = io.NopCloser(bytes.NewReader(text))
				if apierror.Parse(resp) == nil {
					b.Fatal("no error")
				}
			}
		})
	}
}

func BenchmarkConstructors(b *testing.B) {
	for name, construct := range map[string]func() *apierror.Error{
		"ParameterMissing": func() *apierror.Error { return apierror.ParameterMissing("name") },
		"PermissionDenied": apierror.CodePermissionDenied.New,
		"Internal":         func() *apierror.Error { return apierror.CodeAPIError.New().WithCause(io.EOF) },
		"Messagef":         func() *apierror.Error { return apierror.CodeResourceMissing.Messagef("No order %d.", 5) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = construct()
			}
		})
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	for name, body := range map[string]string{
		"right": `{"name":"n","count":7,"items":[{"price":1,"sku":"a"},{"price":2,"sku":"b"}]}`,
		"wrong": `{"name":"n","count":7,"items":[{"price":1,"sku":"a"},{"price":"x","sku":"b"}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			r := newRequest(jsonType, body)
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
				if err := apierror.DecodeJSON(w, r, new(order), nil); (err == nil) != (name == "right") {
					b.Fatal(err)
				}
			}
		})
	}
}

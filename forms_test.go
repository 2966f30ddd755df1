package seawall_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
)

// A layer outside reads the form that the handler has parsed, and net/http removes its files later.
func TestOuterLayersHaveTheParsedForm(t *testing.T) {
	t.Parallel()
	body, contentType := upload(t)
	for name, layer := range layers() {
		if name == "idempotency" || name == "idempotency and authentication" || name == "a Stack" {
			continue // a handler that may run again must find no form, and leaves none
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/?a=1", bytes.NewReader(body))
			r.Header.Set("Content-Type", contentType)
			var file string
			seawall.Chain(layer)(plain(func(_ http.ResponseWriter, r *http.Request) { file = parse(t, r) })).
				ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, url.Values{"a": {"1"}}, r.Form)
			require.NotNil(t, r.PostForm)
			require.NotNil(t, r.MultipartForm)
			require.FileExists(t, file)
			require.NoError(t, r.MultipartForm.RemoveAll())
			require.NoFileExists(t, file)
		})
	}
}

// What a layer outside has parsed itself stays its own, however its handler ends.
func TestAFormThatWasParsedOutsideIsLeftAlone(t *testing.T) {
	t.Parallel()
	body, contentType := upload(t)
	for name, layer := range layers() {
		for end, handler := range map[string]http.Handler{"success": ok, "abort": panicking(http.ErrAbortHandler)} {
			t.Run(name+"/"+end, func(t *testing.T) {
				t.Parallel()
				r := httptest.NewRequest(http.MethodPost, "/?a=1", bytes.NewReader(body))
				r.Header.Set("Content-Type", contentType)
				file := parse(t, r)
				form := r.MultipartForm
				r.Body = io.NopCloser(bytes.NewReader(nil))
				func() {
					defer func() { _ = recover() }()
					seawall.Chain(layer)(handler).ServeHTTP(httptest.NewRecorder(), r)
				}()
				require.FileExists(t, file)
				require.Same(t, form, r.MultipartForm)
				require.NoError(t, form.RemoveAll())
			})
		}
	}
}

// Of several copies the first one that has parsed something counts, and others do not disturb it.
func TestTheFirstParsedFormIsHandedBack(t *testing.T) {
	t.Parallel()
	forms := func(name string) (form, post url.Values, parts *multipart.Form) {
		return url.Values{name: {"form"}}, url.Values{name: {"post"}}, &multipart.Form{Value: url.Values{name: {"multipart"}}}
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	(&seawall.Stack{Logger: discard}).Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		seawall.WithPrincipal(r, "without")
		first := seawall.WithPrincipal(r, "first")
		first.Form, first.PostForm, first.MultipartForm = forms("first")
		second := seawall.WithPrincipal(r, "second")
		second.Form, second.PostForm, second.MultipartForm = forms("second")
		seawall.WithPrincipal(r, "without")
	})).ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, url.Values{"first": {"form"}}, r.Form)
	require.Equal(t, url.Values{"first": {"post"}}, r.PostForm)
	require.Equal(t, "multipart", r.MultipartForm.Value["first"][0])
}

package seawall_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

// upload returns a form with a file, and its type.
func upload(t *testing.T) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	file, err := form.CreateFormFile("file", "a.txt")
	require.NoError(t, err)
	_, err = file.Write(bytes.Repeat([]byte("x"), 1<<16))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	return b.Bytes(), form.FormDataContentType()
}

// parse parses r's form, whose file goes to the disk, and returns the name of the file.
func parse(t *testing.T, r *http.Request) string {
	require.NoError(t, r.ParseMultipartForm(1)) // byte in memory
	f, err := r.MultipartForm.File["file"][0].Open()
	require.NoError(t, err)
	defer f.Close()
	require.IsType(t, (*os.File)(nil), f)
	return f.(*os.File).Name()
}

func files(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	return len(entries)
}

// net/http removes the temporary files of the form that it finds in its own request.
func TestOuterMiddlewareFindsTheParsedForm(t *testing.T) {
	t.Parallel()
	body, contentType := upload(t)
	for name, layer := range layers() {
		if name == "idempotency" || name == "idempotency and authentication" || name == "a Stack" {
			continue // the form of a handler that may run again is not handed back
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

func TestAFormParsedByOuterMiddlewareIsLeftAlone(t *testing.T) {
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

func TestFormFilesAreRemovedHoweverTheHandlerEnds(t *testing.T) {
	form, contentType := upload(t)
	ends := map[string]func(w http.ResponseWriter, r *http.Request){
		"success":            func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") },
		"nothing written":    func(http.ResponseWriter, *http.Request) {},
		"error":              func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, errSecret) },
		"panic":              func(http.ResponseWriter, *http.Request) { panic("bug") },
		"panic after a part": func(w http.ResponseWriter, _ *http.Request) { part(w); panic("bug") },
		"abort":              func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	panics := map[string]bool{"panic": true, "panic after a part": true, "abort": true}
	for _, protocol := range protocols {
		for name := range layers() {
			for end, finish := range ends {
				if same := name == "nothing" || name == "MaxConcurrent" || name == "Recover"; same && panics[end] {
					continue // over HTTP/1, net/http keeps the files of its request after a panic
				}
				t.Run(protocol.name+"/"+name+"/"+end, func(t *testing.T) {
					dir := t.TempDir()
					t.Setenv("TMPDIR", dir)
					made := 0
					s := protocol.new(seawall.Chain(layers()[name])(plain(func(w http.ResponseWriter, r *http.Request) {
						if err := r.ParseMultipartForm(1); err != nil {
							t.Error(err)
						}
						made = files(t, dir)
						finish(w, r)
					})))
					defer s.Close()
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, bytes.NewReader(form))
					require.NoError(t, err)
					r.Header.Set("Content-Type", contentType)
					r.Header.Set("Idempotency-Key", "key")
					do(s.Client(), r)
					s.Close()
					require.Equal(t, 1, made, "the upload made no file")
					require.Zero(t, files(t, dir))
				})
			}
		}
	}
}

func TestFormFilesOfAbortedUploadsAreRemoved(t *testing.T) {
	form, contentType := upload(t)
	for name := range layers() {
		for at, sent := range map[string]int{"during the upload": len(form) - 1000, "after the upload": len(form)} {
			t.Run(name+"/"+at, func(t *testing.T) {
				dir := t.TempDir()
				t.Setenv("TMPDIR", dir)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var gone <-chan struct{}
				outside := func(next http.Handler) http.Handler {
					return plain(func(w http.ResponseWriter, r *http.Request) {
						gone = r.Context().Done()
						next.ServeHTTP(w, r)
					})
				}
				s := protocols[0].new(seawall.Chain(outside, layers()[name])(plain(func(w http.ResponseWriter, r *http.Request) {
					err := r.ParseMultipartForm(1)
					if err == nil {
						cancel()
						<-gone
					}
					apierror.Write(w, r, errors.Join(err, context.Canceled))
				})))
				defer s.Close()
				leaving := io.MultiReader(bytes.NewReader(form[:sent]), reader(func([]byte) (int, error) {
					if sent < len(form) {
						cancel()
					}
					return 0, io.EOF
				}))
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, leaving)
				require.NoError(t, err)
				r.ContentLength = int64(len(form))
				r.Header.Set("Content-Type", contentType)
				r.Header.Set("Idempotency-Key", "key")
				do(s.Client(), r)
				s.Close()
				require.Zero(t, files(t, dir))
			})
		}
	}
}

type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }

func TestFormFilesOfCopiesAreRemoved(t *testing.T) {
	t.Parallel()
	settled := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
		Name: "bytes", Key: ratelimit.ByRemoteAddr, Limit: ratelimit.PerMinute(1000),
		CostAfter: func(*http.Request, int) int { return 1 },
	})
	for name, chain := range map[string]seawall.Middleware{
		"below an authentication":                     seawall.Chain(seawall.RequestID(nil), as("acct_1")),
		"below a limit that settles, authenticated":   seawall.Chain(seawall.RequestID(nil), settled, as("acct_1")),
		"below a Stack that limits and authenticates": (&seawall.Stack{Logger: discard, AddressLimit: settled, Authenticate: as("acct_1")}).Handler,
	} {
		for _, protocol := range protocols {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				body, contentType := upload(t)
				var files []string
				server := protocol.new(chain(plain(func(_ http.ResponseWriter, r *http.Request) {
					files = append(files, parse(t, seawall.WithPrincipal(r, "first part")))
					second := seawall.WithPrincipal(r, "second part")
					second.Body = io.NopCloser(bytes.NewReader(body))
					files = append(files, parse(t, second))
				})))
				resp, err := server.Client().Post(server.URL, contentType, bytes.NewReader(body))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				server.Close()
				require.Len(t, files, 2)
				for _, name := range files {
					require.NoFileExists(t, name)
				}
			})
		}
	}
}

// Another request may use the name later.
func TestFormFilesAreRemovedOnce(t *testing.T) {
	t.Parallel()
	body, contentType := upload(t)
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	var name string
	h := (&seawall.Stack{Logger: discard}).Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		name = parse(t, r)
		panic(http.ErrAbortHandler)
	}))
	require.Panics(t, func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	require.NoFileExists(t, name)
	require.Nil(t, r.MultipartForm, "net/http would remove the files again")
	require.NotNil(t, r.Form)
}

package seawall_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"testing"
	"weak"

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

// parse has r's form written to a temporary file, and returns the name of the file.
func parse(t *testing.T, r *http.Request) string {
	require.NoError(t, r.ParseMultipartForm(1)) // byte of memory
	f, err := r.MultipartForm.File["file"][0].Open()
	require.NoError(t, err)
	defer f.Close()
	require.IsType(t, (*os.File)(nil), f)
	return f.(*os.File).Name()
}

func TestNoTemporaryFileOfACopyIsLeft(t *testing.T) {
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

// A name that is free again may be another request's.
func TestTemporaryFilesAreRemovedOnce(t *testing.T) {
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

func TestPatternBelowAClone(t *testing.T) {
	t.Parallel()
	var logs logs
	routes := http.NewServeMux()
	routes.Handle("GET /v1/{thing}", ok)
	for _, inside := range []seawall.Middleware{nil, seawall.RequestID(nil), (&apierror.Renderer{}).Handler} {
		h := (&seawall.Stack{Logger: logs.logger()}).Handler(cloned(seawall.Chain(inside)(seawall.WrapMux(routes))))
		r := httptest.NewRequest(http.MethodGet, "/v1/a", nil)
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, "GET /v1/{thing}", requestLine(t, &logs)["pattern"])
		require.Equal(t, "GET /v1/{thing}", r.Pattern)
	}
}

// The race detector watches: a handler must not change the request that it was given.
func TestARequestMayBeServedByTwoAtOnce(t *testing.T) {
	t.Parallel()
	h := (&seawall.Stack{Logger: discard, Authenticate: as("acct_1")}).Handler(ok)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	}
	wg.Wait()
}

func TestAContextThatOutlivesItsRequestDoesNotKeepIt(t *testing.T) {
	t.Parallel()
	for name, chain := range map[string]seawall.Middleware{
		"without a chain": nil,
		"in a Stack":      (&seawall.Stack{Logger: discard}).Handler,
	} {
		var kept context.Context
		var seen weak.Pointer[http.Request]
		handler := plain(func(_ http.ResponseWriter, r *http.Request) { // a foreign copy, and one that no one serves
			copied := seawall.WithPrincipal(r.WithContext(r.Context()), "acct_1")
			seen, kept = weak.Make(copied), copied.Context()
		})
		serveOne(seawall.Chain(chain)(handler), nil)
		runtime.GC()
		require.Nil(t, seen.Value(), name)
		require.Equal(t, "acct_1", seawall.Principal(kept), name)
	}
}

// A copy that is made when the request is over is not remembered for it.
func TestALateCopyIsNotKept(t *testing.T) {
	t.Parallel()
	var r *http.Request
	serveOne((&seawall.Stack{Logger: discard}).Handler(plain(func(_ http.ResponseWriter, own *http.Request) { r = own })), nil)
	seen := weak.Make(seawall.WithPrincipal(r, "acct_1"))
	runtime.GC()
	require.Nil(t, seen.Value())
	runtime.KeepAlive(r)
}

// A handler that makes very many copies does not have them all kept: a batch may be long.
func TestEightCopiesAreKeptForTheRequest(t *testing.T) {
	t.Parallel()
	serveOne((&seawall.Stack{Logger: discard}).Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		var seen []weak.Pointer[http.Request]
		for range 100 {
			seen = append(seen, weak.Make(seawall.WithPrincipal(r, "acct_1")))
		}
		runtime.GC()
		kept := 0
		for _, copied := range seen {
			if copied.Value() != nil {
				kept++
			}
		}
		require.Equal(t, 8, kept)
		runtime.KeepAlive(r)
	})), nil)
}

package seawall_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// layers are all that may pass a copy of the request on.
func layers() map[string]seawall.Middleware {
	settled := func() seawall.Middleware {
		return ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
			Name: "settled", Limit: ratelimit.PerHour(1000), Key: everybody, Settled: true,
		})
	}
	idempotency := func() seawall.Middleware {
		return idempotent.New(idempotent.NewMemory(nil), everybody, nil)
	}
	return map[string]seawall.Middleware{
		"nothing":                        nil,
		"RequestID":                      seawall.RequestID(nil),
		"Renderer":                       (&apierror.Renderer{Logger: discard}).Handler,
		"Renderer in a Renderer":         seawall.Chain((&apierror.Renderer{}).Handler, (&apierror.Renderer{Logger: discard}).Handler),
		"AccessLog":                      seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard}),
		"Timeout":                        seawall.Timeout(time.Hour),
		"RequestID and authentication":   seawall.Chain(seawall.RequestID(nil), as("acct_1")),
		"authentication twice":           seawall.Chain(seawall.RequestID(nil), as("key_1"), as("acct_1")),
		"a settled limit":                settled(),
		"MaxConcurrent":                  ratelimit.MaxConcurrent(10, everybody, nil),
		"idempotency":                    idempotency(),
		"idempotency and authentication": seawall.Chain(idempotency(), as("acct_1")),
		"Recover":                        seawall.Recover(discard),
		"a Stack": (&seawall.Stack{
			Logger: discard, Timeout: time.Hour, MaxBody: 1 << 20, MaxInFlight: 10, AddressLimit: settled(), Authenticate: as("acct_1"),
			RateLimit: settled(), Idempotency: idempotency(),
		}).Handler,
		"a Stack in a Stack": seawall.Chain(
			(&seawall.Stack{Logger: discard, Authenticate: as("acct_1")}).Handler,
			(&seawall.Stack{Logger: discard, Authenticate: as("acct_2"), Timeout: time.Hour}).Handler),
	}
}

func TestNoFileOfAnUploadIsLeft(t *testing.T) {
	form, contentType := upload(t)
	ends := map[string]func(w http.ResponseWriter, r *http.Request){
		"success":             func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") },
		"nothing written":     func(http.ResponseWriter, *http.Request) {},
		"error":               func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, errSecret) },
		"panic":               func(http.ResponseWriter, *http.Request) { panic("bug") },
		"panic in the middle": func(w http.ResponseWriter, _ *http.Request) { part(w); panic("bug") },
		"abort":               func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	panics := map[string]bool{"panic": true, "panic in the middle": true, "abort": true}
	for _, protocol := range protocols {
		for name := range layers() {
			for end, finish := range ends {
				if same := name == "nothing" || name == "MaxConcurrent" || name == "Recover"; same && panics[end] {
					continue // net/http itself leaves the files of its own request over HTTP/1 then
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

// A client that leaves in the middle of its upload, and one that leaves after it, before the
// answer.
func TestNoFileOfAnAbortedUploadIsLeft(t *testing.T) {
	form, contentType := upload(t)
	for name := range layers() {
		for at, sent := range map[string]int{"in the middle": len(form) - 1000, "after it": len(form)} {
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

func files(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	return len(entries)
}

// everybody is the key of every request.
func everybody(*http.Request) (string, error) { return "everybody", nil }

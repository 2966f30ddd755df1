package seawall_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// What no handler has answered is no key's answer: the router's redirects, 404 and 405.
func TestAnswersOfARouterAreNoKeysAnswers(t *testing.T) {
	t.Parallel()
	created := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }
	for name, wrap := range map[string]func(*http.ServeMux) http.Handler{
		"a mux":    func(mux *http.ServeMux) http.Handler { return keyed()(mux) },
		"NotFound": func(mux *http.ServeMux) http.Handler { return keyed()(seawall.WrapMux(mux)) },
		"a Stack":  func(mux *http.ServeMux) http.Handler { return (&seawall.Stack{Idempotency: keyed()}).Handler(mux) },
		"in a mux": func(mux *http.ServeMux) http.Handler {
			outer := http.NewServeMux()
			outer.Handle("/", keyed()(mux))
			return outer
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/orders/", created)
			mux.HandleFunc("GET /read", created)
			h := wrap(mux)
			s := memhttp.New(h)
			defer s.Close()
			client := s.Client()
			post := func(path, key string) (status int, replayed bool) {
				req, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader("body"))
				require.NoError(t, err)
				req.Header.Set("Idempotency-Key", key)
				resp, err := client.Do(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				return resp.StatusCode, resp.Header.Get("Idempotent-Replayed") == "true"
			}

			for _, path := range []string{"/orders", "//orders/1"} { // 307, which the client follows with the same key
				for i, wantReplay := range []bool{false, true} {
					status, replayed := post(path, "key-of-"+path[1:2])
					require.Equal(t, http.StatusCreated, status, "%s, attempt %d", path, i+1)
					require.Equal(t, wantReplay, replayed, path)
				}
			}
			for _, path := range []string{"/new", "/read"} {
				status, _ := post(path, "later"+path[1:])
				require.GreaterOrEqual(t, status, 400, path)
			}
			mux.HandleFunc("POST /new", created) // is deployed
			mux.HandleFunc("POST /read", created)
			for _, path := range []string{"/new", "/read"} {
				status, replayed := post(path, "later"+path[1:])
				require.Equal(t, http.StatusCreated, status, path)
				require.False(t, replayed)
			}
		})
	}
}

func TestRequiredKeyOfAPathThatDoesNotExist(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	h := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, &idempotent.Options{Required: true})(seawall.WrapMux(mux))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/unknown", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
}

func keyed() func(http.Handler) http.Handler {
	return idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)
}

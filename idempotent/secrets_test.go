package idempotent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// transcript is a log that several goroutines write.
type transcript = logbuf.Buffer

// Requests whose keys and bodies are secrets end in every way that there is; nothing that anyone
// is told may hold them.
func TestNobodyIsToldAKeyOrABody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const key, body, response = "SECRET-KEY", "SECRET-BODY", "SECRET-RESPONSE"
		var told transcript // all logs, events and errors
		var mu sync.Mutex
		results := map[idempotent.Outcome]bool{}
		renderer := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		o := idempotent.Options{
			Logger: slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Observe: func(_ context.Context, e idempotent.Event) {
				mu.Lock()
				defer mu.Unlock()
				results[e.Outcome] = true
				fmt.Fprintf(&told, "%+v %v\n", e, e.Err)
			},
		}
		// ask sends a request with its own key for each path; the answers to others than
		// the first's are told, too.
		ask := func(mw http.Handler, path, key, body string) int {
			r, state := reqstate.Ensure(httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
			r.Header.Set("Idempotency-Key", key)
			w := httptest.NewRecorder()
			func() {
				defer func() { _ = recover() }()
				renderer.Handler(mw).ServeHTTP(w, r)
			}()
			fmt.Fprintf(&told, "%v\n", state.Err())
			if w.Code >= 400 && w.Header().Get("Idempotent-Replayed") == "" {
				fmt.Fprintln(&told, w.Body.String())
			}
			return w.Code
		}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/stream":
				idempotent.Stream(r.Context())
			case "/fails":
				panic(http.ErrAbortHandler)
			case "/effect":
				_ = idempotent.BeginEffect(r.Context())
				w.WriteHeader(http.StatusBadGateway)
				return
			case "/slow":
				time.Sleep(time.Minute)
			case "/slow-failure":
				time.Sleep(time.Second)
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, response)
		})
		store := &faulty{Store: memory()}
		mw := idempotent.New(store, idempotent.Global, &o)(handler)

		for _, path := range []string{"/", "/stream", "/fails", "/effect"} {
			ask(mw, path, key+path, body)
			ask(mw, path, key+path, body)
		}
		ask(mw, "/", key+"/", body+"!")
		ask(mw, "/", key+" "+key, body)
		for _, path := range []string{"/slow", "/slow-failure"} {
			var wg sync.WaitGroup
			wg.Go(func() { ask(mw, path, key+path, body) })
			synctest.Wait()
			ask(mw, path, key+path, body)
			wg.Wait()
		}
		store.finish = func(idempotent.Completion, func() error) error { return errDown }
		ask(mw, "/", key+"1", body)
		for i, err := range []error{errDown, idempotent.ErrFull, idempotent.ErrQuota} {
			store.acquire = func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
				return idempotent.Decision{}, err
			}
			ask(mw, "/", fmt.Sprint(key, i), body)
		}
		open := o
		open.OnFailure = idempotent.FailOpen
		store.acquire = func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
			return idempotent.Decision{}, errDown
		}
		ask(idempotent.New(store, idempotent.Global, &open)(handler), "/", key, body)
		ask(idempotent.New(damaging{memory(), []byte(response)}, idempotent.Global, &o)(handler), "/", key, body)
		tiny := o
		tiny.MaxBody = 3
		ask(idempotent.New(store, idempotent.Global, &tiny)(handler), "/", key, body)

		require.Len(t, results, 16, "every result but none twice: %v", results)
		require.NotContains(t, told.String(), "SECRET")
		require.Contains(t, told.String(), "idempotency_id=")
	})
}

package idempotent_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// reply is a response, read.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

func (r reply) replayed() bool { return r.Header.Get("Idempotent-Replayed") == "true" }

// post sends a write with a key; "" is none.
func post(t testing.TB, s *memhttp.Server, key, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/resources", strings.NewReader(body))
	require.NoError(t, err)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return send(t, s, req)
}

func send(t testing.TB, s *memhttp.Server, req *http.Request) reply {
	t.Helper()
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func serve(t testing.TB, h http.Handler, mw ...func(http.Handler) http.Handler) *memhttp.Server {
	t.Helper()
	for i := len(mw) - 1; i >= 0; i-- {
		h = mw[i](h)
	}
	s := memhttp.New(h)
	t.Cleanup(s.Close)
	return s
}

// counter is a handler that counts its runs.
type counter struct {
	runs  atomic.Int64
	serve func(n int64, w http.ResponseWriter, r *http.Request)
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.runs.Add(1)
	if c.serve != nil {
		c.serve(n, w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Location", fmt.Sprint("/v1/resources/", n))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "run %d: %s", n, body)
}

func memory() idempotent.Store { return idempotent.NewMemory(nil) }

func TestRepeatGetsTheFirstResponse(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	first := post(t, s, "k", "hello")
	again := post(t, s, "k", "hello")

	require.Equal(t, http.StatusCreated, first.Status)
	require.Equal(t, "run 1: hello", first.Body)
	require.False(t, first.replayed())
	require.Empty(t, first.Header.Get("Original-Request"))
	require.True(t, again.replayed())
	require.Equal(t, first.Body, again.Body)
	require.Equal(t, first.Status, again.Status)
	require.Equal(t, "/v1/resources/1", again.Header.Get("Location"))
	require.Equal(t, first.Header.Get("Request-Id"), again.Header.Get("Original-Request"))
	require.NotEqual(t, first.Header.Get("Request-Id"), again.Header.Get("Request-Id"))
	require.EqualValues(t, 1, h.runs.Load())
}

func TestAnotherRequestWithTheKeyConflictsAtOnce(t *testing.T) {
	t.Parallel()
	var h counter
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	post(t, s, "k", "hello")
	other := post(t, s, "k", "goodbye")

	require.Equal(t, http.StatusConflict, other.Status)
	require.Contains(t, other.Body, "idempotency_conflict")
	require.NotContains(t, other.Body, "hello")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestDuplicatesWaitAndGetOneAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			_, _ = fmt.Fprintf(w, "run %d", n)
		}}
		s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

		const n = 64
		replies := make([]reply, n)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() { replies[i] = post(t, s, "k", "hello") })
		}
		wg.Wait()

		replays := 0
		for _, r := range replies {
			require.Equal(t, http.StatusOK, r.Status)
			require.Equal(t, "run 1", r.Body)
			if r.replayed() {
				replays++
			}
		}
		require.Equal(t, n-1, replays)
		require.EqualValues(t, 1, h.runs.Load())
	})
}

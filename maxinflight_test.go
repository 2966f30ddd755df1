package seawall_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// While n requests run, others are refused immediately. When one ends, in any way, there is
// room for another.
func TestMaxInFlight(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, end := range map[string]func(http.ResponseWriter) error{
			"success":              func(w http.ResponseWriter) error { _, err := io.WriteString(w, "ok"); return err },
			"error":                func(http.ResponseWriter) error { return errSecret },
			"panic":                func(http.ResponseWriter) error { panic("bug") },
			"panic after a part":   func(w http.ResponseWriter) error { flushedPart(w); panic("bug") },
			"http.ErrAbortHandler": func(http.ResponseWriter) error { panic(http.ErrAbortHandler) },
			"error after a part":   func(w http.ResponseWriter) error { flushedPart(w); return errSecret },
		} {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const n = 3
					release := make(chan struct{})
					s := protocol.new((&seawall.Stack{Logger: discard, MaxInFlight: n}).Handler(
						apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
							<-release
							return end(w)
						})))
					defer s.Close()
					for range 3 { // each round needs the places of the one before
						var wg sync.WaitGroup
						for range n {
							wg.Go(func() { post(t, s, "/") })
						}
						synctest.Wait()
						for range 2 * n {
							a := post(t, s, "/")
							a.requireError(t, http.StatusServiceUnavailable, apierror.CodeServiceUnavailable)
							require.Equal(t, []string{"1"}, a.Header["Retry-After"])
						}
						for range n {
							release <- struct{}{}
						}
						wg.Wait()
					}
				})
			})
		}
	}
}

// stuck is the writer of a client that does not read its response.
type stuck struct {
	*httptest.ResponseRecorder
	taken chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	<-s.taken
	return s.ResponseRecorder.Write(p)
}

// Otherwise clients that do not read their refusals would keep others out.
func TestRefusedRequestsHoldNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release, taken := make(chan struct{}), make(chan struct{})
		first := true
		h := seawall.MaxInFlight(1)(plain(func(http.ResponseWriter, *http.Request) {
			if first {
				first = false
				<-release
			}
		}))
		var wg sync.WaitGroup
		wg.Go(func() { serveOne(h, nil) })
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				h.ServeHTTP(stuck{httptest.NewRecorder(), taken}, httptest.NewRequest(http.MethodGet, "/", nil))
			})
		}
		synctest.Wait()
		release <- struct{}{}
		synctest.Wait()

		require.Equal(t, http.StatusOK, serveOne(h, nil).Code)

		close(taken)
		wg.Wait()
	})
}

// Frameworks such as echo wrap once per request.
func TestMaxInFlightBoundsAllHandlersThatItWraps(t *testing.T) {
	t.Parallel()
	for name, bound := range map[string]seawall.Middleware{
		"MaxInFlight": seawall.MaxInFlight(1),
		"Stack":       (&seawall.Stack{MaxInFlight: 1, Logger: discard}).Handler,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := 0
			inner := bound(plain(func(http.ResponseWriter, *http.Request) { reached++ }))
			outer := bound(plain(func(w http.ResponseWriter, r *http.Request) {
				reached++
				inner.ServeHTTP(w, r)
			}))
			require.Equal(t, http.StatusServiceUnavailable, serveOne(outer, nil).Code)
			require.Equal(t, 1, reached)
		})
	}
}

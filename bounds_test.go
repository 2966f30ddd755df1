package seawall_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

func TestBoundsThatMakeNoSensePanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		panics string
		f      func()
	}{
		"Timeout(0)":           {"seawall: Timeout needs a positive duration", func() { seawall.Timeout(0) }},
		"Timeout(-1)":          {"seawall: Timeout needs a positive duration", func() { seawall.Timeout(-1) }},
		"MaxBody(0)":           {"seawall: MaxBody needs a positive number of bytes", func() { seawall.MaxBody(0) }},
		"MaxBody(-1)":          {"seawall: MaxBody needs a positive number of bytes", func() { seawall.MaxBody(-1) }},
		"MaxInFlight(0)":       {"seawall: MaxInFlight needs a positive number of requests", func() { seawall.MaxInFlight(0) }},
		"MaxInFlight(-1)":      {"seawall: MaxInFlight needs a positive number of requests", func() { seawall.MaxInFlight(-1) }},
		"WrapMux(nil)":         {"seawall: WrapMux of a nil *http.ServeMux", func() { seawall.WrapMux(nil) }},
		"Stack.Handler of nil": {"seawall: Stack.Handler of a nil http.Handler", func() { (&seawall.Stack{}).Handler(nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.PanicsWithValue(t, f.panics, f.f)
		})
	}
	require.PanicsWithValue(t, "seawall: WrapMux of a nil *http.ServeMux", func() {
		var mux *http.ServeMux
		(&seawall.Stack{}).Handler(mux)
	})
	for name, stack := range map[string]*seawall.Stack{
		"Timeout":     {Timeout: -1},
		"MaxBody":     {MaxBody: -1},
		"MaxInFlight": {MaxInFlight: -1},
	} {
		t.Run("Stack with a negative "+name, func(t *testing.T) {
			t.Parallel()
			require.PanicsWithValue(t, "seawall: Stack with a negative Timeout, MaxBody or MaxInFlight", func() { stack.Handler(ok) })
		})
	}
}

// While n run, one more is turned away at once; when one of them ends, however it does, the next
// is let in.
func TestMaxInFlight(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, end := range map[string]func(http.ResponseWriter) error{
			"success":              func(w http.ResponseWriter) error { _, err := io.WriteString(w, "ok"); return err },
			"error":                func(http.ResponseWriter) error { return errSecret },
			"panic":                func(http.ResponseWriter) error { panic("bug") },
			"panic in the middle":  func(w http.ResponseWriter) error { flushedPart(w); panic("bug") },
			"http.ErrAbortHandler": func(http.ResponseWriter) error { panic(http.ErrAbortHandler) },
			"error in the middle":  func(w http.ResponseWriter) error { flushedPart(w); return errSecret },
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
					for range 3 { // each round needs all the places of the one before
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

// stuck is a client that does not take its answer.
type stuck struct {
	*httptest.ResponseRecorder
	taken chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	<-s.taken
	return s.ResponseRecorder.Write(p)
}

// Else a flood would keep the places from being taken that come free in it.
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

func TestMaxBodyOfARequestWithoutOne(t *testing.T) {
	t.Parallel()
	h := seawall.MaxBody(1)(plain(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%T", r.Body) }))
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Body = body
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, fmt.Sprintf("%T", body), w.Body.String(), "a body that is none was wrapped")
	}
}

// The tighter of two bounds holds, whichever is outside.
func TestMaxBodyTwice(t *testing.T) {
	t.Parallel()
	for _, bounds := range [][]seawall.Middleware{
		{seawall.MaxBody(4), seawall.MaxBody(8)},
		{seawall.MaxBody(8), seawall.MaxBody(4)},
	} {
		for size, want := range map[int]int{4: http.StatusOK, 5: http.StatusRequestEntityTooLarge} {
			r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(strings.NewReader(strings.Repeat("x", size))))
			r.ContentLength = -1
			w := httptest.NewRecorder()
			seawall.Chain(bounds...)(reading).ServeHTTP(w, r)
			require.Equal(t, want, w.Code)
		}
	}
}

// Time-outs alone, and one in another: the earlier deadline holds.
func TestTimeoutInATimeout(t *testing.T) {
	t.Parallel()
	for _, bounds := range [][]seawall.Middleware{
		{seawall.Timeout(time.Second), seawall.Timeout(time.Minute)},
		{seawall.Timeout(time.Minute), seawall.Timeout(time.Second)},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			w := serveOne(seawall.Chain(bounds...)(plain(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })), nil)
			require.Equal(t, http.StatusGatewayTimeout, w.Code)
			require.Equal(t, time.Second, time.Since(began))
		})
	}
}

// What a handler has started with its context ends with it.
func TestTimeoutEndsTheContextWithTheHandler(t *testing.T) {
	t.Parallel()
	var ctx context.Context
	serveOne(seawall.Timeout(time.Hour)(plain(func(_ http.ResponseWriter, r *http.Request) {
		ctx = r.Context()
		require.NoError(t, ctx.Err())
	})), nil)
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

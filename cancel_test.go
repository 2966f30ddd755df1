package seawall_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// cancelExchanges are canceled requests whose client is still there.
var cancelExchanges = []exchange{
	{
		name: "canceled, and returned", outside: canceled,
		handler: apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			return fmt.Errorf("query: %w", r.Context().Err())
		}),
		status: 503, code: apierror.CodeServiceUnavailable, logged: map[string]any{"status": 499.},
	},
	{
		name: "canceled, and nothing written", outside: canceled,
		handler: plain(func(http.ResponseWriter, *http.Request) {}),
		status:  503, code: apierror.CodeServiceUnavailable, logged: map[string]any{"status": 499.},
	},
	{
		name: "canceled, and nothing written below a timeout", outside: canceled, stack: &seawall.Stack{Timeout: time.Second},
		handler: plain(func(http.ResponseWriter, *http.Request) {}),
		status:  503, code: apierror.CodeServiceUnavailable, logged: map[string]any{"status": 499.},
	},
	{name: "canceled, and answered", outside: canceled, handler: ok, status: 200, body: "ok"},
	{
		name: "canceled, and panicked", outside: canceled, handler: panicking(context.Canceled),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name: "a cancellation of another context", handler: failing(nil, context.Canceled),
		status: 500, code: apierror.CodeAPIError, others: []string{logFailed},
	},
	{
		name: "canceled, and aborted", outside: canceled, handler: panicking(http.ErrAbortHandler),
		broken: true, status: 499,
	},
}

func TestCanceledRequests(t *testing.T) {
	t.Parallel()
	runExchanges(t, cancelExchanges)
}

// There is no record besides the access log's.
func TestARequestWhoseClientLeftIsLoggedAs499(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, handler := range map[string]http.Handler{
			"the handler returns the cancellation": apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
				<-r.Context().Done()
				return r.Context().Err()
			}),
			"the handler returns without writing": plain(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
			"the handler aborts": plain(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}),
		} {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					line, errorLog, err := fetchAndLeave(t, protocol.new, handler)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.InDelta(t, 499, line["status"], 0)
					require.Empty(t, errorLog)
				})
			})
		}
	}
}

func TestAClientThatLeavesDuringTheResponseIsLoggedWithItsStatus(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, handler := range map[string]http.Handler{
			"during a stream": apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				flushedPart(w)
				<-r.Context().Done()
				return r.Context().Err()
			}),
			"after the complete response": apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				whole(w)
				<-r.Context().Done()
				return r.Context().Err()
			}),
		} {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					line, _, _ := fetchAndLeave(t, protocol.new, handler)
					require.InDelta(t, 200, line["status"], 0)
					require.NotContains(t, line, "code")
				})
			})
		}
	}
}

// fetchAndLeave sends a request to a Stack around h, and cancels it a second later. It
// returns the only line of the access log.
func fetchAndLeave(t *testing.T, newServer func(http.Handler) *memhttp.Server, h http.Handler) (line map[string]any, errorLog string, err error) {
	t.Helper()
	var logs logs
	s := newServer((&seawall.Stack{Logger: logs.logger()}).Handler(h))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	err = do(s.Client(), r).err
	<-ctx.Done()
	s.Close()
	lines := logs.access(t)
	require.Len(t, lines, 1)
	require.Empty(t, logs.others(t))
	return lines[0], s.Log(), err
}

// When a server's base context ends, its clients are still there. They must not get an empty 200.
func TestServerShutdownIsNotAnEmptySuccess(t *testing.T) {
	t.Parallel()
	base, end := context.WithCancel(context.Background())
	defer end()
	var logs logs
	running := make(chan struct{})
	s := httptest.NewUnstartedServer((&seawall.Stack{Logger: logs.logger()}).Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
	})))
	s.Config.BaseContext = func(net.Listener) context.Context { return base }
	s.Start()
	defer s.Close()
	go func() {
		<-running
		end()
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	require.NoError(t, err)

	a := do(s.Client(), r)

	a.requireError(t, http.StatusServiceUnavailable, apierror.CodeServiceUnavailable)
	require.Equal(t, "1", a.Header.Get("Retry-After"))
	s.Close()
	require.InDelta(t, 499, logs.access(t)[0]["status"], 0)
}

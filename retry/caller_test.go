package retry_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

func canceled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

func canceledIn(d time.Duration) func(context.Context) context.Context {
	return func(ctx context.Context) context.Context {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(d, cancel)
		return ctx
	}
}

func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// The timer of http.Client.Timeout closes Request.Cancel, perhaps before the context shows its
// deadline.
func TestClientTimeoutIsNotTheHostsFault(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		server(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hangs" {
				hang(w, r)
			}
		}, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			var reasons []retry.Reason
			tr.Observe = func(_ context.Context, e retry.Event) {
				if e.Kind == retry.KindCall {
					reasons = append(reasons, e.Reason)
				}
			}
			client := &http.Client{Transport: tr, Timeout: 20 * time.Millisecond}
			for range 150 {
				start := time.Now()
				resp, err := client.Do(request(t, method, s.URL+"/hangs", strings.NewReader("x")))
				if resp != nil {
					resp.Body.Close()
				}
				timeout, ok := errors.AsType[interface {
					error
					Timeout() bool
				}](err)
				require.True(t, ok && timeout.Timeout(), "%v", err)
				require.Equal(t, 20*time.Millisecond, time.Since(start))
			}
			require.Len(t, reasons, 150)
			for _, reason := range reasons {
				require.Equal(t, retry.ReasonCanceled, reason)
			}
			require.NoError(t, do(t, tr, s.URL), "the circuit is closed")
		})
	}
}

type timeoutError struct{}

func (*timeoutError) Error() string { return "i/o timeout" }

func (*timeoutError) Timeout() bool { return true }

// lateContext has a deadline, but its Done and Err do not show it.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

// A base that watches Request.Cancel, or a dialer with a timer for the deadline, may
// return before the context has ended.
func TestCancellationThatBaseSeesFirstIsNotTheHostsFault(t *testing.T) {
	t.Parallel()
	ioTimeout := &timeoutError{}
	for name, tc := range map[string]struct {
		end  func(*http.Request) *http.Request
		want error
	}{
		"Request.Cancel": {func(r *http.Request) *http.Request {
			done := make(chan struct{})
			r.Cancel = done
			time.AfterFunc(time.Second, func() { close(done) })
			return r
		}, context.Canceled},
		"a context that shows its deadline late": {func(r *http.Request) *http.Request {
			return r.WithContext(lateContext{r.Context(), time.Now().Add(time.Second)})
		}, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return nil, ioTimeout
			})
			tr := transport(base)
			for range 50 {
				req := tc.end(request(t, "GET", target, nil))

				_, err := tr.RoundTrip(req)

				failed, ok := errors.AsType[*retry.Error](err)
				require.True(t, ok)
				require.Equal(t, retry.ReasonCanceled, failed.Reason, name)
				require.Len(t, failed.Attempts, 1)
				require.ErrorIs(t, err, tc.want)
				require.ErrorIs(t, err, ioTimeout)
			}
			require.Equal(t, 50, base.count(), "the circuit is closed")
		})
	}
}

func TestRequestCancelEndsEveryPhase(t *testing.T) {
	t.Parallel()
	slow := func(status int, header string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			resp := answer(status, "", header)
			resp.Body = io.NopCloser(late{strings.NewReader(errorBody("rate_limit_exceeded"))})
			return resp, nil
		}
	}
	for _, tc := range []struct {
		name     string
		base     *script
		tr       func(*retry.Transport)
		before   func(*testing.T, *retry.Transport)
		at       time.Duration
		attempts int
	}{
		{name: "before the call", base: scripted(status(200)), at: 0, attempts: 0},
		{name: "in a backoff", base: scripted(status(503, "Retry-After: 60")), at: time.Second, attempts: 1},
		{name: "in the second backoff", base: scripted(status(503, "Retry-After: 60")), at: 90 * time.Second, attempts: 2},
		{name: "in a drain", base: scripted(slow(503, "X-A: b")), at: 10 * time.Millisecond, attempts: 1},
		{
			name: "in a pace", base: scripted(status(200)), at: time.Second, attempts: 0,
			tr:     func(tr *retry.Transport) { tr.Pace = rate.NewLimiter(rate.Every(time.Minute), 1) },
			before: func(t *testing.T, tr *retry.Transport) { require.NoError(t, do(t, tr, target)) },
		},
		{
			name: "in a hold", base: scripted(status(503, "Retry-After: 60"), status(200)), at: time.Second, attempts: 0,
			tr: func(tr *retry.Transport) { tr.Policy = &retry.Policy{HoldHost: true, MaxAttempts: 1} },
			before: func(t *testing.T, tr *retry.Transport) {
				require.NoError(t, do(t, tr, target))
			},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(tc.base)
			if tc.tr != nil {
				tc.tr(tr)
			}
			if tc.before != nil {
				tc.before(t, tr)
			}
			had := tc.base.count()
			req := request(t, "GET", target, nil)
			canceled := make(chan struct{})
			req.Cancel = canceled
			if tc.at == 0 {
				close(canceled)
			} else {
				time.AfterFunc(tc.at, func() { close(canceled) })
			}
			start := time.Now()

			resp, err := tr.RoundTrip(req)

			require.Nil(t, resp, tc.name)
			require.ErrorIs(t, err, context.Canceled, tc.name)
			failed, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			require.Equal(t, retry.ReasonCanceled, failed.Reason, tc.name)
			require.Equal(t, tc.attempts, tc.base.count()-had, tc.name)
			require.Equal(t, tc.at, time.Since(start), tc.name)
			time.Sleep(time.Hour)
		})
	}
}

func TestContextEndsEveryPhase(t *testing.T) {
	t.Parallel()
	why := errors.New("shutting down")
	h := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/header":
			<-r.Context().Done()
		case "/body":
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/wait":
			w.Header().Set("Retry-After", "100")
			w.WriteHeader(429)
		}
	}
	for _, phase := range []string{"/header", "/body", "/wait"} {
		server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(3*time.Second, func() { cancel(why) })
			start := time.Now()

			resp, err := tr.RoundTrip(request(t, "GET", s.URL+phase, nil).WithContext(ctx))
			if phase == "/body" {
				require.NoError(t, err)
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}

			require.ErrorIs(t, err, why, phase)
			if phase != "/body" {
				require.ErrorIs(t, err, context.Canceled, phase)
			}
			require.Equal(t, 3*time.Second, time.Since(start), phase)
		})
	}
}

func TestCanceledContextSendsNothing(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			why := errors.New("the user left")
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(why)
			ctx, report := retry.WithReport(ctx)
			base := scripted(status(200))

			_, err := transport(base).RoundTrip(request(t, method, target, nil).WithContext(ctx))

			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, why)
			require.Zero(t, base.count())
			require.Equal(t, retry.ReasonCanceled, report.Reason())
			require.Empty(t, report.Attempts())
			_, err = retry.Do(ctx, nil, func(context.Context) (int, error) {
				t.Error("the function was called")
				return 0, nil
			})
			require.ErrorIs(t, err, why)
		})
	}
}

func TestCancellationEndsTheBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the user left")
		base := scripted(func(*http.Request) (*http.Response, error) {
			return answer(503, errorBody("service_unavailable"), "Content-Type: application/json", "Retry-After: 60"), nil
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(7*time.Second, func() { cancel(why) })
		start := time.Now()

		resp, err := transport(base).RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.Nil(t, resp)
		require.Equal(t, 7*time.Second, time.Since(start))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, apierror.CodeServiceUnavailable, "the last real error")
		require.Equal(t, 1, base.given[0].closed())
	})
}

func TestErrorOfAClientTimeout(t *testing.T) {
	t.Parallel()
	server(t, hang, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		client := &http.Client{Transport: tr, Timeout: time.Second}

		_, err := client.Get(s.URL)

		timeout, ok := errors.AsType[net.Error](err)
		require.True(t, ok)
		require.True(t, timeout.Timeout())
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

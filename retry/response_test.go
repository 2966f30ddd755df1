package retry_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// counting counts the connections of a transport: those that were made, and those that are
// open.
func counting(tr *http.Transport) (dialed, open *atomic.Int32) {
	dialed, open = new(atomic.Int32), new(atomic.Int32)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		dialed.Add(1)
		open.Add(1)
		return &countedConn{Conn: conn, open: open}, nil
	}
	return dialed, open
}

type countedConn struct {
	net.Conn
	open   *atomic.Int32
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

func TestAttemptsWithSmallErrorsUseOneConnection(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"application/json", "text/html"} {
		h := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(503)
			_, _ = io.WriteString(w, strings.Repeat("x", 60<<10))
		}
		server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			dialed, _ := counting(s.Transport())
			tr.Policy = &retry.Policy{MaxAttempts: 4}

			resp, err := tr.RoundTrip(request(t, "GET", s.URL, nil))

			require.NoError(t, err)
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Len(t, b, 60<<10)
			resp.Body.Close()
			require.Equal(t, int32(1), dialed.Load(), contentType)
		})
	}
}

// endless writes the body of an error until the client hangs up.
func endless(pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(503)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, `{"error":{`); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			if pause > 0 {
				time.Sleep(pause)
			}
		}
	}
}

func TestEndlessErrorBodyDoesNotDelayTheRetry(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"fast": 0, "slow": 10 * time.Millisecond, "stuck": time.Hour} {
		server(t, endless(pause), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			_, open := counting(s.Transport())
			tr.Policy = &retry.Policy{BaseDelay: -1}
			start := time.Now()

			resp, err := tr.RoundTrip(request(t, "GET", s.URL, nil))

			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode)
			require.LessOrEqual(t, time.Since(start), 3*50*time.Millisecond, name)
			b := make([]byte, 20)
			n, err := resp.Body.Read(b)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(b[:n]), `{"error":{`), "the last response is returned from its start")
			resp.Body.Close()
			synctest.Wait()
			require.Zero(t, open.Load(), name)
		})
	}
}

func TestConnectionsOfDiscardedResponsesAreClosed(t *testing.T) {
	t.Parallel()
	server(t, endless(time.Millisecond), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		_, open := counting(s.Transport())
		tr.Policy = &retry.Policy{MaxAttempts: 31, BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}
		tr.Breaker = &retry.Breaker{FailureRatio: -1}

		resp, err := tr.RoundTrip(request(t, "GET", s.URL, nil).WithContext(context.Background()))

		require.NoError(t, err)
		resp.Body.Close()
		synctest.Wait()
		require.Zero(t, open.Load())
	})
}

func TestNoConnectionIsHeldDuringTheWait(t *testing.T) {
	t.Parallel()
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		endless(time.Hour)(w, r)
	}
	server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		_, open := counting(s.Transport())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		time.AfterFunc(500*time.Millisecond, func() {
			if open.Load() != 0 {
				t.Error("a connection is open")
			}
		})

		_, err := tr.RoundTrip(request(t, "GET", s.URL, nil).WithContext(ctx))

		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestLargeErrorIsReturnedWhole(t *testing.T) {
	t.Parallel()
	content := `{"error":{"message":"` + strings.Repeat("x", 200<<10) + `"}}`
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		_, _ = io.WriteString(w, content)
	}
	server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		resp, err := tr.RoundTrip(request(t, "GET", s.URL, nil))
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Len(t, b, len(content))
		resp.Body.Close()
	})
}

func TestPanicOfADiscardedBodyIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(func(*http.Request) (*http.Response, error) {
			resp := answer(503, "", "Content-Type: application/json")
			resp.Body = io.NopCloser(panicking{})
			return resp, nil
		}, status(200)))

		require.NoError(t, do(t, tr, target))
	})
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("bug") }

// late is a reader that takes longer than a discarded body may.
type late struct{ io.Reader }

func (l late) Read(p []byte) (int, error) {
	time.Sleep(60 * time.Millisecond)
	return l.Reader.Read(p)
}

func TestCodeOfABodyThatArrivesLateIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(
			func(*http.Request) (*http.Response, error) {
				resp := answer(503, "", "Content-Type: application/json")
				resp.Body = io.NopCloser(late{strings.NewReader(errorBody("service_unavailable"))})
				return resp, nil
			},
			func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second) // longer than the body takes
				return nil, errBroken
			},
		))
		tr.Policy = &retry.Policy{MaxAttempts: 2, BaseDelay: -1}

		_, err := tr.RoundTrip(request(t, "GET", target, nil))

		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Len(t, failed.Attempts, 2)
		require.Equal(t, 503, failed.Attempts[0].Status)
		require.Empty(t, failed.Attempts[0].Code)
	})
}

func TestDiscardDoesNotSpendATightDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(func(*http.Request) (*http.Response, error) {
			resp := answer(503, "", "Content-Type: application/json", "Retry-After-Ms: 30")
			resp.Body = io.NopCloser(late{strings.NewReader("down")})
			return resp, nil
		}, status(200))
		tr := transport(base)
		tr.Policy = &retry.Policy{BaseDelay: -1}
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Millisecond)
		defer cancel()
		start := time.Now()

		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, 30*time.Millisecond, time.Since(start))
		require.NoError(t, resp.Body.Close())
	})
}

func TestReturnedBodyKeepsItsReadError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(func(*http.Request) (*http.Response, error) {
			resp := answer(409, "", "Content-Type: application/json")
			resp.Body, resp.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader(`{"err`), failing{errBroken})), 100
			return resp, nil
		}))
		tr.Policy = &retry.Policy{Retryable: func(retry.Failure) bool { return false }}

		resp, err := tr.RoundTrip(request(t, "GET", target, nil))

		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, `{"err`, string(got))
		require.NoError(t, resp.Body.Close())
	})
}

// The body of http.ReadResponse returns io.EOF after its error.
func TestCutBodyIsNotReturnedAsWhole(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
	tr := transport(scripted(func(r *http.Request) (*http.Response, error) {
		return http.ReadResponse(bufio.NewReader(strings.NewReader(head+`{"err`)), r)
	}))
	tr.Policy = &retry.Policy{Retryable: retry.DefaultRetryable}

	resp, err := tr.RoundTrip(request(t, "GET", target, nil))

	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, `{"err`, string(b))
	require.NoError(t, resp.Body.Close())
}

package retry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// requestFaults are what a request can have wrong, whatever the host. Each changes a POST of
// five bytes.
var requestFaults = []struct {
	name   string
	reason retry.Reason
	change func(*http.Request)
}{
	{"a reader that fails", retry.ReasonBodyFailed, func(r *http.Request) {
		r.Body = io.NopCloser(failing{errDisk})
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(failing{errDisk}), nil }
	}},
	{"a reader that fails in the middle", retry.ReasonBodyFailed, func(r *http.Request) {
		body := func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("ab"), failing{errDisk})), nil
		}
		r.Body, _ = body()
		r.GetBody, r.ContentLength = body, -1
	}},
	{"a reader that fails, without GetBody", retry.ReasonBodyFailed, func(r *http.Request) {
		r.Body, r.GetBody = struct {
			io.Reader
			io.Closer
		}{failing{errDisk}, io.NopCloser(nil)}, nil
	}},
	{"a reader that fails, with a WriterTo", retry.ReasonBodyFailed, func(r *http.Request) {
		r.Body = io.NopCloser(struct {
			io.Reader
			io.WriterTo
		}{failing{errDisk}, nil})
		r.GetBody = func() (io.ReadCloser, error) { return r.Body, nil }
	}},
	{"more length than body, in memory", retry.ReasonBodyFailed, func(r *http.Request) { r.ContentLength = 10 }},
	{"less length than body, in memory", retry.ReasonBodyFailed, func(r *http.Request) { r.ContentLength = 3 }},
	{"more length than body, streamed", retry.ReasonBodyFailed, func(r *http.Request) {
		r.Body, r.GetBody, r.ContentLength = newBody("abc"), nil, 10
	}},
	{"less length than body, streamed", retry.ReasonBodyFailed, func(r *http.Request) {
		r.Body, r.GetBody, r.ContentLength = newBody("abcdef"), nil, 3
	}},
	{"a length without a body", retry.ReasonInvalidRequest, func(r *http.Request) { r.Body, r.GetBody, r.ContentLength = nil, nil, 5 }},
	{"a control character in URL.Opaque", retry.ReasonInvalidRequest, func(r *http.Request) { r.URL.Opaque = "//host/\x01" }},
	{"a newline in URL.RawQuery", retry.ReasonInvalidRequest, func(r *http.Request) { r.URL.RawQuery = "a\nb" }},
	{"no host in the URL", retry.ReasonInvalidRequest, func(r *http.Request) { r.URL.Host = "" }},
	{"an invalid port", retry.ReasonInvalidRequest, func(r *http.Request) { r.URL.Host = "127.0.0.1:99999" }},
	{"a header's name", retry.ReasonInvalidRequest, func(r *http.Request) { r.Header["Bad Name"] = []string{"x"} }},
	{"a header's value", retry.ReasonInvalidRequest, func(r *http.Request) { r.Header.Set("X-Name", "two\nlines") }},
	{"a trailer's name", retry.ReasonInvalidRequest, func(r *http.Request) { r.Trailer = http.Header{"Bad Name": {"x"}} }},
	{"a method", retry.ReasonInvalidRequest, func(r *http.Request) { r.Method = "BAD METHOD" }},
	{"an unknown scheme", retry.ReasonInvalidRequest, func(r *http.Request) { r.URL.Scheme = "gopher" }},
	{"no scheme", retry.ReasonInvalidRequest, func(r *http.Request) { r.URL.Scheme = "" }},
}

var errDisk = errors.New("disk failure")

func TestWhatTheRequestHasWrongIsOneAttemptAndNotTheHostsFault(t *testing.T) {
	t.Parallel()
	for _, record := range []int64{0, 100} {
		for _, fault := range requestFaults {
			t.Run(fmt.Sprint(fault.name, ", recorded ", record), func(t *testing.T) {
				t.Parallel()
				// A real listener, since a dialer has to see the port.
				s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
				}))
				defer s.Close()
				tr := transport(s.Client().Transport)
				defer tr.CloseIdleConnections()
				tr.Policy = &retry.Policy{BaseDelay: -1, RecordBody: record, Budget: &retry.Budget{Tokens: -1}}
				tr.Breaker = &retry.Breaker{MinCalls: 5}
				for range 12 {
					ctx, report := retry.WithReport(t.Context())
					req := request(t, "POST", s.URL, bytes.NewReader([]byte("12345"))).WithContext(ctx)
					fault.change(req)

					_, err := tr.RoundTrip(req)

					require.Error(t, err)
					require.Equal(t, fault.reason, report.Reason(), "%v", err)
					require.Len(t, report.Attempts(), 1)
				}
				require.NoError(t, do(t, tr, s.URL), "the circuit is closed")
			})
		}
	}
}

func TestARequestsFaultIsInItsError(t *testing.T) {
	t.Parallel()
	server(t, flaky(0), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		req := request(t, "POST", s.URL, nil)
		req.Body, req.ContentLength = newBody("abc"), 10

		_, err := tr.RoundTrip(req)

		require.ErrorContains(t, err, "body-failed")
		require.ErrorContains(t, err, "ContentLength of 10")
	})
}

func TestABodyWithTheRightLengthIsNoFault(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request){
		"in memory":          func(*http.Request) {},
		"streamed":           func(r *http.Request) { r.Body, r.GetBody = newBody("12345"), nil },
		"of unknown length":  func(r *http.Request) { r.Body, r.GetBody, r.ContentLength = newBody("12345"), nil, -1 },
		"of no known length": func(r *http.Request) { r.ContentLength = 0 },
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(scripted(fails(errBroken)))
			req := request(t, "POST", target, strings.NewReader("12345"))
			change(req)

			_, err := tr.RoundTrip(req)

			failed, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			require.NotEqual(t, retry.ReasonBodyFailed, failed.Reason, name)
		})
	}
}

// A scheme that Base knows, and nobody else, is retried like http.
func TestARegisteredProtocolIsRetried(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http+unix://socket/v1", "file:///etc/hosts", "unix:///run/a.sock"} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(fails(errBroken), status(503), status(200))
			tr := transport(&http.Transport{})
			scheme, _, _ := strings.Cut(url, ":")
			tr.Base.(*http.Transport).RegisterProtocol(scheme, base)

			require.NoError(t, do(t, tr, url))

			require.Equal(t, 3, base.count(), url)
		})
	}
}

// wrapped is a RoundTripper that somebody puts between two Transports.
type wrapped struct{ http.RoundTripper }

func (w wrapped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		err = fmt.Errorf("wrapped: %w", err)
	}
	return resp, err
}

func TestWhatATransportFurtherInHasGivenUpIsNotRetried(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		answer   func(*http.Request) (*http.Response, error)
		inner    *retry.Policy
		attempts int
		reason   retry.Reason
	}{
		{"a status", status(503), nil, 3, retry.ReasonAlreadyRetried},
		{"an error", fails(errBroken), nil, 3, retry.ReasonAlreadyRetried},
		{"a Retry-After that is too long", status(429, "Retry-After: 3600"), nil, 1, retry.ReasonAlreadyRetried},
		{"one attempt", status(500), &retry.Policy{MaxAttempts: 1}, 1, retry.ReasonAlreadyRetried},
		{"what is not retried", status(404), nil, 1, retry.ReasonNotRetryable},
		{"what is not to be retried", status(503, "X-Should-Retry: false"), nil, 1, retry.ReasonAlreadyRetried},
		{"a success", status(200), nil, 1, retry.ReasonSucceeded},
	} {
		for _, method := range []string{"GET", "POST"} {
			synctest.Test(t, func(t *testing.T) {
				base := scripted(tc.answer)
				inner := transport(base)
				inner.Policy = tc.inner
				outer := transport(wrapped{inner})
				ctx, report := retry.WithReport(t.Context())

				resp, err := outer.RoundTrip(request(t, method, target, strings.NewReader("x")).WithContext(ctx))

				if err == nil {
					require.Equal(t, method, resp.Request.Method)
					resp.Body.Close()
				}
				require.Equal(t, tc.attempts, base.count(), tc.name)
				require.Equal(t, tc.reason, report.Reason(), tc.name)
				require.Len(t, report.Attempts(), 1, tc.name)
			})
		}
	}
}

func TestARequestMadeOfAResponseThatWasGivenUpIsRetried(t *testing.T) {
	t.Parallel()
	s := scripted(status(503))
	tr := transport(s)
	tr.Policy = &retry.Policy{BaseDelay: -1}
	resp, err := tr.RoundTrip(request(t, http.MethodGet, "http://a.example/", nil))
	require.NoError(t, err)
	require.Equal(t, 3, s.count())
	require.NoError(t, resp.Body.Close())

	ctx, report := retry.WithReport(resp.Request.Context())
	resp, err = tr.RoundTrip(resp.Request.Clone(ctx))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 6, s.count())
	require.Equal(t, retry.ReasonAttemptsExhausted, report.Reason())

	// A Transport further in still has the last word.
	outer := transport(tr)
	outer.Policy = tr.Policy
	resp, err = outer.RoundTrip(resp.Request)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 9, s.count())
}

func TestACircuitFurtherInOpensNoneFurtherOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		inner := transport(base)
		inner.Policy = once()
		for range 20 {
			require.NoError(t, do(t, inner, target))
		}
		outer := transport(wrapped{inner})
		var seen []retry.Event
		outer.Observe = func(_ context.Context, e retry.Event) { seen = append(seen, e) }
		for range 50 {
			require.ErrorIs(t, do(t, outer, target), retry.ErrCircuitOpen)
		}
		require.Equal(t, 20, base.count())
		for _, e := range seen {
			require.NotEqual(t, retry.KindCircuit, e.Kind)
			require.LessOrEqual(t, e.Attempt.Number, 1)
		}
	})
}

// A client below that follows a redirect has sent the request before it fails to connect.
func TestAWriteWithoutAKeyIsSentOnceThroughABaseThatFollowsRedirects(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := closed.Addr().String()
	require.NoError(t, closed.Close())
	for name, send := range map[string]func(*http.Client, *http.Request) (*http.Response, error){
		"with the request's context": func(c *http.Client, r *http.Request) (*http.Response, error) {
			return c.Do(r.Clone(r.Context()))
		},
		"with another context": func(c *http.Client, r *http.Request) (*http.Response, error) {
			return c.Do(r.Clone(context.Background()))
		},
		"without the client's error": func(c *http.Client, r *http.Request) (*http.Response, error) {
			resp, err := c.Do(r.Clone(r.Context()))
			if op, ok := errors.AsType[*net.OpError](err); ok {
				err = op
			}
			return resp, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runs := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				runs++
				http.Redirect(w, r, "http://"+dead+"/", http.StatusTemporaryRedirect)
			}))
			defer s.Close()
			tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
				return send(s.Client(), r)
			}))
			tr.Policy = &retry.Policy{Keys: retry.KeysCallerOnly, BaseDelay: -1}
			ctx, report := retry.WithReport(t.Context())

			_, err := tr.RoundTrip(request(t, "POST", s.URL, strings.NewReader("x")).WithContext(ctx))

			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.Equal(t, 1, runs)
			require.Equal(t, retry.ReasonNotIdempotent, report.Reason())
		})
	}
}

func TestADialThatIsRefusedIsRetriedForAWriteWithoutAKey(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := closed.Addr().String()
	require.NoError(t, closed.Close())
	base := &http.Transport{}
	tr := transport(base)
	tr.Policy = &retry.Policy{Keys: retry.KeysCallerOnly, BaseDelay: -1}
	ctx, report := retry.WithReport(t.Context())

	_, err = tr.RoundTrip(request(t, "POST", "http://"+dead, strings.NewReader("x")).WithContext(ctx))

	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Equal(t, retry.ReasonAttemptsExhausted, report.Reason())
	require.Len(t, report.Attempts(), 3)
}

func TestParseAndTheTransportWaitForTheLongestOfSeveralRetryAfters(t *testing.T) {
	t.Parallel()
	for _, headers := range [][]string{
		{"Retry-After: 120", "Retry-After: 300"},
		{"Retry-After: 300", "Retry-After: 120"},
		{"Retry-After: 120, 300"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(scripted(status(503, headers...)))
			ctx, report := retry.WithReport(t.Context())

			resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

			require.NoError(t, err)
			require.Equal(t, retry.ReasonRetryAfterTooLong, report.Reason())
			failed, ok := errors.AsType[*apierror.Error](apierror.Parse(resp))
			require.True(t, ok)
			require.Equal(t, "5m0s", failed.RetryAfter().String())
		})
	}
}

func TestWhatHTTP2CannotCarryIsNotTheHostsFault(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		name   string
		reason retry.Reason
		change func(*http.Request)
	}{
		{"Upgrade", retry.ReasonInvalidRequest, func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }},
		{"Connection", retry.ReasonInvalidRequest, func(r *http.Request) { r.Header.Set("Connection", "x-name") }},
		{"Transfer-Encoding", retry.ReasonInvalidRequest, func(r *http.Request) { r.Header.Set("Transfer-Encoding", "gzip") }},
		{"more of a header than the server takes", retry.ReasonInvalidRequest, func(r *http.Request) {
			r.Header.Set("X-Name", strings.Repeat("x", 2<<20))
		}},
		{"more length than body", retry.ReasonBodyFailed, func(r *http.Request) {
			r.Body, r.GetBody, r.ContentLength = newBody("abc"), nil, 10
		}},
		{"less length than body", retry.ReasonBodyFailed, func(r *http.Request) {
			r.Body, r.GetBody, r.ContentLength = newBody("abcdef"), nil, 3
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := memhttp.NewHTTP2(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
				}))
				defer s.Close()
				tr := transport(s.Transport())
				tr.Policy = &retry.Policy{BaseDelay: -1}
				tr.Breaker = &retry.Breaker{MinCalls: 5}
				require.NoError(t, do(t, tr, s.URL), "the server's settings have arrived")
				for range 12 {
					ctx, report := retry.WithReport(t.Context())
					req := request(t, "POST", s.URL, strings.NewReader("12345")).WithContext(ctx)
					fault.change(req)

					resp, err := tr.RoundTrip(req)

					if err == nil { // the server answered before it saw the end
						resp.Body.Close()
						continue
					}
					require.Equal(t, fault.reason, report.Reason(), "%v", err)
					require.Len(t, report.Attempts(), 1)
				}
				require.NoError(t, do(t, tr, s.URL), "the circuit is closed")
			})
		})
	}
}

func TestABaseThatAddsAHeaderMayFailLikeAnyOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(fails(errBroken), status(200))
		req := request(t, "GET", target, nil)
		req.Header = nil

		resp, err := transport(base).RoundTrip(req)

		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 2, base.count())
	})
}

func TestAResponseWithoutAStatusIsASuccessToTheBreakerToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(status(0)))
		for range 50 {
			require.NoError(t, do(t, tr, target))
			time.Sleep(20 * time.Millisecond)
		}
	})
}

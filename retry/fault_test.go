package retry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// requestFaults are the ways to break a request. Each changes a POST of five bytes.
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
	{"no header map", retry.ReasonInvalidRequest, func(r *http.Request) {
		r.Method, r.Header = http.MethodGet, nil // a write gets one, for its key
		r.Body, r.GetBody, r.ContentLength = nil, nil, 0
	}},
	{"a key from the context", retry.ReasonInvalidRequest, func(r *http.Request) {
		*r = *r.WithContext(retry.WithIdempotencyKey(r.Context(), "two\nlines"))
	}},
}

var errDisk = errors.New("disk failure")

func TestInvalidRequestIsNotTheHostsFault(t *testing.T) {
	t.Parallel()
	for _, record := range []int64{0, 100} {
		for _, fault := range requestFaults {
			t.Run(fmt.Sprint(fault.name, ", recorded ", record), func(t *testing.T) {
				t.Parallel()
				// A real listener, since a dialer must see the port.
				s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if b, _ := io.ReadAll(r.Body); len(b) == 3 {
						<-r.Context().Done() // an answer could come before the client finds the fault
					}
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

func TestErrorSaysWhatIsWrongWithTheRequest(t *testing.T) {
	t.Parallel()
	server(t, flaky(0), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		req := request(t, "POST", s.URL, nil)
		req.Body, req.ContentLength = newBody("abc"), 10

		_, err := tr.RoundTrip(req)

		require.ErrorContains(t, err, "body-failed")
		require.ErrorContains(t, err, "ContentLength of 10")
	})
}

func TestBodyOfTheRightLengthIsNotBlamed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request){
		"in memory":         func(*http.Request) {},
		"streamed":          func(r *http.Request) { r.Body, r.GetBody = newBody("12345"), nil },
		"of unknown length": func(r *http.Request) { r.Body, r.GetBody, r.ContentLength = newBody("12345"), nil, -1 },
		"without a length":  func(r *http.Request) { r.ContentLength = 0 },
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

func TestBodyThatFailsIsNotTheHostsFault(t *testing.T) {
	t.Parallel()
	server(t, flaky(0), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		disk := errors.New("disk failure")
		for range 30 {
			for _, getBody := range []func() (io.ReadCloser, error){
				nil,
				func() (io.ReadCloser, error) { return io.NopCloser(failing{disk}), nil },
			} {
				ctx, report := retry.WithReport(t.Context())
				req := request(t, "POST", s.URL, io.MultiReader(strings.NewReader("x"), failing{disk})).WithContext(ctx)
				req.GetBody = getBody
				if getBody != nil {
					req.Body = struct{ io.ReadCloser }{req.Body}
				}

				_, err := tr.RoundTrip(req)

				require.ErrorIs(t, err, disk)
				require.Equal(t, retry.ReasonBodyFailed, report.Reason())
				require.Len(t, report.Attempts(), 1)
			}
		}
	})
}

// Only Base knows these schemes.
func TestRegisteredProtocolIsRetried(t *testing.T) {
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

func TestInvalidHTTP2RequestIsNotTheHostsFault(t *testing.T) {
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

					if err == nil { // the server answered before the end of the body
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

func TestRequestWithoutHeaderIsRetriedIfBaseSendsIt(t *testing.T) {
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

func TestCallEndsIfABodyThatBaseReplaysFails(t *testing.T) {
	t.Parallel()
	for name, getBody := range map[string]func() (io.ReadCloser, error){
		"GetBody fails": func() (io.ReadCloser, error) { return nil, errDisk },
		"its reader fails": func() (io.ReadCloser, error) {
			return io.NopCloser(failing{errDisk}), nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(func(r *http.Request) (*http.Response, error) {
				body, err := r.GetBody() // as net/http does if a connection is dead
				if err != nil {
					return nil, err
				}
				_, err = io.ReadAll(body)
				return nil, err
			})
			req, _ := post(t, "payload", false)
			req.GetBody = getBody
			ctx, report := retry.WithReport(t.Context())

			_, err := transport(base).RoundTrip(req.WithContext(ctx))

			require.ErrorIs(t, err, errDisk, name)
			require.Equal(t, retry.ReasonBodyFailed, report.Reason(), name)
			require.Equal(t, 1, base.count(), name)
		})
	}
}

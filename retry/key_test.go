package retry_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

func withKey(key string) func(context.Context) context.Context {
	return func(ctx context.Context) context.Context { return retry.WithIdempotencyKey(ctx, key) }
}

func TestKeysAndRetriesOfEachMethod(t *testing.T) {
	t.Parallel()
	const generated = "generated"
	type header = http.Header
	for _, tc := range []struct {
		name     string
		method   string
		header   header
		ctx      func(context.Context) context.Context
		keys     retry.Keys
		sent     string // on every attempt
		attempts int
	}{
		{name: "a read", method: "GET", attempts: 3},
		{name: "HEAD", method: "HEAD", attempts: 3},
		{name: "OPTIONS", method: "OPTIONS", attempts: 3},
		{name: "no method, which is GET", method: "", attempts: 3},
		{name: "a write", method: "POST", sent: generated, attempts: 3},
		{name: "DELETE", method: "DELETE", sent: generated, attempts: 3},
		{name: "an unknown method", method: "BREW", attempts: 1},
		{name: "an unknown method with the caller's key", method: "BREW", header: header{"Idempotency-Key": {"k"}}, sent: "k", attempts: 3},
		{name: "the caller's key", method: "POST", header: header{"Idempotency-Key": {"\"order 7\""}}, sent: "\"order 7\"", attempts: 3},
		{name: "the caller's key, in lower case", method: "POST", header: header{"idempotency-key": {"k"}}, attempts: 3},
		{name: "an empty key", method: "POST", header: header{"Idempotency-Key": {""}}, attempts: 1},
		{name: "a key without a value, which net/http takes for idempotent", method: "POST", header: header{"Idempotency-Key": nil}, attempts: 3},
		{name: "a key from the context", method: "POST", ctx: withKey("ctx"), sent: "ctx", attempts: 3},
		{name: "an empty key from the context", method: "POST", ctx: withKey(""), sent: generated, attempts: 3},
		{name: "keys from both: the header's counts", method: "POST", header: header{"Idempotency-Key": {"k"}}, ctx: withKey("ctx"), sent: "k", attempts: 3},
		{name: "a read with a key in its context", method: "GET", ctx: withKey("ctx"), attempts: 3},

		{name: "caller's keys only: none", method: "POST", keys: retry.KeysCallerOnly, attempts: 1},
		{name: "caller's keys only: PUT", method: "PUT", keys: retry.KeysCallerOnly, attempts: 1},
		{name: "caller's keys only: DELETE", method: "DELETE", keys: retry.KeysCallerOnly, attempts: 1},
		{name: "caller's keys only: a read", method: "GET", keys: retry.KeysCallerOnly, attempts: 3},
		{name: "caller's keys only: in the header", method: "POST", keys: retry.KeysCallerOnly, header: header{"Idempotency-Key": {"k"}}, sent: "k", attempts: 3},
		{name: "caller's keys only: in the context", method: "POST", keys: retry.KeysCallerOnly, ctx: withKey("ctx"), sent: "ctx", attempts: 3},
	} {
		for name, answer := range map[string]baseFunc{"503": status(503), "broken": fails(errBroken)} {
			synctest.Test(t, func(t *testing.T) {
				base := scripted(answer)
				tr := transport(base)
				tr.Policy = &retry.Policy{Keys: tc.keys}
				ctx, report := retry.WithReport(t.Context())
				if tc.ctx != nil {
					ctx = tc.ctx(ctx)
				}
				req := request(t, tc.method, target, nil).WithContext(ctx)
				req.Method = tc.method
				if tc.header != nil {
					req.Header = tc.header.Clone()
				}

				resp, err := tr.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}

				require.Equal(t, tc.attempts, base.count(), "%s, %s", tc.name, name)
				for i, key := range base.keys() {
					want := tc.sent
					if want == generated {
						want = report.IdempotencyKey()
						require.Len(t, want, 36, tc.name)
					}
					require.Equal(t, want, key, "%s, %s: attempt %d", tc.name, name, i+1)
				}
				if tc.attempts == 1 {
					require.Equal(t, retry.ReasonNotIdempotent, report.Reason(), tc.name)
				}
			})
		}
	}
}

func TestAllAttemptsOfAWriteHaveOneKey(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(status(503), fails(errBroken), status(201))
			tr := transport(base)
			req := request(t, method, target, strings.NewReader("payload"))
			before := req.Header.Clone()
			body := req.Body

			resp, err := tr.RoundTrip(req)

			require.NoError(t, err)
			resp.Body.Close()
			keys := base.keys()
			require.Len(t, keys, 3)
			require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, keys[0])
			require.Equal(t, []string{keys[0], keys[0], keys[0]}, keys)
			require.Equal(t, []string{"payload", "payload", "payload"}, base.sent)
			require.Equal(t, before, req.Header, "the caller's header map")
			require.Equal(t, body, req.Body, "the caller's Body field")

			resp, err = tr.RoundTrip(request(t, method, target, nil))
			require.NoError(t, err)
			resp.Body.Close()
			require.NotEqual(t, keys[0], base.keys()[3], "another call")
		})
	}
}

// net/http refuses a request without a header map, but the key makes one.
func TestWriteWithoutHeaderIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(fails(errors.New("connection reset")), status(200))
		req := request(t, "POST", target, nil)
		req.Header = nil
		resp, err := transport(base).RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Nil(t, req.Header)
		resp.Body.Close()
	})
}

func TestRedirectKeepsTheKey(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		tr     func(*retry.Transport)
		own    string // the caller's key, if any
		keys   int    // how many keys differ, including an empty one
	}{
		{name: "307", status: 307, keys: 1},
		{name: "308", status: 308, keys: 1},
		{name: "307, with an attempt timeout", status: 307, keys: 1, tr: func(tr *retry.Transport) {
			tr.Policy = &retry.Policy{AttemptTimeout: time.Minute}
		}},
		{name: "307, observed", status: 307, keys: 1, tr: func(tr *retry.Transport) {
			tr.Observe = func(context.Context, retry.Event) {}
		}},
		{name: "307, with the caller's key", status: 307, own: "order-7", keys: 1},
		{name: "303, which becomes a GET", status: 303, keys: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var keys []string
			h := func(w http.ResponseWriter, r *http.Request) {
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				if n := len(keys); n <= 3 {
					http.Redirect(w, r, "/hop"+strconv.Itoa(n), tc.status)
				}
			}
			server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
				if tc.tr != nil {
					tc.tr(tr)
				}
				req := request(t, "POST", s.URL, strings.NewReader("x"))
				if tc.own != "" {
					req.Header.Set("Idempotency-Key", tc.own)
				}

				resp, err := (&http.Client{Transport: tr}).Do(req)

				require.NoError(t, err)
				resp.Body.Close()
				require.Len(t, keys, 4)
				require.NotEmpty(t, keys[0])
				slices.Sort(keys)
				require.Len(t, slices.Compact(keys), tc.keys)
			})
		})
	}
}

func TestWriteWithoutKeyIsRetriedOnlyIfItWasNotSent(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err      error
		attempts int
	}{
		"dial refused": {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, 3},
		"read reset":   {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, 1},
		"write broken": {&net.OpError{Op: "write", Err: syscall.EPIPE}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(fails(tc.err))
			tr := transport(base)
			tr.Policy = &retry.Policy{Keys: retry.KeysCallerOnly}

			_, err := tr.RoundTrip(request(t, "POST", target, strings.NewReader("x")))

			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.attempts, base.count(), name)
		})
	}
}

func TestWriteWithoutKeyIsRetriedAfterARefusedConnection(t *testing.T) {
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

// A base that follows a redirect has sent the request before it fails to connect.
func TestWriteWithoutKeyIsSentOnceIfBaseFollowsRedirects(t *testing.T) {
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

func TestWriteWhoseAnswerIsLostRunsOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		keys            retry.Keys
		attempts, final int
	}{
		{"a generated key", retry.KeysGenerated, 2, 201},
		{"caller's keys only: none", retry.KeysCallerOnly, 1, 0},
	} {
		var seen []string
		effects := make(map[string]int)
		h := func(w http.ResponseWriter, r *http.Request) {
			key := r.Header.Get("Idempotency-Key")
			seen = append(seen, key)
			if effects[key] == 0 {
				effects[key]++
				panic(http.ErrAbortHandler) // carried out, and the connection breaks
			}
			w.WriteHeader(201)
		}
		server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			tr.Policy = &retry.Policy{Keys: tc.keys}

			resp, err := tr.RoundTrip(request(t, "POST", s.URL, strings.NewReader("charge")))

			if tc.final == 0 {
				require.ErrorIs(t, err, io.EOF)
			} else {
				require.NoError(t, err)
				require.Equal(t, tc.final, resp.StatusCode)
				resp.Body.Close()
				require.NotEmpty(t, seen[0])
				require.Equal(t, seen[0], seen[1])
			}
			require.Len(t, seen, tc.attempts, tc.name)
			require.Len(t, effects, 1)
		})
	}
}

func TestReportHasTheKeyOfTheHeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, header := range map[string]http.Header{
			"canonical": {"Idempotency-Key": {"order-7"}}, "in lower case": {"idempotency-key": {"order-7"}},
		} {
			ctx, report := retry.WithReport(t.Context())
			req := request(t, "POST", target, nil).WithContext(ctx)
			req.Header = header

			resp, err := transport(scripted(status(201))).RoundTrip(req)

			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, "order-7", report.IdempotencyKey(), name)
		}
	})
}

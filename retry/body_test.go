package retry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// post returns a POST and a function that returns the bodies that were made for it. With
// getBody, there is one for each attempt.
func post(t testing.TB, content string, getBody bool) (*http.Request, func() []*body) {
	req := request(t, "POST", target, nil)
	bodies := []*body{newBody(content)}
	req.Body, req.ContentLength = bodies[0], int64(len(content))
	if getBody {
		req.GetBody = func() (io.ReadCloser, error) {
			bodies = append(bodies, newBody(content))
			return bodies[len(bodies)-1], nil
		}
	}
	return req, func() []*body { return bodies }
}

// readerOnly hides the type of a reader, so that http.NewRequest sets no GetBody.
type readerOnly struct{ io.Reader }

func TestServerAnswersBeforeItReadsALargeBody(t *testing.T) {
	t.Parallel()
	payload := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
	server(t, flaky(2), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		resp, err := tr.RoundTrip(request(t, "POST", s.URL, bytes.NewReader(payload)))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(payload, got))
		resp.Body.Close()
	})
}

func TestBodyWithoutGetBodyIsSentOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		ctx, report := retry.WithReport(t.Context())

		resp, err := transport(base).RoundTrip(request(t, "POST", target, readerOnly{strings.NewReader("x")}).WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		require.Equal(t, 1, base.count())
		require.Equal(t, retry.ReasonBodyNotReplayable, report.Reason())
		resp.Body.Close()
	})
}

func TestBodyIsStreamed(t *testing.T) {
	t.Parallel()
	for _, record := range []int64{0, 1 << 20} {
		first := make(chan string, 1)
		h := func(w http.ResponseWriter, r *http.Request) {
			b := make([]byte, 5)
			_, _ = io.ReadFull(r.Body, b)
			first <- string(b)
			rest, _ := io.ReadAll(r.Body)
			_, _ = w.Write(rest)
		}
		server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			tr.Policy = &retry.Policy{RecordBody: record}
			r, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, "first")
				<-first // the server has it while the pipe is open
				_, _ = io.WriteString(w, "second")
				w.Close()
			}()

			resp, err := tr.RoundTrip(request(t, "POST", s.URL, r))

			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "second", string(got))
			resp.Body.Close()
		})
	}
}

func TestRetriesKeepLengthAndTrailers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503), status(200))
		req := request(t, "POST", target, strings.NewReader("payload"))
		req.Trailer = http.Header{"X-Sum": {"7"}}
		req.TransferEncoding = []string{"chunked"}
		req.Host = "virtual.example"

		resp, err := transport(base).RoundTrip(req)

		require.NoError(t, err)
		resp.Body.Close()
		for _, sent := range base.requests {
			require.Equal(t, int64(7), sent.ContentLength)
			require.Equal(t, "7", sent.Trailer.Get("X-Sum"))
			require.Equal(t, []string{"chunked"}, sent.TransferEncoding)
			require.Equal(t, "virtual.example", sent.Host)
		}
	})
}

func TestResponseIsReturnedIfGetBodyFails(t *testing.T) {
	t.Parallel()
	gone := errors.New("file is gone")
	for name, getBody := range map[string]func() (io.ReadCloser, error){
		"an error": func() (io.ReadCloser, error) { return nil, gone },
		"nothing":  func() (io.ReadCloser, error) { return nil, nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(status(503))
			tr := transport(base)
			var out *bytes.Buffer
			tr.Logger, out = logged()
			req, bodies := post(t, "payload", false)
			req.GetBody = getBody
			ctx, report := retry.WithReport(t.Context())

			resp, err := tr.RoundTrip(req.WithContext(ctx))

			require.NoError(t, err, name)
			require.Equal(t, 503, resp.StatusCode)
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "body of Service Unavailable", string(text))
			require.NoError(t, resp.Body.Close())
			require.Equal(t, retry.ReasonBodyFailed, report.Reason())
			require.Len(t, report.Attempts(), 1)
			require.Zero(t, report.Attempts()[0].Delay)
			require.Equal(t, 1, base.count())
			require.Equal(t, 1, bodies()[0].closed())
			require.Contains(t, out.String(), "reason=body-failed")
			require.Contains(t, out.String(), "error=")
		})
	}
}

func TestErrorHoldsTheErrorOfGetBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("file is gone")
		req, _ := post(t, "payload", false)
		req.GetBody = func() (io.ReadCloser, error) { return nil, gone }

		_, err := transport(scripted(fails(errBroken))).RoundTrip(req)

		require.ErrorIs(t, err, gone)
		require.ErrorIs(t, err, errBroken)
		e, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, retry.ReasonBodyFailed, e.Reason)
		require.Len(t, e.Attempts, 1)
	})
}

func TestPanicOfGetBodyLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 1, PerSecond: -1})
		req, bodies := post(t, "payload", false)
		req.GetBody = func() (io.ReadCloser, error) { panic("bug") }

		require.PanicsWithValue(t, "bug", func() { _, _ = tr.RoundTrip(req) })

		require.Equal(t, 1, bodies()[0].closed())
		require.Equal(t, 1, base.given[0].closed())
		require.Equal(t, 2, calls(t, tr, base, 1), "the token was put back")
	})
}

func TestAttemptsDoNotShareAReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Like net/http, this base reads on in the first body after it has answered.
		var readers sync.WaitGroup
		var n atomic.Int32
		base := baseFunc(func(r *http.Request) (*http.Response, error) {
			if n.Add(1) == 1 {
				readers.Go(func() { _, _ = io.Copy(io.Discard, r.Body); r.Body.Close() })
				return answer(503, ""), nil
			}
			b, err := io.ReadAll(r.Body)
			r.Body.Close()
			if string(b) != "payload" {
				return nil, errors.Join(err, errors.New("got "+string(b)))
			}
			return answer(200, ""), nil
		})
		for range 50 {
			n.Store(0)
			resp, err := transport(base).RoundTrip(request(t, "PUT", target, strings.NewReader("payload")))
			require.NoError(t, err)
			resp.Body.Close()
			readers.Wait()
		}
	})
}

// listBody is not comparable: == on two of them panics.
type listBody struct {
	io.Reader
	_ []int
}

func (listBody) Close() error { return nil }

func TestBodyThatIsNotComparable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, body := range []io.ReadCloser{
			listBody{Reader: strings.NewReader("x")},
			io.NopCloser(listBody{Reader: strings.NewReader("x")}),
		} {
			base := scripted(status(200))
			req := request(t, "GET", target, nil)
			req.Body = body
			req.GetBody = func() (io.ReadCloser, error) { return body, nil }

			resp, err := transport(base).RoundTrip(req)

			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, []string{"x"}, base.sent)
		}
	})
}

func TestEveryBodyIsClosedOnce(t *testing.T) {
	t.Parallel()
	closesTwice := baseFunc(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		r.Body.Close()
		return answer(503, ""), nil
	})
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, tc := range map[string]struct {
		tr      *retry.Transport
		ctx     func(context.Context) context.Context
		readers int
	}{
		"success":            {tr: transport(scripted(status(200))), readers: 1},
		"retried status":     {tr: transport(scripted(status(503), status(500), status(200))), readers: 3},
		"attempts run out":   {tr: transport(scripted(status(503))), readers: 3},
		"transport error":    {tr: transport(scripted(fails(errBroken))), readers: 3},
		"dial refused":       {tr: transport(scripted(fails(refused), status(200))), readers: 2},
		"closed twice":       {tr: transport(closesTwice), readers: 3},
		"canceled before":    {tr: transport(scripted(status(200))), ctx: canceled, readers: 1},
		"canceled in a wait": {tr: transport(scripted(status(503, "Retry-After: 9"))), ctx: canceledIn(time.Second), readers: 2},
		"pace refused": {
			tr:      &retry.Transport{Base: scripted(status(200)), Pace: rate.NewLimiter(1, 0), Logger: quiet()},
			readers: 1,
		},
		"recorded": {
			tr:      &retry.Transport{Base: scripted(status(503)), Policy: &retry.Policy{RecordBody: 100}, Logger: quiet()},
			readers: -1,
		},
		"recorded, canceled in a wait": {
			tr:      &retry.Transport{Base: scripted(status(503, "Retry-After: 9")), Policy: &retry.Policy{RecordBody: 100}, Logger: quiet()},
			ctx:     canceledIn(time.Second),
			readers: -1,
		},
		"recorded, over the limit": {
			tr:      &retry.Transport{Base: scripted(status(503)), Policy: &retry.Policy{RecordBody: 3}, Logger: quiet()},
			readers: -1,
		},
		"recorded, canceled before": {
			tr:      &retry.Transport{Base: scripted(status(200)), Policy: &retry.Policy{RecordBody: 3}, Logger: quiet()},
			ctx:     canceled,
			readers: -1,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			req, bodies := post(t, "payload", tc.readers > 0)
			if tc.ctx != nil {
				req = req.WithContext(tc.ctx(t.Context()))
			}

			resp, err := tc.tr.RoundTrip(req)

			require.NotEqual(t, resp == nil, err == nil, "%s: either a response or an error", name)
			if resp != nil {
				resp.Body.Close()
			}
			for i, b := range bodies() {
				require.Equal(t, 1, b.closed(), "%s: reader %d", name, i)
			}
			require.Len(t, bodies(), max(tc.readers, 1), name)
		})
	}
}

func TestRefusedCallClosesTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Policy = once()
		for range 20 {
			_ = do(t, tr, target)
		}
		req, bodies := post(t, "payload", false)

		_, err := tr.RoundTrip(req)

		require.ErrorIs(t, err, retry.ErrCircuitOpen)
		require.Equal(t, 1, bodies()[0].closed())
	})
}

func TestBodyIsClosedIfBaseDoesNotReturn(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(){"panic": func() { panic("base") }, "Goexit": runtime.Goexit} {
		for _, record := range []int64{0, 100} {
			tr := transport(baseFunc(func(*http.Request) (*http.Response, error) { leave(); return nil, nil }))
			tr.Policy = &retry.Policy{RecordBody: record}
			req, bodies := post(t, "payload", false)
			var call sync.WaitGroup
			call.Go(func() {
				defer func() { _ = recover() }()
				_, _ = tr.RoundTrip(req)
			})
			call.Wait()
			require.Equal(t, 1, bodies()[0].closed(), "%s, recording %d", name, record)
		}
	}
}

func TestNetHTTPReplaysOnADeadConnectionWithTheSameKey(t *testing.T) {
	t.Parallel()
	for _, record := range []int64{0, 100} {
		var mu sync.Mutex
		var keys []string
		h := func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, r.Header.Get("Idempotency-Key")+" "+string(b))
			if len(keys) == 2 {
				panic(http.ErrAbortHandler) // the reused connection breaks during the second request
			}
		}
		server(t, h, func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
			tr.Policy = &retry.Policy{MaxAttempts: 1, RecordBody: record}
			resp, err := tr.RoundTrip(request(t, "POST", s.URL, strings.NewReader("one")))
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			var body io.Reader = strings.NewReader("two")
			if record > 0 {
				body = readerOnly{body}
			}

			resp, err = tr.RoundTrip(request(t, "POST", s.URL, body))

			require.NoError(t, err)
			resp.Body.Close()
			require.Len(t, keys, 3)
			require.Equal(t, keys[1], keys[2])
			require.NotEqual(t, keys[0], keys[1])
		})
	}
}

package retry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// flaky answers the first n requests with 503, without reading them, and the others with 200 and what it read.
func flaky(n int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if atomic.AddInt32(&n, -1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(b)
	}
}

func TestA503BeforeALargeBodyIsRead(t *testing.T) {
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

// readerOnly hides what a reader can do besides reading, so that http.NewRequest sets no GetBody.
type readerOnly struct{ io.Reader }

func TestABodyWithoutGetBodyIsSentOnce(t *testing.T) {
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

func TestARecordedBodyIsRepeatedUpToItsLimit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		size, limit int
		attempts    int
	}{
		{size: 100, limit: 100, attempts: 3},
		{size: 101, limit: 100, attempts: 1},
		{size: 0, limit: 100, attempts: 3},
		{size: 1 << 20, limit: 1 << 20, attempts: 3},
		{size: 1 << 20, limit: 1<<20 - 1, attempts: 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			payload := strings.Repeat("x", tc.size)
			base := scripted(status(503))
			tr := transport(base)
			tr.Policy = &retry.Policy{RecordBody: int64(tc.limit)}

			resp, err := tr.RoundTrip(request(t, "POST", target, readerOnly{strings.NewReader(payload)}))

			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, tc.attempts, base.count(), "%d of %d", tc.size, tc.limit)
			for _, sent := range base.sent {
				require.Equal(t, payload, sent, "%d of %d", tc.size, tc.limit)
			}
		})
	}
}

func TestARecordedStreamGoesOnWhereTheFirstAttemptStopped(t *testing.T) {
	t.Parallel()
	server(t, flaky(2), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		tr.Policy = &retry.Policy{RecordBody: 1 << 20}
		r, w := io.Pipe()
		var payload bytes.Buffer
		go func() {
			for range 1000 {
				part := []byte(strings.Repeat("abc", 100))
				payload.Write(part)
				if _, err := w.Write(part); err != nil {
					return
				}
			}
			w.Close()
		}()

		resp, err := tr.RoundTrip(request(t, "POST", s.URL, r))

		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.True(t, bytes.Equal(payload.Bytes(), got), "%d and %d bytes", payload.Len(), len(got))
	})
}

func TestAPipeStreams(t *testing.T) {
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

func TestLengthAndTrailersSurvive(t *testing.T) {
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

func TestACallersBodyThatFailsIsNotTheHostsFault(t *testing.T) {
	t.Parallel()
	server(t, flaky(0), func(t *testing.T, s *memhttp.Server, tr *retry.Transport) {
		disk := errors.New("disk on fire")
		for range 30 {
			for _, getBody := range []func() (io.ReadCloser, error){nil, func() (io.ReadCloser, error) { return io.NopCloser(failing{disk}), nil }} {
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

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAGetBodyThatFailsCostsNoResponse(t *testing.T) {
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
			require.Len(t, report.Attempts(), 1, "the second was not sent")
			require.Zero(t, report.Attempts()[0].Delay)
			require.Equal(t, 1, base.count())
			require.Equal(t, 1, bodies()[0].closed())
			require.Contains(t, out.String(), "reason=body-failed")
			require.Contains(t, out.String(), "error=")
		})
	}
}

func TestAGetBodyThatFailsAfterABrokenConnectionIsInTheError(t *testing.T) {
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

func TestAGetBodyThatPanicsLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 1, PerSecond: -1})
		req, bodies := post(t, "payload", false)
		req.GetBody = func() (io.ReadCloser, error) { panic("bug") }

		require.PanicsWithValue(t, "bug", func() { _, _ = tr.RoundTrip(req) })

		require.Equal(t, 1, bodies()[0].closed())
		require.Equal(t, 1, base.given[0].closed())
		require.Equal(t, 2, calls(t, tr, base, 1), "the token was given back")
	})
}

func TestAttemptsShareNoReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A base that, like net/http's, still reads the first attempt's body after it has answered.
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

func TestADeadReusedConnectionIsReplayedByNetHTTPWithTheSameKey(t *testing.T) {
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
				panic(http.ErrAbortHandler) // the reused connection dies under the second request
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

func TestABlockedRecordedPipeDoesNotHoldUpACancelledCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A base like net/http's HTTP/2: it reads in another goroutine, and closes the body when it gives up.
		var reading sync.WaitGroup
		base := baseFunc(func(r *http.Request) (*http.Response, error) {
			reading.Go(func() { _, _ = io.Copy(io.Discard, r.Body) })
			<-r.Context().Done()
			r.Body.Close()
			return nil, r.Context().Err()
		})
		tr := transport(base)
		tr.Policy = &retry.Policy{RecordBody: 100}
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, "x")
			cancel()
		}()

		_, err := tr.RoundTrip(request(t, "POST", target, r).WithContext(ctx))

		require.ErrorIs(t, err, context.Canceled)
		reading.Wait() // closing the pipe ended the read
	})
}

// listBody cannot be compared: == on two of them panics.
type listBody struct {
	io.Reader
	_ []int
}

func (listBody) Close() error { return nil }

func TestABodyThatCannotBeComparedIsSentAsAnyOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, body := range []io.ReadCloser{listBody{Reader: strings.NewReader("x")}, io.NopCloser(listBody{Reader: strings.NewReader("x")})} {
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

// slow gives a byte at a time, and minds two readers.
type slow struct {
	content string
	reading atomic.Int32
	t       *testing.T
}

func (s *slow) Read(p []byte) (int, error) {
	if s.reading.Add(1) != 1 {
		s.t.Error("two attempts read the source at once")
	}
	defer s.reading.Add(-1)
	time.Sleep(time.Millisecond)
	if s.content == "" {
		return 0, io.EOF
	}
	n := copy(p, s.content[:1])
	s.content = s.content[n:]
	return n, nil
}

func TestARecordingSurvivesAnAttemptThatStillReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const content = "0123456789"
		var late sync.WaitGroup
		attempts := 0
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if attempts++; attempts < 3 {
				late.Go(func() {
					_, err := io.ReadAll(r.Body)
					require.Error(t, err, "an attempt that is over reads no further")
				})
				time.Sleep(3 * time.Millisecond)
				return answer(503, ""), nil
			}
			b, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Equal(t, content, string(b))
			r.Body.Close()
			return answer(200, ""), nil
		}))
		tr.Policy = &retry.Policy{RecordBody: 100, BaseDelay: -1}

		resp, err := tr.RoundTrip(request(t, "POST", target, &slow{content: content, t: t}))

		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		resp.Body.Close()
		late.Wait()
	})
}

func TestARecordingIsWholeOrNotRepeated(t *testing.T) {
	t.Parallel()
	// The base answers early and still reads: what comes during the wait is more than may be recorded, and belongs to the next
	// attempt nevertheless.
	synctest.Test(t, func(t *testing.T) {
		content := strings.Repeat("a", 200) + "end"
		r, w := io.Pipe()
		go func() {
			time.Sleep(time.Second)
			_, _ = io.WriteString(w, content[:200])
			_, _ = io.WriteString(w, content[200:])
			w.Close()
		}()
		attempts := 0
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if attempts++; attempts == 1 {
				go func() {
					_, _ = io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}()
				return answer(503, "", "Retry-After: 5"), nil
			}
			b, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Equal(t, content, string(b))
			r.Body.Close()
			return answer(200, ""), nil
		}))
		tr.Policy = &retry.Policy{RecordBody: 100}

		resp, err := tr.RoundTrip(request(t, "POST", target, r))

		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		resp.Body.Close()
		require.Equal(t, 2, attempts)
	})
}

// deadlineHook is a context that calls a function when it is asked for its deadline.
type deadlineHook struct {
	context.Context
	hook func()
}

func (c deadlineHook) Deadline() (time.Time, bool) {
	c.hook()
	return c.Context.Deadline()
}

func TestARecordingGivenUpWhileItIsDecidedIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := &retry.Budget{Tokens: 1, PerSecond: -1}
		var sent io.Reader
		base := baseFunc(func(r *http.Request) (*http.Response, error) {
			sent = r.Body
			return answer(503, ""), nil
		})
		tr := transport(base)
		tr.Policy = &retry.Policy{RecordBody: 3, BaseDelay: -1, Budget: budget}
		ctx, report := retry.WithReport(deadlineHook{t.Context(), func() {
			if sent != nil { // the Transport is deciding on a retry
				_, _ = io.ReadAll(sent) // as the base's own goroutine may
			}
		}})
		req, _ := post(t, "payload", false)

		resp, err := tr.RoundTrip(req.WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		resp.Body.Close()
		require.Equal(t, retry.ReasonBodyNotReplayable, report.Reason())
		another := scripted(status(503), status(200))
		require.NoError(t, do(t, &retry.Transport{Base: another, Policy: &retry.Policy{Budget: budget}, Logger: quiet()}, target))
		require.Equal(t, 2, another.count(), "the token was given back")
	})
}

func TestAClosedRecordedBodyReadsNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			r.Body.Close()
			_, err := r.Body.Read(make([]byte, 1))
			require.Error(t, err)
			return answer(503, ""), nil
		}))
		tr.Policy = &retry.Policy{RecordBody: 100}
		req, bodies := post(t, "payload", false)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 1, bodies()[0].closed())
	})
}

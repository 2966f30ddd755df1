package retry_test

import (
	"bytes"
	"context"
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

func TestRecordedBodyIsRetriedUpToItsLimit(t *testing.T) {
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

func TestRecordedStreamContinuesAfterTheFirstAttempt(t *testing.T) {
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

func TestBlockedReadDoesNotDelayACanceledCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Like net/http's HTTP/2, this base reads in another goroutine, and closes the
		// body at the end.
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

// slow returns one byte at a time. It fails the test if two goroutines read at the same time.
type slow struct {
	content string
	reading atomic.Int32
	t       *testing.T
}

func (s *slow) Read(p []byte) (int, error) {
	if s.reading.Add(1) != 1 {
		s.t.Error("two attempts read the body at the same time")
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

func TestRecordingIsCompleteIfAnEarlierAttemptStillReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const content = "0123456789"
		var late sync.WaitGroup
		attempts := 0
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if attempts++; attempts < 3 {
				late.Go(func() {
					_, err := io.ReadAll(r.Body)
					require.Error(t, err, "the reader of an earlier attempt")
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

func TestEarlierAttemptDoesNotEndTheRecording(t *testing.T) {
	t.Parallel()
	// The base answers early and reads on. What it reads during the wait is more than may be
	// recorded, but belongs to the next attempt.
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

// deadlineHook is a context that calls hook when it is asked for its deadline.
type deadlineHook struct {
	context.Context
	hook func()
}

func (c deadlineHook) Deadline() (time.Time, bool) {
	c.hook()
	return c.Context.Deadline()
}

func TestRecordingThatEndsDuringTheDecisionIsNotRetried(t *testing.T) {
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
		require.Equal(t, 2, another.count(), "the token was put back")
	})
}

func TestClosedRecordedBodyCannotBeRead(t *testing.T) {
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

func TestBaseCannotReplayMoreThanIsRecorded(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		limit int64
		want  string // of what Base reads again
	}{
		{7, "payload"},
		{6, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
				_, _ = io.ReadAll(r.Body)
				r.Body.Close()
				again, err := r.GetBody()
				if tc.want == "" {
					require.Error(t, err)
					return answer(200, ""), nil
				}
				require.NoError(t, err)
				content, err := io.ReadAll(again)
				require.NoError(t, err)
				require.Equal(t, tc.want, string(content))
				again.Close()
				return answer(200, ""), nil
			}))
			tr.Policy = &retry.Policy{RecordBody: tc.limit}
			req, bodies := post(t, "payload", false)

			resp, err := tr.RoundTrip(req)

			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, 1, bodies()[0].closed())
		})
	}
}

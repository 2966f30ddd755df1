package idempotent_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// outer is a layer that sets fields before the handler runs, with other values for each request.
func outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, state := reqstate.Ensure(r)
		state.SetRequestID(reqid.New())
		n := r.Header.Get("N")
		for name, value := range map[string]string{
			"Request-Id": state.RequestID(), "X-Request-Id": state.RequestID(), "RateLimit": n,
			"Access-Control-Allow-Origin": n, "X-Outer": n, "Vary": "Origin", "Set-Cookie": "outer=" + n,
		} {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

func TestReplayedHeader(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		for name, values := range map[string][]string{
			"Location": {"/v1/resources/1"}, "ETag": {`"v1"`}, "Content-Type": {"application/x-thing; v=1"},
			"Link": {"<a>; rel=next", "<b>; rel=prev"}, "X-Own": {"1", "", "1"}, "Cache-Control": {"no-cache"},
			"Set-Cookie": {"session=1"}, "Date": {"Mon, 01 Jan 2001 00:00:00 GMT"}, "Keep-Alive": {"timeout=5"}, "Proxy-Authenticate": {"Basic"},
			"Access-Control-Expose-Headers": {"X-Own"}, "X-RateLimit-Limit": {"1"}, "RateLimit-Policy": {"x"}, "Vary": {"Accept"},
			"Idempotent-Replayed": {"true"}, "Original-Request": {"req_upstream"}, "Content-Encoding": {"gzip"},
		} {
			for _, v := range values {
				w.Header().Add(name, v)
			}
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "\x1f\x8b not really")
	}}
	s := serve(t, &h, outer, idempotent.New(memory(), idempotent.Global, nil))
	ask := func(n string) reply {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
		req.Header.Set("Idempotency-Key", "k")
		req.Header.Set("N", n)
		req.Header.Set("Accept-Encoding", "identity")
		return send(t, s, req)
	}

	first, again := ask("1"), ask("2")

	require.Equal(t, first.Body, again.Body)
	for name, want := range map[string][]string{
		"Location": {"/v1/resources/1"}, "Etag": {`"v1"`}, "Content-Type": {"application/x-thing; v=1"}, "Content-Encoding": {"gzip"},
		"Link": {"<a>; rel=next", "<b>; rel=prev"}, "X-Own": {"1", "", "1"}, "Cache-Control": {"no-cache"}, "Vary": {"Origin", "Accept"},
	} {
		require.Equal(t, want, first.Header[name], name)
		require.Equal(t, want, again.Header[name], name)
	}
	require.Equal(t, []string{"outer=1", "session=1"}, first.Header["Set-Cookie"])
	require.Equal(t, []string{"outer=2"}, again.Header["Set-Cookie"])
	for _, name := range []string{"X-Outer", "Ratelimit", "Access-Control-Allow-Origin"} {
		require.Equal(t, []string{"1"}, first.Header[name], name)
		require.Equal(t, []string{"2"}, again.Header[name], "%s: outer layers set it for the new request", name)
	}
	for _, name := range []string{"Keep-Alive", "Proxy-Authenticate", "Access-Control-Expose-Headers", "X-Ratelimit-Limit", "Ratelimit-Policy"} {
		require.NotContains(t, again.Header, name)
	}
	require.NotEqual(t, "Mon, 01 Jan 2001 00:00:00 GMT", again.Header.Get("Date"))
	require.Equal(t, []string{"true"}, again.Header["Idempotent-Replayed"])
	require.Equal(t, []string{first.Header.Get("Request-Id")}, again.Header["Original-Request"])
	require.NotEqual(t, first.Header.Get("Request-Id"), again.Header.Get("Request-Id"))
	require.Equal(t, again.Header.Get("Request-Id"), again.Header.Get("X-Request-Id"))
}

func TestReplayedErrorKeepsTheFirstRequestIDInItsBody(t *testing.T) {
	t.Parallel()
	h := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.ParameterMissing("name") })
	for name, mw := range map[string][]func(http.Handler) http.Handler{
		"in a chain": {outer, idempotent.New(memory(), idempotent.Global, nil)},
		"alone":      {idempotent.New(memory(), idempotent.Global, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, h, mw...)

			first, again := post(t, s, "k", ""), post(t, s, "k", "")

			id := first.Header.Get("Request-Id")
			require.Contains(t, first.Body, id)
			require.Equal(t, http.StatusBadRequest, again.Status)
			require.Equal(t, first.Body, again.Body)
			require.Equal(t, id, again.Header.Get("Original-Request"))
			require.NotEmpty(t, again.Header.Get("Request-Id"))
			require.NotEqual(t, id, again.Header.Get("Request-Id"))
			require.Equal(t, []string{"application/json"}, again.Header["Content-Type"])
		})
	}
}

// addToAll adds a value to each field when the header is sent.
type addToAll struct{ http.ResponseWriter }

func (a addToAll) WriteHeader(status int) {
	for name := range a.Header() {
		a.Header().Add(name, "added")
	}
	a.ResponseWriter.WriteHeader(status)
}

// The values of all fields share one slice.
func TestAddingToAFieldChangesNoOtherField(t *testing.T) {
	t.Parallel()
	mw := protected(nil, func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"A", "B", "B", "C", "D", "D", "D"} {
			w.Header().Add(name, "of "+name)
		}
		_, _ = io.WriteString(w, "body")
	})
	adding := wrapWriter(mw, func(w http.ResponseWriter) http.ResponseWriter { return addToAll{w} })
	first, again := call(adding, "k", ""), call(adding, "k", "")
	for _, r := range []reply{first, again} {
		for name, n := range map[string]int{"A": 1, "B": 2, "C": 1, "D": 3} {
			require.Equal(t, append(slices.Repeat([]string{"of " + name}, n), "added"), r.Header[name])
		}
	}
	require.Equal(t, []string{"true", "added"}, again.Header["Idempotent-Replayed"])
	require.Equal(t, []string{first.Header.Get("Request-Id"), "added"}, again.Header["Original-Request"])
	require.Equal(t, []string{"4", "added"}, again.Header["Content-Length"])
}

func TestReplayRepeatsChangesOfOuterFields(t *testing.T) {
	t.Parallel()
	inner := protected(nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Link"] = []string{"<b>", "<c>"}
		w.Header().Del("X-Outer")
		w.Header().Del("Ratelimit") // is never recorded
		_, _ = io.WriteString(w, "x")
	})
	mw := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<a>")
		w.Header().Set("X-Outer", "outer")
		w.Header().Set("Ratelimit", "outer")
		inner.ServeHTTP(w, r)
	})
	first, again := call(mw, "k", ""), call(mw, "k", "")
	for _, r := range []reply{first, again} {
		require.Equal(t, []string{"<b>", "<c>"}, r.Header["Link"])
		require.Empty(t, r.Header.Get("X-Outer"))
		require.Equal(t, "x", r.Body)
	}
	require.Empty(t, first.Header.Get("Ratelimit"))
	require.Equal(t, "outer", again.Header.Get("Ratelimit"))
}

func TestOmitFields(t *testing.T) {
	t.Parallel()
	mw := protected(&idempotent.Options{OmitFields: []string{"x-trace-ID", "X-Lower"}}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Trace-Id", "1")
		w.Header()["x-lower"] = []string{"1"}
		w.Header().Set("X-Kept", "1")
	})

	first, again := call(mw, "k", ""), call(mw, "k", "")

	require.Equal(t, "1", first.Header.Get("X-Trace-Id"))
	require.True(t, again.replayed())
	require.NotContains(t, again.Header, "X-Trace-Id")
	require.NotContains(t, again.Header, "x-lower")
	require.Equal(t, "1", again.Header.Get("X-Kept"))
}

// setsEncoding is an outer layer that compresses: it changes the header when it is sent.
type setsEncoding struct{ http.ResponseWriter }

func (s setsEncoding) WriteHeader(status int) {
	s.Header().Set("Content-Encoding", "gzip")
	s.Header().Del("Content-Length")
	s.ResponseWriter.WriteHeader(status)
}

func TestHeaderChangedByAnOuterLayerStays(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	mw := protected(nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		w.Header().Set("X-Own", "1")
		_, _ = io.WriteString(w, "body")
		w.Header().Set(http.TrailerPrefix+"X-Sum", "4")
		w.Header().Del("X-Own")
	})

	mw.ServeHTTP(setsEncoding{w}, keyedRequest("k", nil))

	require.Equal(t, "1", w.Result().Header.Get("X-Own"), "when the header was sent")
	require.Equal(t, []string{"gzip"}, w.Header()["Content-Encoding"])
	require.NotContains(t, w.Header(), "Content-Length")
	require.NotContains(t, w.Header(), "X-Own", "the handler has deleted it since then")
	require.Equal(t, []string{"4"}, w.Header()[http.TrailerPrefix+"X-Sum"])
}

func TestHeaderOfAFailedRunIsNotInItsError(t *testing.T) {
	t.Parallel()
	var events eventLog
	r := call(protected(&idempotent.Options{Observe: events.observe}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "of the failed run")
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hell")
	}), "k", "")
	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.Empty(t, r.Header.Get("X-Own"))
	require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(events.last().Err))
}

func TestMaxResponse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		writes []string
		kept   bool
	}{
		"as long as the limit":          {[]string{"01234", "56789"}, true},
		"over it with the second write": {[]string{"01234", "567890"}, false},
		"over it with the third":        {[]string{"01234", "56789", "0"}, false},
		"over it with the first":        {[]string{"01234567890", "1"}, false},
	} {
		for how, write := range map[string]func(w http.ResponseWriter, s string) (int, error){
			"Write":       func(w http.ResponseWriter, s string) (int, error) { return w.Write([]byte(s)) },
			"WriteString": func(w http.ResponseWriter, s string) (int, error) { return io.WriteString(w, s) },
		} {
			h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusCreated)
				for _, s := range test.writes {
					n, err := write(w, s)
					require.NoError(t, err)
					require.Equal(t, len(s), n)
				}
			}}
			s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 10}))

			first, again := post(t, s, "k", ""), post(t, s, "k", "")

			require.Equal(t, http.StatusCreated, first.Status, "%s, %s", name, how)
			require.Equal(t, strings.Join(test.writes, ""), first.Body)
			require.Equal(t, test.kept, again.replayed())
			if !test.kept {
				require.Contains(t, again.Body, "idempotency_response_unavailable")
			}
			require.EqualValues(t, 1, h.runs.Load())
		}
	}
}

func TestNegativeMaxResponseIsNoLimit(t *testing.T) {
	t.Parallel()
	mw := protected(&idempotent.Options{MaxResponse: -1}, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = w.Write(make([]byte, 1<<20))
		}
	})
	call(mw, "k", "")
	again := call(mw, "k", "")
	require.True(t, again.replayed())
	require.Len(t, again.Body, 3<<20)
}

func TestLargeResponseIsSentWholeAndNotKept(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 3<<20)
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/v1/resources/1")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, strings.NewReader(body))
	}}
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))

	first, again := post(t, s, "k", ""), post(t, s, "k", "")

	require.Equal(t, http.StatusCreated, first.Status)
	require.Len(t, first.Body, len(body))
	require.Equal(t, strconv.Itoa(len(body)), first.Header.Get("Content-Length"))
	require.Equal(t, "/v1/resources/1", first.Header.Get("Location"))
	require.Equal(t, http.StatusConflict, again.Status)
	require.Contains(t, again.Body, "idempotency_response_unavailable")
	require.Equal(t, "/v1/resources/1", again.Header.Get("Location"))
	require.EqualValues(t, 1, h.runs.Load())
}

func TestLargeFailureIsSentAndNotKept(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "0123456789")
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 5})(&h)
	for range 2 {
		require.Equal(t, "0123456789", call(mw, "k", "").Body)
	}
	require.EqualValues(t, 2, h.runs.Load())
}

func TestFlushIsHeldBack(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	mw := protected(nil, func(held http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(held, "half")
		held.(http.Flusher).Flush()
		require.NoError(t, http.NewResponseController(held).Flush())
		require.False(t, w.Flushed)
		require.Zero(t, w.Body.Len())
	})
	mw.ServeHTTP(w, keyedRequest("k", nil))
	require.Equal(t, "half", w.Body.String())
}

func TestUnsupportedFlushIsIgnored(t *testing.T) {
	t.Parallel()
	mw := protected(&idempotent.Options{MaxResponse: 5}, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, err := io.WriteString(w, "part ")
			require.NoError(t, err)
			w.(http.Flusher).Flush()
		}
	})
	plain := wrapWriter(mw, func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} })
	require.Equal(t, "part part part ", call(plain, "k", "").Body)
}

func TestResponseControllerErrors(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		require.ErrorIs(t, c.SetReadDeadline(time.Time{}), http.ErrNotSupported)
		require.ErrorIs(t, c.SetWriteDeadline(time.Time{}), http.ErrNotSupported)
		require.ErrorIs(t, c.EnableFullDuplex(), http.ErrNotSupported)
	}}
	require.Equal(t, http.StatusOK, call(idempotent.New(memory(), idempotent.Global, nil)(&h), "k", "").Status)
	require.EqualValues(t, 1, h.runs.Load())
}

func TestHijackIsRefused(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		_, hijacks := w.(http.Hijacker)
		require.False(t, hijacks)
		conn, rw, err := http.NewResponseController(w).Hijack()
		require.ErrorIs(t, err, http.ErrNotSupported)
		require.Nil(t, conn)
		require.Nil(t, rw)
		for u, unwraps := w.(interface{ Unwrap() http.ResponseWriter }); unwraps; u, unwraps = w.(interface{ Unwrap() http.ResponseWriter }) {
			w = u.Unwrap()
		}
		_, hijacks = w.(http.Hijacker) // that of the server is out of reach
		require.False(t, hijacks)
	}}
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))
	require.Equal(t, http.StatusOK, post(t, s, "k", "").Status)
	require.EqualValues(t, 1, h.runs.Load())
}

func TestInformationalResponsePasses(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "final")
	}), outer, idempotent.New(memory(), idempotent.Global, nil))
	var hints []string
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, http.StatusText(code), h.Get("Link"))
			return nil
		},
	}), http.MethodPost, s.URL, nil)
	req.Header.Set("Idempotency-Key", "k")

	first := send(t, s, req)

	require.Equal(t, []string{"Early Hints", "</style.css>; rel=preload"}, hints)
	require.Equal(t, "final", first.Body)
	require.Empty(t, first.Header.Get("Link"))
	require.Equal(t, "Origin", first.Header.Get("Vary"))
}

// statuses records the statuses that are written.
type statuses struct {
	http.ResponseWriter
	all *[]int
}

func (w statuses) WriteHeader(status int) {
	*w.all = append(*w.all, status)
	if status >= 200 {
		w.ResponseWriter.WriteHeader(status)
	}
}

func TestInformationalStatusBounds(t *testing.T) {
	t.Parallel()
	var sent []int
	mw := protected(nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusContinue)
		w.WriteHeader(199)
		w.WriteHeader(http.StatusCreated)
	})
	call(wrapWriter(mw, func(w http.ResponseWriter) http.ResponseWriter { return statuses{w, &sent} }), "k", "")
	require.Equal(t, []int{100, 199, 201}, sent)
}

func TestInvalidStatusPanics(t *testing.T) {
	t.Parallel()
	for _, status := range []int{-1, 0, 99, 101, 1000} {
		mw := protected(nil, func(w http.ResponseWriter, _ *http.Request) {
			require.Panics(t, func() { w.WriteHeader(status) })
		})
		require.Equal(t, http.StatusOK, call(mw, "k", "").Status)
	}
}

func TestBodyIsRefusedWhereTheStatusAllowsNone(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		n, err := w.Write([]byte("x"))
		require.ErrorIs(t, err, http.ErrBodyNotAllowed)
		require.Zero(t, n)
		n, err = io.WriteString(w, "x")
		require.ErrorIs(t, err, http.ErrBodyNotAllowed)
		require.Zero(t, n)
	}}
	call(idempotent.New(memory(), idempotent.Global, nil)(&h), "k", "")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestContentLengthZeroAllowsNoBody(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(999)
		_, err := io.WriteString(w, "x")
		require.ErrorIs(t, err, http.ErrContentLength)
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Keep: func(int) bool { return true }})(&h)
	for range 2 {
		r := call(mw, "k", "")
		require.Equal(t, 999, r.Status)
		require.Empty(t, r.Body)
	}
	require.EqualValues(t, 1, h.runs.Load())
}

func TestContentLengthOfA304IsNotChecked(t *testing.T) {
	t.Parallel()
	mw := protected(nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusNotModified)
	})
	for range 2 {
		require.Equal(t, http.StatusNotModified, call(mw, "k", "").Status)
	}
}

// writeCounter counts the calls of Write.
type writeCounter struct {
	http.ResponseWriter
	n *int
}

func (w writeCounter) Write(p []byte) (int, error) {
	*w.n++
	return w.ResponseWriter.Write(p)
}

func (w writeCounter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestEmptyBodyIsNotWritten(t *testing.T) {
	t.Parallel()
	const stream = "a stream"
	for name, handle := range map[string]http.HandlerFunc{
		"nothing":    func(http.ResponseWriter, *http.Request) {},
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		stream: func(w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			w.WriteHeader(http.StatusNoContent)
			require.NoError(t, http.NewResponseController(w).Flush())
		},
	} {
		writes := 0
		mw := wrapWriter(protected(nil, handle), func(w http.ResponseWriter) http.ResponseWriter { return writeCounter{w, &writes} })
		call(mw, "k", "")
		require.Zero(t, writes, name)
		if name != stream { // its retry is answered 409
			call(mw, "k", "")
			require.Zero(t, writes, name)
		}
	}
}

func TestWriteAfterTheHandlerChangesNothing(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"a response": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in time") },
		"no body":    func(http.ResponseWriter, *http.Request) {},
		"a stream":   func(_ http.ResponseWriter, r *http.Request) { idempotent.Stream(r.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var late http.ResponseWriter
			mw := protected(&idempotent.Options{MaxResponse: 10}, func(w http.ResponseWriter, r *http.Request) {
				late = w
				handle(w, r)
			})
			w := httptest.NewRecorder()
			mw.ServeHTTP(w, keyedRequest("k", strings.NewReader("")))
			sent := w.Body.String()

			late.WriteHeader(http.StatusTeapot)
			for _, body := range []string{"late", strings.Repeat("x", 100)} {
				_, err := late.Write([]byte(body))
				require.Error(t, err)
				_, err = io.WriteString(late, body)
				require.Error(t, err)
			}
			require.Error(t, http.NewResponseController(late).Flush())
			require.False(t, track.Rewind(late))

			require.Equal(t, sent, w.Body.String())
			again := call(mw, "k", "")
			require.Equal(t, http.StatusOK, again.Status)
			require.Equal(t, sent, again.Body)
		})
	}
}

func TestRewindDiscardsTheResponse(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "half")
		require.True(t, track.Rewind(w))
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusConflict)
		_, err := io.WriteString(w, "whole")
		require.NoError(t, err)
		_, err = io.WriteString(w, "!")
		require.ErrorIs(t, err, http.ErrContentLength)
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	for range 2 {
		r := call(mw, "k", "")
		require.Equal(t, http.StatusConflict, r.Status)
		require.Equal(t, "whole", r.Body)
	}
	require.EqualValues(t, 1, h.runs.Load())
}

// cutConnection is the writer of a connection that is gone.
type cutConnection struct{ http.ResponseWriter }

func (cutConnection) Write([]byte) (int, error) { return 0, errDown }

func TestWriteErrorReachesTheHandler(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, "held back")
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 100))
		require.ErrorIs(t, err, errDown)
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 10})(&h)
	call(wrapWriter(mw, func(w http.ResponseWriter) http.ResponseWriter { return cutConnection{w} }), "k", "")
	require.EqualValues(t, 1, h.runs.Load())
}

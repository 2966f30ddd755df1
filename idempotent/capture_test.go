package idempotent_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/reqid"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// outer is what a chain sets before the handler: another value for every request.
func outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, state := reqstate.Ensure(r)
		state.SetRequestID(reqid.New())
		h := w.Header()
		h.Set("Request-Id", state.RequestID())
		h.Set("X-Request-Id", state.RequestID())
		h.Set("RateLimit", r.Header.Get("N"))
		h.Set("Access-Control-Allow-Origin", r.Header.Get("N"))
		h.Set("X-Outer", r.Header.Get("N"))
		h.Set("Vary", "Origin")
		h.Set("Set-Cookie", "outer="+r.Header.Get("N"))
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
	require.Equal(t, []string{"outer=1", "session=1"}, first.Header["Set-Cookie"], "the first client gets all that was set")
	require.Equal(t, []string{"outer=2"}, again.Header["Set-Cookie"])
	require.Equal(t, []string{"1"}, first.Header["X-Outer"])
	require.Equal(t, []string{"2"}, again.Header["X-Outer"], "outer layers speak for the new request")
	require.Equal(t, []string{"2"}, again.Header["Ratelimit"])
	require.Equal(t, []string{"2"}, again.Header["Access-Control-Allow-Origin"])
	for _, name := range []string{"Keep-Alive", "Proxy-Authenticate", "Access-Control-Expose-Headers", "X-Ratelimit-Limit", "Ratelimit-Policy"} {
		require.NotContains(t, again.Header, name)
	}
	require.NotEqual(t, "Mon, 01 Jan 2001 00:00:00 GMT", again.Header.Get("Date"))
	require.Equal(t, []string{"true"}, again.Header["Idempotent-Replayed"])
	require.Equal(t, []string{first.Header.Get("Request-Id")}, again.Header["Original-Request"])
	require.NotEqual(t, first.Header.Get("Request-Id"), again.Header.Get("Request-Id"))
	require.Equal(t, again.Header.Get("Request-Id"), again.Header.Get("X-Request-Id"))
}

// adding is an outer layer that adds to every field.
type adding struct{ http.ResponseWriter }

func (a adding) WriteHeader(status int) {
	for name := range a.Header() {
		a.Header().Add(name, "added")
	}
	a.ResponseWriter.WriteHeader(status)
}

func TestFieldsOfAResponseDoNotRunIntoOneAnother(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"A", "B", "B", "C", "D", "D", "D"} {
			w.Header().Add(name, "of "+name)
		}
		_, _ = io.WriteString(w, "body")
	}))
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mw.ServeHTTP(adding{w}, r) })
	first, again := call(outer, "k", ""), call(outer, "k", "")
	for _, r := range []reply{first, again} {
		for name, n := range map[string]int{"A": 1, "B": 2, "C": 1, "D": 3} {
			require.Equal(t, append(slices.Repeat([]string{"of " + name}, n), "added"), r.Header[name])
		}
	}
	require.Equal(t, []string{"true", "added"}, again.Header["Idempotent-Replayed"])
	require.Equal(t, []string{first.Header.Get("Request-Id"), "added"}, again.Header["Original-Request"])
}

func TestReplayedErrorKeepsTheFirstIdInItsBodyOnly(t *testing.T) {
	t.Parallel()
	h := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.ParameterMissing("name") })
	for name, mw := range map[string][]func(http.Handler) http.Handler{
		"behind a chain": {outer, idempotent.New(memory(), idempotent.Global, nil)},
		"alone":          {idempotent.New(memory(), idempotent.Global, nil)},
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

// within runs f as the handler of a keyed request.
func within(t *testing.T, f http.HandlerFunc) (first, again reply) {
	t.Helper()
	s := serve(t, f, idempotent.New(memory(), idempotent.Global, nil))
	return post(t, s, "k", ""), post(t, s, "k", "")
}

func TestImplicitStatus(t *testing.T) {
	t.Parallel()
	first, again := within(t, func(http.ResponseWriter, *http.Request) {})
	require.Equal(t, http.StatusOK, first.Status)
	require.True(t, again.replayed())
	require.Equal(t, http.StatusOK, again.Status)
}

func TestHeaderIsTakenAtTheStatus(t *testing.T) {
	t.Parallel()
	first, again := within(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "before")
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("A", "after")
		w.WriteHeader(http.StatusTeapot)
	})
	for _, r := range []reply{first, again} {
		require.Equal(t, http.StatusAccepted, r.Status)
		require.Equal(t, "before", r.Header.Get("A"))
	}
}

func TestFlushIsHeldBack(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		require.NoError(t, http.NewResponseController(w).Flush())
		require.False(t, rec.Flushed)
		require.Zero(t, rec.Body.Len())
	}))
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Idempotency-Key", "k")
	mw.ServeHTTP(rec, r)
	require.Equal(t, "half", rec.Body.String())
}

func TestHijackIsRefused(t *testing.T) {
	t.Parallel()
	first, _ := within(t, func(w http.ResponseWriter, _ *http.Request) {
		_, hijacks := w.(http.Hijacker)
		require.False(t, hijacks)
		var conn net.Conn
		var rw *bufio.ReadWriter
		conn, rw, err := http.NewResponseController(w).Hijack()
		require.ErrorIs(t, err, http.ErrNotSupported)
		require.Nil(t, conn)
		require.Nil(t, rw)
		_, unwraps := w.(interface{ Unwrap() http.ResponseWriter })
		require.False(t, unwraps)
	})
	require.Equal(t, http.StatusOK, first.Status)
}

func TestInterimResponsePasses(t *testing.T) {
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

func TestCopyGoesThroughTheBuffer(t *testing.T) {
	t.Parallel()
	first, again := within(t, func(w http.ResponseWriter, _ *http.Request) {
		n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader("copied")})
		require.NoError(t, err)
		require.EqualValues(t, 6, n)
	})
	require.Equal(t, "copied", first.Body)
	require.Equal(t, "copied", again.Body)
}

func TestBodyWhereNoneIsAllowed(t *testing.T) {
	t.Parallel()
	first, again := within(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		_, err := io.WriteString(w, "body")
		require.ErrorIs(t, err, http.ErrBodyNotAllowed)
	})
	for _, r := range []reply{first, again} {
		require.Equal(t, http.StatusNoContent, r.Status)
		require.Empty(t, r.Body)
		require.NotContains(t, r.Header, "Content-Length")
	}
}

func TestWriteAfterReturnChangesNothing(t *testing.T) {
	t.Parallel()
	var late http.ResponseWriter
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		late = w
		_, _ = io.WriteString(w, "in time")
	}), idempotent.New(memory(), idempotent.Global, nil))
	post(t, s, "k", "")

	_, err := io.WriteString(late, "too late")
	late.WriteHeader(http.StatusTeapot)

	require.Error(t, err)
	require.Equal(t, "in time", post(t, s, "k", "").Body)
}

func TestNonsenseStatusPanicsInTheHandler(t *testing.T) {
	t.Parallel()
	for _, status := range []int{-1, 0, 99, 101, 1000} {
		h := counter{serve: func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				require.Panics(t, func() { w.WriteHeader(status) })
			}
		}}
		mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
		require.Equal(t, http.StatusOK, call(mw, "k", "").Status)
	}
}

func TestErrorReplacesAPartThatIsHeldBack(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(n int64, w http.ResponseWriter, r *http.Request) {
		apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "half of ")
			if n == 1 {
				return errors.New("failed half-way")
			}
			_, _ = io.WriteString(w, "it all")
			return nil
		}).ServeHTTP(w, r)
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)

	first := call(mw, "k", "")
	require.Equal(t, http.StatusInternalServerError, first.Status, "nothing has left the buffer")
	require.Contains(t, first.Body, "api_error")
	require.NotContains(t, first.Body, "half")
	require.Equal(t, "half of it all", call(mw, "k", "").Body)
}

// compressing is an outer layer that changes the header as it goes out.
type compressing struct{ http.ResponseWriter }

func (c compressing) WriteHeader(status int) {
	c.Header().Set("Content-Encoding", "gzip")
	c.Header().Del("Content-Length")
	c.ResponseWriter.WriteHeader(status)
}

func TestHeaderAsAnOuterLayerHasSentItStays(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Idempotency-Key", "k")
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		w.Header().Set("X-Own", "1")
		_, _ = io.WriteString(w, "body")
		w.Header().Set(http.TrailerPrefix+"X-Sum", "4")
		w.Header().Del("X-Own")
	}))

	mw.ServeHTTP(compressing{rec}, r)

	require.Equal(t, "1", rec.Result().Header.Get("X-Own"))
	require.Equal(t, []string{"gzip"}, rec.Header()["Content-Encoding"])
	require.NotContains(t, rec.Header(), "Content-Length")
	require.NotContains(t, rec.Header(), "X-Own", "the handler has deleted it since then")
	require.Equal(t, []string{"4"}, rec.Header()[http.TrailerPrefix+"X-Sum"])
}

func TestFlushThatCannotBeDoneStopsNothing(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Idempotency-Key", "k")
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 5})(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, err := io.WriteString(w, "part ")
			require.NoError(t, err)
			w.(http.Flusher).Flush()
		}
	}))

	mw.ServeHTTP(struct{ http.ResponseWriter }{rec}, r)

	require.Equal(t, "part part part ", rec.Body.String())
}

package idempotent_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestBodyOverTheLimitIsRefusedAndRecordsNothing(t *testing.T) {
	t.Parallel()
	store := idempotent.NewMemory(nil)
	mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxBody: 10})(&counter{})
	unread := keyedRequest("k", iotest.ErrReader(io.ErrUnexpectedEOF))
	unread.ContentLength = 11
	for name, r := range map[string]*http.Request{
		"with its length":                     keyedRequest("k", strings.NewReader("12345678901")),
		"without its length":                  keyedRequest("k", iotest.OneByteReader(strings.NewReader("12345678901"))),
		"with its length, and it is not read": unread,
	} {
		require.Equal(t, http.StatusRequestEntityTooLarge, do(mw, r).Status, name)
	}
	require.Zero(t, store.Stats())
	require.Equal(t, http.StatusCreated, call(mw, "k", "1234567890").Status, "the limit itself is accepted")
}

func TestDefaultMaxBody(t *testing.T) {
	t.Parallel()
	for length, status := range map[int]int{1 << 20: http.StatusCreated, 1<<20 + 1: http.StatusRequestEntityTooLarge} {
		mw := idempotent.New(memory(), idempotent.Global, nil)(&counter{})
		require.Equal(t, status, call(mw, "k", strings.Repeat("x", length)).Status)
	}
}

func TestNegativeMaxBodyIsNoLimit(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{-1, 2 << 20} {
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			require.NoError(t, err)
			require.EqualValues(t, 2<<20, n)
		}}
		r := keyedRequest("k", strings.NewReader(strings.Repeat("x", 2<<20)))
		r.ContentLength = length
		do(idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxBody: -1})(&h), r)
		require.EqualValues(t, 1, h.runs.Load())
	}
}

func TestOuterBodyLimitApplies(t *testing.T) {
	t.Parallel()
	inner := idempotent.New(memory(), idempotent.Global, nil)(&counter{})
	mw := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 5)
		inner.ServeHTTP(w, r)
	})
	require.Equal(t, http.StatusRequestEntityTooLarge, call(mw, "k", "123456").Status)
	require.Equal(t, http.StatusCreated, call(mw, "k", "12345").Status)
}

func TestBodyCutShortRecordsNothing(t *testing.T) {
	t.Parallel()
	var h counter
	store := idempotent.NewMemory(nil)
	s := httptest.NewServer(idempotent.New(store, idempotent.Global, nil)(&h))
	t.Cleanup(s.Close)
	for _, head := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n%s", head)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, conn.Close())
	}
	require.Zero(t, store.Stats())
	require.Zero(t, h.runs.Load())
}

// The answers are the same as without a key: a client that is too slow may try again.
func TestBodyErrorIsAnswered(t *testing.T) {
	t.Parallel()
	var h counter
	store := idempotent.NewMemory(nil)
	mw := idempotent.New(store, idempotent.Global, nil)(&h)
	for err, status := range map[error]int{
		fmt.Errorf("read tcp: %w", os.ErrDeadlineExceeded):           http.StatusGatewayTimeout,
		fmt.Errorf("outer limit: %w", &http.MaxBytesError{Limit: 5}): http.StatusRequestEntityTooLarge,
		apierror.CodePermissionDenied:                                http.StatusForbidden,
		io.ErrUnexpectedEOF:                                          http.StatusBadRequest,
		errDown:                                                      http.StatusBadRequest,
	} {
		r := do(mw, keyedRequest("k", iotest.ErrReader(err)))
		require.Equal(t, status, r.Status, "%v", err)
	}
	require.Zero(t, store.Stats())
	require.Zero(t, h.runs.Load())
}

// firstRead is a body whose first Read returns no bytes, and err.
type firstRead struct {
	io.Reader
	err  error
	done bool
}

func (r *firstRead) Read(p []byte) (int, error) {
	if !r.done {
		r.done = true
		return 0, r.err
	}
	return r.Reader.Read(p)
}

func TestFirstReadMayReturnNothing(t *testing.T) {
	t.Parallel()
	for status, err := range map[int]error{http.StatusCreated: nil, http.StatusBadRequest: io.ErrUnexpectedEOF} {
		r := keyedRequest("k", &firstRead{Reader: strings.NewReader("body"), err: err})
		r.ContentLength = 4
		require.Equal(t, status, do(idempotent.New(memory(), idempotent.Global, nil)(&counter{}), r).Status)
	}
}

func TestHandlerReadsTheBody(t *testing.T) {
	t.Parallel()
	for name, fingerprint := range map[string]idempotent.FingerprintFunc{
		"fingerprint of the body": idempotent.FingerprintBody,
		"fingerprint that reads the body twice": func(r *http.Request, body func() ([]byte, error)) (idempotent.Fingerprint, error) {
			first, err := body()
			require.NoError(t, err)
			again, err := body()
			require.NoError(t, err)
			require.True(t, bytes.Equal(first, again))
			return idempotent.FingerprintBody(r, body)
		},
		"fingerprint without the body": func(*http.Request, func() ([]byte, error)) (idempotent.Fingerprint, error) {
			return idempotent.Fingerprint{1}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := strings.Repeat("0123456789", 100_000)
			h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
				got, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, sha256.Sum256([]byte(body)), sha256.Sum256(got))
				require.NoError(t, r.Body.Close())
			}}
			s := serve(t, &h, idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: fingerprint}))
			require.Equal(t, http.StatusOK, post(t, s, "k", body).Status)
			require.True(t, post(t, s, "k", body).replayed())
			require.EqualValues(t, 1, h.runs.Load())
		})
	}
}

func TestRequestWithoutABody(t *testing.T) {
	t.Parallel()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "/v1/resources/1", nil)
	require.NoError(t, err)
	require.Nil(t, r.Body)
	r.Header.Set("Idempotency-Key", "k")
	require.Equal(t, http.StatusCreated, do(idempotent.New(memory(), idempotent.Global, nil)(&counter{}), r).Status)
}

func TestBodyThatAnOuterLayerHasReadIsAServerError(t *testing.T) {
	t.Parallel()
	const parsed, read = "parsed the request's form", "read the request body"
	readAll := func(r *http.Request) { _, _ = io.ReadAll(r.Body) }
	for name, test := range map[string]struct {
		body  func(*http.Request)
		outer func(*http.Request)
		err   string // empty if nothing was taken from the body
	}{
		"ParseForm":          {sendForm, func(r *http.Request) { _ = r.ParseForm() }, parsed},
		"PostFormValue":      {sendForm, func(r *http.Request) { _ = r.PostFormValue("csrf") }, parsed},
		"ParseMultipartForm": {uploadForm, func(r *http.Request) { _ = r.ParseMultipartForm(1) }, parsed},
		"FormValue":          {uploadForm, func(r *http.Request) { _ = r.FormValue("csrf") }, parsed},
		"unknown length": {
			func(r *http.Request) { sendForm(r); r.ContentLength = -1 },
			func(r *http.Request) { _ = r.PostFormValue("csrf") }, parsed,
		},
		"ReadAll":             {sendForm, readAll, read},
		"ReadAll of one byte": {func(r *http.Request) { setBody(r, "x") }, readAll, read},
		"the query":           {sendForm, func(r *http.Request) { _ = r.URL.Query().Get("csrf") }, ""},
		"another media type": {
			func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
			func(r *http.Request) { _ = r.PostFormValue("csrf") }, "",
		},
		"a body that is restored": {sendForm, func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			_ = r.FormValue("name")
			r.Body = io.NopCloser(bytes.NewReader(body))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h counter
			var events eventLog
			keyed := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				test.outer(r)
				keyed.ServeHTTP(w, r)
			}))
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("body"))
			test.body(req)
			req.Header.Set("Idempotency-Key", "k")

			r := send(t, s, req)

			if test.err == "" {
				require.Equal(t, http.StatusCreated, r.Status)
				require.NotEqual(t, "run 1: ", r.Body, "the handler reads the body")
				return
			}
			require.Equal(t, http.StatusInternalServerError, r.Status)
			require.Contains(t, r.Body, `"code":"api_error"`)
			require.NotContains(t, r.Body, "layer", "the reason is for the log")
			events.require(t, idempotent.OutcomeRefused)
			require.ErrorContains(t, events.last().Err, test.err)
			require.Zero(t, h.runs.Load())
		})
	}
}

var errClose = errors.New("close failed")

// unclosable is a body whose Close fails.
type unclosable struct{ io.Reader }

func (unclosable) Close() error { return errClose }

func TestBodyCloseReturnsItsError(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		require.ErrorIs(t, r.Body.Close(), errClose)
	}}
	do(idempotent.New(memory(), idempotent.Global, nil)(&h), keyedRequest("k", unclosable{strings.NewReader("body")}))
	require.EqualValues(t, 1, h.runs.Load())
}

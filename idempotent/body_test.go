package idempotent_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"mime/multipart"
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
	var h counter
	store := idempotent.NewMemory(nil)
	mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxBody: 10})(&h)
	for _, body := range []io.Reader{strings.NewReader("12345678901"), iotest.OneByteReader(strings.NewReader("12345678901"))} {
		r := httptest.NewRequest(http.MethodPost, "/", body) // with and without a length
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, r)
		require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	}
	unread := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(io.ErrUnexpectedEOF))
	unread.ContentLength = 11
	unread.Header.Set("Idempotency-Key", "k")
	w := httptest.NewRecorder()
	mw.ServeHTTP(w, unread)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code, "what is announced as too large is not read")
	require.Zero(t, store.Stats())
	require.Equal(t, http.StatusCreated, call(mw, "k", "1234567890").Status, "exactly the limit is accepted")
}

func TestOuterLimitCountsToo(t *testing.T) {
	t.Parallel()
	var h counter
	inner := idempotent.New(memory(), idempotent.Global, nil)(&h)
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

// The same errors as without a key: a client that is too slow may try again.
func TestBodyThatFailsForAKnownReasonIsAnsweredWithIt(t *testing.T) {
	t.Parallel()
	var h counter
	store := idempotent.NewMemory(nil)
	mw := idempotent.New(store, idempotent.Global, nil)(&h)
	for _, tt := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("read tcp: %w", os.ErrDeadlineExceeded), http.StatusGatewayTimeout},
		{fmt.Errorf("outer limit: %w", &http.MaxBytesError{Limit: 5}), http.StatusRequestEntityTooLarge},
		{apierror.CodePermissionDenied, http.StatusForbidden},
		{io.ErrUnexpectedEOF, http.StatusBadRequest},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(tt.err))
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, r)
		require.Equal(t, tt.status, w.Code, "%v", tt.err)
	}
	require.Zero(t, store.Stats())
	require.Zero(t, h.runs.Load())
}

func TestHandlerReadsTheBody(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 100_000)
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256([]byte(body)), sha256.Sum256(got))
		require.NoError(t, r.Body.Close())
	}}
	s := serve(t, &h, idempotent.New(memory(), idempotent.Global, nil))
	require.Equal(t, http.StatusOK, post(t, s, "k", body).Status)
	require.True(t, post(t, s, "k", body).replayed())
}

func TestBodyThatAnOuterLayerHasReadIsAMistake(t *testing.T) {
	t.Parallel()
	var h counter
	inner := idempotent.New(memory(), idempotent.Global, nil)(&h)
	mw := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.FormValue("token")
		inner.ServeHTTP(w, r)
	})
	for _, length := range []int64{8, -1} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("amount=1"))
		r.ContentLength = length
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, r)
		require.Equal(t, http.StatusInternalServerError, w.Code, "two such requests would look the same")
	}
	require.Zero(t, h.runs.Load())
}

func TestRequestWithoutABody(t *testing.T) {
	t.Parallel()
	var h counter
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "/v1/resources/1", nil)
	require.NoError(t, err)
	r.Header.Set("Idempotency-Key", "k")
	w := httptest.NewRecorder()
	mw.ServeHTTP(w, r) // r.Body is nil
	require.Equal(t, http.StatusCreated, w.Code)
}

func TestTemporaryFilesOfAFormAreRemoved(t *testing.T) { // not parallel: it sets the environment
	t.Setenv("TMPDIR", t.TempDir())
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseMultipartForm(10))
		files, err := os.ReadDir(os.TempDir())
		require.NoError(t, err)
		require.NotEmpty(t, files)
		w.WriteHeader(http.StatusCreated)
	})
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "file")
	require.NoError(t, err)
	_, err = part.Write(make([]byte, 64<<10))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	s := serve(t, h, idempotent.New(memory(), idempotent.Global, nil))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, &body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Idempotency-Key", "k")

	require.Equal(t, http.StatusCreated, send(t, s, req).Status)

	files, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, files)
}

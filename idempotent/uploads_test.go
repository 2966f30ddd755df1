package idempotent_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestUploadIsReadByTheHandlerAndChecked(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 3<<20)
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, "bad upload", http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, http.StatusText(int(n>>20)))
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: idempotent.FingerprintDigest})(&h)
	upload := func(key, digest string, body io.Reader) reply {
		r := httptest.NewRequest(http.MethodPut, "/file", body)
		r.Header.Set("Idempotency-Key", key)
		r.Header.Set("Content-Digest", digest)
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, r)
		return reply{w.Code, w.Header(), w.Body.String()}
	}

	broken := upload("k", digestOf(large), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	require.Equal(t, http.StatusBadRequest, broken.Status)
	wrong := upload("k", digestOf(large), strings.NewReader(large[1:]+"y"))
	require.Equal(t, http.StatusBadRequest, wrong.Status)
	require.False(t, wrong.replayed(), "a broken upload is nobody's answer")
	good := upload("k", digestOf(large), strings.NewReader(large))
	require.Equal(t, http.StatusCreated, good.Status)
	require.True(t, upload("k", digestOf(large), strings.NewReader(large)).replayed())
	require.Equal(t, http.StatusConflict, upload("k", digestOf("other"), strings.NewReader("other")).Status)
	require.EqualValues(t, 3, h.runs.Load())

	for _, malformed := range []string{"sha-256=abc", "sha-256=:!:", "sha-256=:AAAA:", "sha-256", ","} {
		r := upload("m", malformed, strings.NewReader("x"))
		require.Equal(t, http.StatusBadRequest, r.Status, malformed)
		require.Contains(t, r.Body, "Content-Digest")
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, upload("n", "md5=:AAAA:", strings.NewReader(large)).Status, "no digest that is known: the body counts")
	require.Equal(t, http.StatusCreated, upload("n", "md5=:AAAA:, "+digestOf(large), strings.NewReader(large)).Status)
}

func TestFingerprintHookErrors(t *testing.T) {
	t.Parallel()
	var h counter
	failing := func(*http.Request, func() ([]byte, error)) (idempotent.Fingerprint, error) {
		return idempotent.Fingerprint{}, errors.New("secret")
	}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: failing})(&h)
	r := call(mw, "k", "")
	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.NotContains(t, r.Body, "secret")
	require.Zero(t, h.runs.Load())
}

func TestUploadThatDoesNotMatchIsTheClientsFault(t *testing.T) {
	t.Parallel()
	h := apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	})
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Fingerprint: idempotent.FingerprintDigest})(h)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("torn"))
	r.Header.Set("Idempotency-Key", "k")
	sum := sha256.Sum256([]byte("whole"))
	r.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	w := httptest.NewRecorder()

	mw.ServeHTTP(w, r)

	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), `"param":"Content-Digest"`)
	require.Equal(t, "false", w.Header().Get("X-Should-Retry"))
}

func TestCompletionOfAResponse(t *testing.T) {
	t.Parallel()
	r := idempotent.Response{Status: http.StatusCreated, Header: http.Header{"Location": {"/x"}}, Body: []byte("body"), RequestID: "req_1"}
	c := r.Completion(time.Hour)
	require.Equal(t, idempotent.StateDone, c.State)
	require.Equal(t, time.Hour, c.Retention)
	got, err := idempotent.DecodeResponse(c.Response)
	require.NoError(t, err)
	require.Equal(t, r, got)
}

func TestInvalidCompletionIsNamed(t *testing.T) {
	t.Parallel()
	err := idempotent.NewMemory(nil).Resolve(t.Context(), idempotent.ID{}, idempotent.Completion{State: idempotent.StateDone})
	require.ErrorContains(t, err, "state done, retention 0s")
	require.ErrorContains(t, err, "[done not_kept absent]")
}

package retry_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

func TestRetriedStatuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		attempts int
		statuses []int
	}{
		{1, []int{200, 201, 204, 206, 301, 302, 304, 307, 308}},
		{1, []int{400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 418, 422, 423, 425, 428, 431, 451, 499}},
		{3, []int{429, 500, 502, 503, 504, 505, 507, 520, 599}},
		{1, []int{501, 600, 700, 999}},
	} {
		for _, code := range tc.statuses {
			synctest.Test(t, func(t *testing.T) {
				base := scripted(status(code))

				resp, err := transport(base).RoundTrip(request(t, "GET", target, nil))

				require.NoError(t, err)
				require.Equal(t, code, resp.StatusCode)
				require.Equal(t, tc.attempts, base.count(), "status %d", code)
				resp.Body.Close()
			})
		}
	}
}

func TestXShouldRetryFalse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code     int
		lines    []string
		attempts int
	}{
		{503, []string{"false"}, 1},
		{429, []string{"FALSE "}, 1},
		{503, []string{"true", "false"}, 1},
		{503, []string{"true, false"}, 1},
		{503, []string{"true"}, 3},
		{503, []string{"no"}, 3},
		{409, []string{"true"}, 1},
		{501, []string{"true"}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(func(*http.Request) (*http.Response, error) {
				resp := answer(tc.code, "")
				resp.Header["X-Should-Retry"] = tc.lines
				return resp, nil
			})
			require.NoError(t, do(t, transport(base), target))
			require.Equal(t, tc.attempts, base.count(), "%d %q", tc.code, tc.lines)
		})
	}
}

func TestRetryableDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked []retry.Attempt
		conflict := func(*http.Request) (*http.Response, error) {
			return answer(409, errorBody("lock_timeout"), "Content-Type: application/json"), nil
		}
		base := scripted(conflict, fails(errBroken), status(503))
		tr := transport(base)
		tr.Policy = &retry.Policy{Retryable: func(a retry.Failure) bool {
			asked = append(asked, a.Attempt)
			return a.Code == "lock_timeout" || errors.Is(a.Err, errBroken)
		}}

		require.NoError(t, do(t, tr, target))

		require.Equal(t, 3, base.count())
		require.Len(t, asked, 3)
		require.ErrorIs(t, asked[0].Err, apierror.Code("lock_timeout"))

		tr.Policy.Retryable = func(retry.Failure) bool { return true }
		tr.Policy.Keys = retry.KeysCallerOnly
		resp, err := tr.RoundTrip(request(t, "POST", target, nil))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 4, base.count(), "a write without a key is not retried")
	})
}

func TestRetryableKnowsTheCodeOfAnErrorOfKnownLength(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		length int64
		header string
		want   apierror.Code
	}{
		{"JSON of a known length", 0, "application/json", "lock_timeout"},
		{"problem+json of a known length", 0, "application/problem+json; charset=utf-8", "lock_timeout"},
		{"JSON that streams", -1, "application/json", ""},
		{"JSON over the bound", 64<<10 + 1, "application/json", ""},
		{"a page", 0, "text/html", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			text := errorBody("lock_timeout")
			base := scripted(func(*http.Request) (*http.Response, error) {
				resp := answer(409, text, "Content-Type: "+tc.header)
				if tc.length != 0 {
					resp.ContentLength = tc.length
				}
				return resp, nil
			})
			tr := transport(base)
			var saw retry.Failure
			tr.Policy = &retry.Policy{Retryable: func(f retry.Failure) bool {
				saw = f
				return false
			}}

			resp, err := tr.RoundTrip(request(t, "POST", target, nil))

			require.NoError(t, err)
			require.Equal(t, tc.want, saw.Code, tc.name)
			require.Equal(t, "POST", saw.Method)
			require.Equal(t, target, saw.URL.String())
			require.Equal(t, tc.header, saw.Header.Get("Content-Type"))
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, text, string(got), "%s: the body is whole", tc.name)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, 1, base.given[0].closed())
		})
	}
}

func TestInvalidCertificateIsNotRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(fails(&tls.CertificateVerificationError{Err: errBroken}))
		require.ErrorIs(t, do(t, transport(base), target), errBroken)
		require.Equal(t, 1, base.count())
	})
}

package retry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestLogOfACall(t *testing.T) {
	t.Parallel()
	unavailable := func(*http.Request) (*http.Response, error) {
		return answer(503, errorBody("service_unavailable"), "Content-Type: application/json; charset=utf-8", "Retry-After: 2"), nil
	}
	for _, tc := range []struct {
		name    string
		answers []baseFunc
		want    string
	}{
		{"a success is silent", []baseFunc{status(200)}, ""},
		{
			"a recovery", []baseFunc{unavailable, fails(errBroken), status(200)},
			`level=INFO msg="retry: retrying request" method=POST host=api.example attempt=1 status=503 code=service_unavailable request_id=req_fromthebody retry_after=2s delay=2s
level=INFO msg="retry: retrying request" method=POST host=api.example attempt=2 delay=0s error="connection reset by peer"
`,
		},
		{
			"a 404", []baseFunc{
				func(*http.Request) (*http.Response, error) {
					return answer(404, errorBody("resource_missing"), "Content-Type: application/json", "Request-Id: req_fromtheheader"), nil
				},
			},
			`level=INFO msg="retry: request failed" method=POST host=api.example attempt=1 status=404 request_id=req_fromtheheader reason=not-retryable
`,
		},
		{
			"a proxy's 502", []baseFunc{status(502, "X-Should-Retry: false", "X-Request-Id: x-1")},
			`level=WARN msg="retry: request failed" method=POST host=api.example attempt=1 status=502 request_id=x-1 reason=told-not-to
`,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			logger, out := logged()
			tr := &retry.Transport{Base: scripted(tc.answers...), Logger: logger, Policy: &retry.Policy{BaseDelay: -1}}
			req := request(t, "POST", "https://user:pass@api.example/v1?secret=hush", strings.NewReader("payload"))
			req.Header.Set("Idempotency-Key", "my-key")
			req.Header.Set("Authorization", "Bearer sk_live")

			resp, err := tr.RoundTrip(req)

			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, tc.want, out.String(), tc.name)
			for _, secret := range []string{"my-key", "sk_live", "hush", "pass", "payload"} {
				require.NotContains(t, out.String(), secret)
			}
		})
	}
}

func TestCanceledCallIsNotLoggedAsAWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logger, out := logged()
		tr := &retry.Transport{Base: scripted(status(503, "Retry-After: 9")), Logger: logger}
		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(canceledIn(time.Second)(t.Context())))
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, out.String(), "WARN")
		require.Contains(t, out.String(), `msg="retry: request failed" method=GET host=api.example attempt=1 status=503 retry_after=9s reason=canceled error="context canceled"`)
	})
}

func TestLogHasNoSecrets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const url = "https://user:secret@api.example.com/p?q=secret"
		logger, out := logged()
		tr := &retry.Transport{Logger: logger, Base: scripted(fails(errors.New(`Get "` + url + `": reset`)))}
		req := request(t, "POST", url, strings.NewReader("secret"))
		req.Header.Set("Idempotency-Key", "secret")
		req.Header.Set("Authorization", "secret")

		_, err := tr.RoundTrip(req)

		require.Error(t, err)
		require.Contains(t, out.String(), "reset")
		require.NotContains(t, out.String(), "secret")
	})
}

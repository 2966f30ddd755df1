package retry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// wrapped is a RoundTripper between two Transports.
type wrapped struct{ http.RoundTripper }

func (w wrapped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		err = fmt.Errorf("wrapped: %w", err)
	}
	return resp, err
}

func TestNestedTransportsDoNotMultiplyAttempts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		answer   baseFunc
		inner    *retry.Policy
		attempts int
		reason   retry.Reason
	}{
		{"a status", status(503), nil, 3, retry.ReasonAlreadyRetried},
		{"an error", fails(errBroken), nil, 3, retry.ReasonAlreadyRetried},
		{"a Retry-After that is too long", status(429, "Retry-After: 3600"), nil, 1, retry.ReasonAlreadyRetried},
		{"one attempt", status(500), &retry.Policy{MaxAttempts: 1}, 1, retry.ReasonAlreadyRetried},
		{"a status that is not retried", status(404), nil, 1, retry.ReasonNotRetryable},
		{"X-Should-Retry: false", status(503, "X-Should-Retry: false"), nil, 1, retry.ReasonAlreadyRetried},
		{"a success", status(200), nil, 1, retry.ReasonSucceeded},
	} {
		for _, method := range []string{"GET", "POST"} {
			synctest.Test(t, func(t *testing.T) {
				base := scripted(tc.answer)
				inner := transport(base)
				inner.Policy = tc.inner
				outer := transport(wrapped{inner})
				ctx, report := retry.WithReport(t.Context())

				resp, err := outer.RoundTrip(request(t, method, target, strings.NewReader("x")).WithContext(ctx))

				if err == nil {
					require.Equal(t, method, resp.Request.Method)
					resp.Body.Close()
				}
				require.Equal(t, tc.attempts, base.count(), tc.name)
				require.Equal(t, tc.reason, report.Reason(), tc.name)
				require.Len(t, report.Attempts(), 1, tc.name)
			})
		}
	}
}

func TestRequestOfAnEarlierResponseIsRetried(t *testing.T) {
	t.Parallel()
	s := scripted(status(503))
	tr := transport(s)
	tr.Policy = &retry.Policy{BaseDelay: -1}
	resp, err := tr.RoundTrip(request(t, http.MethodGet, "http://a.example/", nil))
	require.NoError(t, err)
	require.Equal(t, 3, s.count())
	require.NoError(t, resp.Body.Close())

	ctx, report := retry.WithReport(resp.Request.Context())
	resp, err = tr.RoundTrip(resp.Request.Clone(ctx))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 6, s.count())
	require.Equal(t, retry.ReasonAttemptsExhausted, report.Reason())

	// The response of a Transport further in is still not retried.
	outer := transport(tr)
	outer.Policy = tr.Policy
	resp, err = outer.RoundTrip(resp.Request)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 9, s.count())
}

func TestOpenInnerCircuitDoesNotOpenTheOuterCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		inner := transport(base)
		inner.Policy = once()
		for range 20 {
			require.NoError(t, do(t, inner, target))
		}
		outer := transport(wrapped{inner})
		var seen []retry.Event
		outer.Observe = func(_ context.Context, e retry.Event) { seen = append(seen, e) }
		for range 50 {
			require.ErrorIs(t, do(t, outer, target), retry.ErrCircuitOpen)
		}
		require.Equal(t, 20, base.count())
		for _, e := range seen {
			require.NotEqual(t, retry.KindCircuit, e.Kind)
			require.LessOrEqual(t, e.Attempt.Number, 1)
		}
	})
}

func TestInvalidRequestDoesNotOpenTheOuterCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		outer := transport(wrapped{transport(scripted(fails(errBroken)))})
		for range 50 {
			req := request(t, "GET", target, nil)
			req.Header.Set("X-Name", "two\nlines")

			_, err := outer.RoundTrip(req)

			require.ErrorIs(t, err, errBroken)
			require.NotErrorIs(t, err, retry.ErrCircuitOpen)
		}
	})
}

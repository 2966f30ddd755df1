package retry_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestLastWithPolicyApplies(t *testing.T) {
	t.Parallel()
	s := scripted(status(503))
	ctx := retry.WithPolicy(t.Context(), &retry.Policy{MaxAttempts: 1})
	ctx = retry.WithPolicy(ctx, &retry.Policy{MaxAttempts: 2, BaseDelay: time.Nanosecond})
	resp, err := transport(s).RoundTrip(request(t, http.MethodGet, "http://a.example/", nil).WithContext(ctx))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 2, s.count())
}

func TestWithoutRetrySendsAKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		ctx, report := retry.WithReport(t.Context())
		for _, ctx := range []context.Context{
			retry.WithoutRetry(ctx),
			retry.WithPolicy(retry.WithoutRetry(ctx), &retry.Policy{MaxAttempts: 5}), // the order does not matter
		} {
			resp, err := transport(base).RoundTrip(request(t, "POST", target, nil).WithContext(ctx))
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, retry.ReasonAttemptsExhausted, report.Reason())
			require.NotEmpty(t, report.IdempotencyKey())
		}
		require.Equal(t, 2, base.count())
	})
}

func TestWithPolicyUsesTheTransportsBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, nil)
		calls(t, tr, base, 100)
		ctx := retry.WithPolicy(t.Context(), &retry.Policy{MaxAttempts: 9})
		before := base.count()

		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 1, base.count()-before)
	})
}

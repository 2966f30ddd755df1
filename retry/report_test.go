package retry_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestReportOfASuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, report := retry.WithReport(t.Context())
		base := scripted(status(503, "Retry-After: 1"), fails(errBroken), status(201))

		resp, err := transport(base).RoundTrip(request(t, "POST", target, nil).WithContext(ctx))

		require.NoError(t, err)
		resp.Body.Close()
		attempts := report.Attempts()
		require.Len(t, attempts, 3)
		require.Equal(t, []int{503, 0, 201}, []int{attempts[0].Status, attempts[1].Status, attempts[2].Status})
		require.Equal(t, time.Second, attempts[0].RetryAfter)
		require.GreaterOrEqual(t, attempts[0].Delay, time.Second)
		require.Zero(t, attempts[1].RetryAfter)
		require.ErrorIs(t, attempts[1].Err, errBroken)
		require.Zero(t, attempts[2].Delay)
		require.Equal(t, retry.ReasonSucceeded, report.Reason())
		require.Equal(t, base.keys()[0], report.IdempotencyKey())
	})
}

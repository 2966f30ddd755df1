package seawall_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// timeoutExchanges are requests around a deadline.
var timeoutExchanges = []exchange{
	{
		name: "deadline ignored", stack: &seawall.Stack{Timeout: time.Second},
		handler: plain(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }),
		status:  504, code: apierror.CodeTimeout, others: []string{logFailed},
	},
	{
		name: "deadline returned", stack: &seawall.Stack{Timeout: time.Second},
		handler: apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			if d, ok := r.Context().Deadline(); !ok || time.Until(d) != time.Second {
				return fmt.Errorf("the deadline is %v", d)
			}
			<-r.Context().Done()
			return fmt.Errorf("query: %w", r.Context().Err())
		}),
		status: 504, code: apierror.CodeTimeout, others: []string{logFailed},
	},
	{
		name: "deadline after a part, and the handler continues", stack: &seawall.Stack{Timeout: time.Second},
		handler: plain(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "it ")
			<-r.Context().Done()
			io.WriteString(w, "ends")
		}),
		status: 200, body: "it ends",
	},
	{
		name: "deadline after a part, and the handler returns the error", stack: &seawall.Stack{Timeout: time.Second},
		handler: apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			flushedPart(w)
			<-r.Context().Done()
			return r.Context().Err()
		}),
		broken: true, status: 200, logged: map[string]any{"late_code": "timeout", "bytes": 6.}, others: []string{logAborted},
	},
	{
		name:  "exempt from the deadline",
		stack: &seawall.Stack{Timeout: time.Second, Skip: func(*http.Request) bool { return true }},
		handler: plain(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Minute)
			fmt.Fprint(w, r.Context().Err())
		}),
		status: 200, body: "<nil>",
	},
	{
		name: "http.TimeoutHandler inside",
		handler: http.TimeoutHandler(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(time.Minute)
			part(w)
			return errSecret // after the response was sent
		}), time.Second, "too slow"),
		status: 503, body: "too slow", others: []string{logAborted},
	},
	{
		name: "panic inside of http.TimeoutHandler", handler: http.TimeoutHandler(panicking("bug"), time.Second, "too slow"),
		status: 500, code: apierror.CodeAPIError, others: []string{logPanic},
	},
	{
		name:    "http.TimeoutHandler outside",
		outside: func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Second, "too slow") },
		handler: failing(func(http.ResponseWriter) { time.Sleep(time.Minute) }, apierror.CodeResourceMissing),
		check: func(t *testing.T, a answer) {
			require.Equal(t, 503, a.StatusCode)
			require.Equal(t, "too slow", string(a.body))
		},
		status: 404, code: "", logged: map[string]any{"code": "resource_missing", "bytes": 0.},
	},
	{
		name:    "http.TimeoutHandler outside, in time",
		outside: func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Second, "too slow") },
		handler: failing(nil, apierror.CodeResourceMissing),
		status:  404, code: apierror.CodeResourceMissing,
	},
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	runExchanges(t, timeoutExchanges)
}

func TestTheEarlierOfTwoTimeoutsApplies(t *testing.T) {
	t.Parallel()
	for _, bounds := range [][]seawall.Middleware{
		{seawall.Timeout(time.Second), seawall.Timeout(time.Minute)},
		{seawall.Timeout(time.Minute), seawall.Timeout(time.Second)},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			w := serveOne(seawall.Chain(bounds...)(plain(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })), nil)
			require.Equal(t, http.StatusGatewayTimeout, w.Code)
			require.Equal(t, time.Second, time.Since(began))
		})
	}
}

func TestTimeoutEndsTheContextWithTheHandler(t *testing.T) {
	t.Parallel()
	var ctx context.Context
	serveOne(seawall.Timeout(time.Hour)(plain(func(_ http.ResponseWriter, r *http.Request) {
		ctx = r.Context()
		require.NoError(t, ctx.Err())
	})), nil)
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

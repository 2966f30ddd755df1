package retry_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

func TestWhoChoosesTheKeyAndWhatIsRepeatedWithoutOne(t *testing.T) {
	t.Parallel()
	const generated = "generated"
	type header = http.Header
	for _, tc := range []struct {
		name     string
		method   string
		header   header
		ctx      func(context.Context) context.Context
		keys     retry.Keys
		sent     string // on every attempt
		attempts int
	}{
		{name: "a read", method: "GET", attempts: 3},
		{name: "HEAD", method: "HEAD", attempts: 3},
		{name: "OPTIONS", method: "OPTIONS", attempts: 3},
		{name: "no method is GET", method: "", attempts: 3},
		{name: "a write", method: "POST", sent: generated, attempts: 3},
		{name: "DELETE", method: "DELETE", sent: generated, attempts: 3},
		{name: "a method that nobody defined", method: "BREW", attempts: 1},
		{name: "with the caller's key", method: "BREW", header: header{"Idempotency-Key": {"k"}}, sent: "k", attempts: 3},
		{name: "the caller's own key", method: "POST", header: header{"Idempotency-Key": {"\"order 7\""}}, sent: "\"order 7\"", attempts: 3},
		{name: "spelled otherwise", method: "POST", header: header{"idempotency-key": {"k"}}, attempts: 3},
		{name: "an empty key names nothing", method: "POST", header: header{"Idempotency-Key": {""}}, attempts: 1},
		{name: "idempotent, says net/http's convention", method: "POST", header: header{"Idempotency-Key": nil}, attempts: 3},
		{name: "from the context", method: "POST", ctx: withKey("ctx"), sent: "ctx", attempts: 3},
		{name: "an empty one is none", method: "POST", ctx: withKey(""), sent: generated, attempts: 3},
		{name: "the header comes first", method: "POST", header: header{"Idempotency-Key": {"k"}}, ctx: withKey("ctx"), sent: "k", attempts: 3},
		{name: "a read with one in its context", method: "GET", ctx: withKey("ctx"), attempts: 3},

		{name: "callers' keys only: none", method: "POST", keys: retry.KeysCallerOnly, attempts: 1},
		{name: "callers' keys only: PUT", method: "PUT", keys: retry.KeysCallerOnly, attempts: 1},
		{name: "callers' keys only: DELETE", method: "DELETE", keys: retry.KeysCallerOnly, attempts: 1},
		{name: "callers' keys only: a read", method: "GET", keys: retry.KeysCallerOnly, attempts: 3},
		{name: "callers' keys only: in the header", method: "POST", keys: retry.KeysCallerOnly, header: header{"Idempotency-Key": {"k"}}, sent: "k", attempts: 3},
		{name: "callers' keys only: in the context", method: "POST", keys: retry.KeysCallerOnly, ctx: withKey("ctx"), sent: "ctx", attempts: 3},
	} {
		for name, answer := range map[string]func(*http.Request) (*http.Response, error){"503": status(503), "broken": fails(errBroken)} {
			synctest.Test(t, func(t *testing.T) {
				base := scripted(answer)
				tr := transport(base)
				tr.Policy = &retry.Policy{Keys: tc.keys}
				ctx, report := retry.WithReport(t.Context())
				if tc.ctx != nil {
					ctx = tc.ctx(ctx)
				}
				req := request(t, tc.method, target, nil).WithContext(ctx)
				req.Method = tc.method
				if tc.header != nil {
					req.Header = tc.header.Clone()
				}

				resp, err := tr.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}

				require.Equal(t, tc.attempts, base.count(), "%s, %s", tc.name, name)
				for i, key := range base.keys() {
					want := tc.sent
					if want == generated {
						want = report.IdempotencyKey()
						require.Len(t, want, 36, tc.name)
					}
					require.Equal(t, want, key, "%s, %s: attempt %d", tc.name, name, i+1)
				}
				if tc.attempts == 1 {
					require.Equal(t, retry.ReasonNotIdempotent, report.Reason(), tc.name)
				}
			})
		}
	}
}

func withKey(key string) func(context.Context) context.Context {
	return func(ctx context.Context) context.Context { return retry.WithIdempotencyKey(ctx, key) }
}

func TestADialThatWasRefusedIsRepeatedEvenWithoutAKey(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err      error
		attempts int
	}{
		"dial refused": {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, 3},
		"read reset":   {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, 1},
		"write broken": {&net.OpError{Op: "write", Err: syscall.EPIPE}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := scripted(fails(tc.err))
			tr := transport(base)
			tr.Policy = &retry.Policy{Keys: retry.KeysCallerOnly}

			_, err := tr.RoundTrip(request(t, "POST", target, strings.NewReader("x")))

			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.attempts, base.count(), name)
		})
	}
}

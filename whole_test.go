package seawall_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// All packages in one Stack: what authentication and the rate limit answer never becomes what an Idempotency-Key answers from then
// on, and repetitions are limited too.
func TestWholeStack(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ran := 0
				stack := &seawall.Stack{
					Logger:       discard,
					Authenticate: authorized("acct_1"),
					RateLimit: ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
						Limit: ratelimit.PerSecond(1), Key: ratelimit.ByPrincipal,
					}),
					Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil),
				}
				s := protocol.new(stack.Handler(plain(func(w http.ResponseWriter, _ *http.Request) {
					ran++
					fmt.Fprint(w, "ran ", ran)
				})))
				defer s.Close()
				send := func(key, authorization string) answer {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
					require.NoError(t, err)
					r.Header.Set("Idempotency-Key", key)
					r.Header.Set("Authorization", authorization)
					return do(s.Client(), r)
				}

				send("first", "").requireError(t, http.StatusUnauthorized, apierror.CodeAuthenticationFailed)
				require.Equal(t, "ran 1", string(send("first", "yes").body))
				send("first", "yes").requireError(t, http.StatusTooManyRequests, apierror.CodeRateLimitExceeded)
				send("second", "yes").requireError(t, http.StatusTooManyRequests, apierror.CodeRateLimitExceeded)
				time.Sleep(time.Second)
				require.Equal(t, "ran 2", string(send("second", "yes").body))
				time.Sleep(time.Second)
				again := send("first", "yes")
				require.Equal(t, "ran 1", string(again.body))
				require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
				require.NotEqual(t, again.Header.Get("Original-Request"), again.requireID(t))
			})
		})
	}
}

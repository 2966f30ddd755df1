package sdktest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/retry"
)

// sent is a request that the server got.
type sent struct {
	*http.Request
	body string
}

// key returns the Idempotency-Key of a request. It is empty if there is none.
func (s sent) key() string { return s.Header.Get("Idempotency-Key") }

// try is a call that fails.
type try struct {
	policy      retry.Policy
	recommended bool // the client has the settings of docs/RECIPES.md
	fail        func(http.ResponseWriter, *http.Request)
	call        func(calls) func(context.Context) error
	key         string // in the context of the call
}

// with makes the call with an SDK. It returns the requests that the server got, and the error of
// the SDK.
//
// The call runs in a bubble, so that no test waits. The Transport has no budget and no breaker,
// which would stop some of the retries.
func (c try) with(t *testing.T, s sdk) (requests []sent, callErr error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			requests = append(requests, sent{r.Clone(context.Background()), string(body)})
			c.fail(w, r)
		}))
		defer server.Close()
		c.policy.Budget = &retry.Budget{Tokens: 100}
		transport := &retry.Transport{
			Base:    server.Transport(),
			Policy:  &c.policy,
			Breaker: &retry.Breaker{FailureRatio: -1},
			Logger:  slog.New(slog.DiscardHandler),
		}
		client := s.client(server.URL, &http.Client{Transport: transport}, c.recommended)
		ctx := t.Context()
		if c.key != "" {
			ctx = retry.WithIdempotencyKey(ctx, c.key)
		}
		callErr = c.call(client)(ctx)
	})
	require.Error(t, callErr)
	require.NotEmpty(t, requests)
	return requests, callErr
}

func read(c calls) func(context.Context) error  { return c.read }
func write(c calls) func(context.Context) error { return c.write }

// busy answers as a gateway does if the server behind it is down.
func busy(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
}

// status answers in the form of the SDK's servers.
func (s sdk) status(status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, status) }
}

// docs/RECIPES.md has a table with a row for each SDK: how many requests a failed call costs.
func TestRecipesCountTheRequestsOfEachSDK(t *testing.T) {
	t.Parallel()
	recipes, err := os.ReadFile("../../docs/RECIPES.md")
	require.NoError(t, err)
	rows := strings.Split(string(recipes), "\n")
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			requests := func(policy retry.Policy, recommended bool, fail http.HandlerFunc, call func(calls) func(context.Context) error,
			) (count, keys int) {
				requests, _ := try{policy: policy, recommended: recommended, fail: fail, call: call}.with(t, s)
				different := map[string]bool{}
				for _, r := range requests {
					if r.key() != "" {
						different[r.key()] = true
					}
				}
				return len(requests), len(different)
			}
			bothRead, _ := requests(retry.Policy{}, false, busy, read)
			bothWrite, bothKeys := requests(retry.Policy{}, false, busy, write)
			oneRead, _ := requests(s.policy, true, busy, read)
			oneWrite, oneKeys := requests(s.policy, true, busy, write)
			conflict, _ := requests(s.policy, true, s.status(http.StatusConflict), write)

			require.Contains(t, rows, fmt.Sprintf("| %s | %d | %d (%d) | %d | %d (%d) | %d |", s.name,
				bothRead, bothWrite, bothKeys, oneRead, oneWrite, oneKeys, conflict))
		})
	}
}

func TestErrorsOfEachSDKHaveCodeAndRequestID(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		for _, status := range []int{http.StatusConflict, http.StatusServiceUnavailable} {
			t.Run(fmt.Sprint(s.name, "/", status), func(t *testing.T) {
				t.Parallel()
				_, err := try{policy: s.policy, recommended: true, fail: s.status(status), call: write}.with(t, s)

				gotStatus, code, id := s.describe(err)
				require.Equal(t, "req_7", id)
				if s.name == "connect 1.21" { // its errors have no status
					require.Equal(t, connectCode(status).String(), code)
					return
				}
				require.Equal(t, status, gotStatus)
				require.Equal(t, fmt.Sprint("failed_", status), strings.ToLower(code))
			})
		}
	}
}

// A key in the context of the call reaches the Transport through every SDK. A write that has one is
// retried.
func TestKeyInTheContextIsSentWithEveryAttempt(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		if s.name == "stripe-go v85" || s.policy.MaxAttempts == 1 {
			continue // it has its own key, or retries itself
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			requests, _ := try{policy: s.policy, recommended: true, fail: busy, call: write, key: "order-7"}.with(t, s)

			require.Len(t, requests, 3)
			for _, r := range requests {
				require.Equal(t, "order-7", r.key())
				require.Equal(t, requests[0].body, r.body)
				require.NotEmpty(t, r.body)
			}
		})
	}
}

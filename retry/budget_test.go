package retry_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// calls sends n requests and returns the number of attempts.
func calls(t *testing.T, tr *retry.Transport, base *script, n int) int {
	before := base.count()
	for range n {
		_ = do(t, tr, target)
	}
	return base.count() - before
}

// hopeful returns a transport without waits and without a breaker.
func hopeful(base *script, b *retry.Budget) *retry.Transport {
	tr := transport(base)
	tr.Breaker = &retry.Breaker{FailureRatio: -1}
	tr.Policy = &retry.Policy{BaseDelay: -1, Budget: b}
	return tr
}

func TestRetriesStayWithinTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, nil)

		require.Equal(t, 100+10, calls(t, tr, base, 100), "the burst")
		require.Equal(t, 100, calls(t, tr, base, 100), "first attempts are never refused")

		time.Sleep(30 * time.Second)
		require.Equal(t, 100+3, calls(t, tr, base, 100), "a tenth of a retry per second")

		base.answers = scripted(status(200)).answers
		require.Equal(t, 50, calls(t, tr, base, 50))
		base.answers = scripted(status(503)).answers
		require.Equal(t, 100+5, calls(t, tr, base, 100), "a tenth of the successes")

		time.Sleep(time.Hour)
		require.Equal(t, 100+10, calls(t, tr, base, 100), "never more than the burst")
	})
}

func TestBucketsShowWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := new(retry.Budget)
		base := scripted(status(503))
		tr := hopeful(base, budget)
		require.Equal(t, retry.Bucket{Group: targetGroup, Tokens: 10}, budget.Bucket(targetGroup))
		require.Empty(t, budget.Buckets())

		calls(t, tr, base, 2) // two retries each
		require.NoError(t, do(t, tr, "http://b.example"))
		require.Equal(t, retry.Bucket{Group: targetGroup, Tokens: 6}, budget.Bucket(targetGroup))
		require.Equal(t, []retry.Bucket{{Group: "http://b.example:80", Tokens: 8}, {Group: targetGroup, Tokens: 6}}, budget.Buckets())

		time.Sleep(10 * time.Second)
		require.InDelta(t, 7, budget.Bucket(targetGroup).Tokens, 1e-9)
		time.Sleep(10 * time.Second)
		require.Equal(t, []retry.Bucket{{Group: targetGroup, Tokens: 8}}, budget.Buckets(), "the other one is full")
		time.Sleep(time.Minute)
		require.Empty(t, budget.Buckets())
		require.Equal(t, retry.Bucket{Group: targetGroup, Tokens: 10}, budget.Bucket(targetGroup))

		unlimited := &retry.Budget{Tokens: -1}
		require.Equal(t, retry.Bucket{Group: targetGroup, Tokens: math.Inf(1)}, unlimited.Bucket(targetGroup))
		calls(t, hopeful(base, unlimited), base, 2)
		require.Empty(t, unlimited.Buckets())
	})
}

func TestBudgetIsPerHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, nil)
		require.Equal(t, 110, calls(t, tr, base, 100))

		before := base.count()
		require.NoError(t, do(t, tr, "https://other.example/"))
		require.Equal(t, 3, base.count()-before)
	})
}

func TestCallEndsWithoutAWaitIfTheBudgetIsUsedUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503, "Retry-After: 30"))
		tr := hopeful(base, &retry.Budget{Tokens: 1, PerSecond: -1, PerSuccess: -1})
		start := time.Now()
		require.NoError(t, do(t, tr, target))
		require.Equal(t, 30*time.Second, time.Since(start))
		start = time.Now()
		ctx, report := retry.WithReport(t.Context())

		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		require.Equal(t, retry.ReasonBudgetExhausted, report.Reason())
		require.Zero(t, time.Since(start))
		resp.Body.Close()
	})
}

func TestNoBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		require.Equal(t, 300, calls(t, hopeful(base, &retry.Budget{Tokens: -1}), base, 100))
	})
}

func TestLeastRecentlyUsedBucketIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 2, PerSecond: -1, MaxGroups: 2})
		attempts := func(url string) int {
			before := base.count()
			require.NoError(t, do(t, tr, url))
			return base.count() - before
		}
		require.Equal(t, 3, attempts("http://a.example"))
		require.Equal(t, 3, attempts("http://b.example"))
		require.Equal(t, 1, attempts("http://a.example"), "its token is spent")
		require.Equal(t, 3, attempts("http://c.example"))
		require.Equal(t, 1, attempts("http://a.example"), "kept: it was used after b")
		require.Equal(t, 3, attempts("http://b.example"), "forgotten: it is full again")
	})
}

func TestCanceledRetryCostsNoToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503, "Retry-After: 10"))
		tr := hopeful(base, &retry.Budget{Tokens: 1, PerSecond: -1})
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Equal(t, 2, calls(t, tr, base, 1))
	})
}

func TestFullBucketsAreNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := map[string]bool{"a.example": true}
		n := 0
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			n++
			if down[r.URL.Host] {
				return answer(503, ""), nil
			}
			return answer(200, ""), nil
		}))
		tr.Breaker = &retry.Breaker{FailureRatio: -1}
		tr.Policy = &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: 1, PerSecond: -1, MaxGroups: 1}}
		attempts := func(host string) int {
			before := n
			require.NoError(t, do(t, tr, "https://"+host))
			return n - before
		}
		require.Equal(t, 2, attempts("a.example"))
		require.Equal(t, 1, attempts("b.example"), "a success takes no token")
		require.Equal(t, 1, attempts("a.example"), "spent and kept")

		down["a.example"] = false
		for range 20 {
			require.Equal(t, 1, attempts("a.example"))
		}
		down["a.example"], down["b.example"] = true, true
		require.Equal(t, 2, attempts("a.example"), "full again, with one token")
		require.Equal(t, 1, attempts("a.example"))
		require.Equal(t, 2, attempts("b.example"))
	})
}

func TestFullBucketGainsNoTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 1, PerSecond: 1})
		slow := true
		tr.Policy.Retryable = func(a retry.Failure) bool {
			if slow {
				time.Sleep(time.Minute)
			}
			slow = false
			return true
		}
		require.Equal(t, 2, calls(t, tr, base, 1), "the retry is decided a minute after the attempt")
		require.Equal(t, 1, calls(t, tr, base, 1), "the minute before earned no token")
	})
}

func TestBudgetHoldsInEveryInterval(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			b := &retry.Budget{
				Tokens: []float64{0.9, 1, 2, 2.5}[r.IntN(4)], PerSuccess: []float64{-1, 0.1, 0.3, 1.7}[r.IntN(4)],
				PerSecond: []float64{-1, 0.1, 0.7}[r.IntN(3)], MaxGroups: 2,
			}
			type event struct {
				at             time.Time
				retry, success float64
			}
			events := map[string][]event{}
			tries := map[*http.Request]float64{}
			tr := transport(baseFunc(func(req *http.Request) (*http.Response, error) {
				e := event{at: time.Now(), retry: min(tries[req], 1)}
				tries[req]++
				code := 503
				if r.IntN(3) > 0 {
					code, e.success = 200, 1
				}
				events[req.URL.Host] = append(events[req.URL.Host], e)
				return answer(code, ""), nil
			}))
			tr.Policy, tr.Breaker = &retry.Policy{MaxAttempts: 5, BaseDelay: -1, Budget: b}, &retry.Breaker{FailureRatio: -1}
			for range 100 {
				require.NoError(t, do(t, tr, []string{"http://a", "http://b"}[r.IntN(2)]))
				time.Sleep([]time.Duration{0, 1, time.Second, 20 * time.Second}[r.IntN(4)])
			}
			for host, all := range events {
				for i := range all {
					retries, most := 0.0, b.Tokens
					for _, e := range all[i:] {
						retries += e.retry
						require.LessOrEqual(t, retries, most+max(b.PerSecond, 0)*e.at.Sub(all[i].at).Seconds()+1e-6, "seed %d, %s", seed, host)
						most += max(b.PerSuccess, 0) * e.success
					}
				}
			}
		})
	}
}

func TestRetryWhoseBodyFailsCostsNoToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 1, PerSecond: -1})
		for range 3 {
			req, _ := post(t, "payload", false)
			req.GetBody = func() (io.ReadCloser, error) { return nil, errBroken }
			resp, err := tr.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		require.Equal(t, 2, calls(t, tr, base, 1))
	})
}

func TestDefaultBudgetKeeps1024Groups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 1, PerSecond: -1})
		attempts := func(i int) int {
			before := base.count()
			require.NoError(t, do(t, tr, fmt.Sprintf("http://h%d.example", i)))
			return base.count() - before
		}
		for i := range 1024 {
			require.Equal(t, 2, attempts(i))
		}
		require.Equal(t, 1, attempts(0), "kept")
		require.Equal(t, 2, attempts(1024))
		require.Equal(t, 1, attempts(0), "kept: it was used after the others")
		require.Equal(t, 2, attempts(1), "forgotten")
	})
}

// Calls whose policy has no Budget share the Transport's, even if Transport.Policy has one.
func TestDefaultBudgetIsTheOneOfPoliciesWithoutBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		own := new(retry.Budget)
		tr := hopeful(base, own)
		calls(t, tr, base, 1)
		require.Empty(t, tr.DefaultBudget().Buckets())

		ctx := retry.WithPolicy(t.Context(), &retry.Policy{BaseDelay: -1})
		resp, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(ctx))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, []retry.Bucket{{Group: targetGroup, Tokens: 8}}, tr.DefaultBudget().Buckets())
		require.Equal(t, []retry.Bucket{{Group: targetGroup, Tokens: 8}}, own.Buckets())
	})
}

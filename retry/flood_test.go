package retry_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/retry"
)

// flood is more groups than a table keeps.
const flood = 1100

// flooder returns the URL of one of many hosts.
func flooder(i int) string { return fmt.Sprintf("http://new%d.example", i) }

func TestOpenCircuitsSurviveAFloodOfHosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const dead = 50
		deadHost := func(i int) string { return fmt.Sprintf("http://dead%d.example", i) }
		down := true
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if down && strings.HasPrefix(r.URL.Host, "dead") {
				return nil, errBroken
			}
			return answer(200, ""), nil
		}))
		tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: 1}
		for i := range dead {
			require.ErrorIs(t, do(t, tr, deadHost(i)), errBroken)
		}
		for i := range flood {
			require.NoError(t, do(t, tr, flooder(i)))
		}
		for i := range dead {
			require.ErrorIs(t, do(t, tr, deadHost(i)), retry.ErrCircuitOpen)
		}
		require.Len(t, tr.Breaker.Circuits(), 1024)

		down = false
		time.Sleep(time.Second)
		for i := range dead {
			require.NoError(t, do(t, tr, deadHost(i)))
		}
		for i := range flood {
			require.NoError(t, do(t, tr, flooder(i)))
		}
		for _, c := range tr.Breaker.Circuits() {
			require.NotContains(t, c.Group, "dead", "closed circuits are forgotten")
		}
	})
}

func TestEmptyBucketsSurviveAFloodOfHosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := scripted(status(503))
		tr := hopeful(base, &retry.Budget{Tokens: 10, PerSecond: -1, PerSuccess: -1})
		require.Equal(t, 110, calls(t, tr, base, 100))
		for i := range flood {
			require.NoError(t, do(t, tr, flooder(i)))
		}
		require.Equal(t, 1, calls(t, tr, base, 1))
	})
}

func TestLongestHoldSurvivesAFloodOfHosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			switch {
			case r.URL.Path != "/hold":
				return answer(200, ""), nil
			case r.URL.Host == "api.example":
				return answer(503, "", "Retry-After: 100"), nil
			default:
				return answer(503, "", "Retry-After: 5"), nil
			}
		}))
		tr.Policy = &retry.Policy{MaxAttempts: 1, HoldHost: true}
		require.NoError(t, do(t, tr, "http://api.example/hold"))
		for i := range flood {
			require.NoError(t, do(t, tr, flooder(i)+"/hold"))
		}
		start := time.Now()
		require.NoError(t, do(t, tr, "http://api.example/"))
		require.GreaterOrEqual(t, time.Since(start), 100*time.Second)
	})
}

func TestLeastRecentlyUsedCircuitIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Policy = &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}
		tr.Breaker = &retry.Breaker{MinCalls: 3, MaxGroups: 2}
		attempts := func(url string) int {
			err := do(t, tr, url)
			e, ok := errors.AsType[*retry.Error](err)
			require.True(t, ok)
			return len(e.Attempts)
		}
		require.Equal(t, 3, attempts("http://a.example"))
		require.Equal(t, 0, attempts("http://a.example"), "open")
		require.Equal(t, 3, attempts("http://b.example"))
		require.Equal(t, 0, attempts("http://a.example"), "kept")
		require.Equal(t, 3, attempts("http://c.example"))
		require.Equal(t, 0, attempts("http://a.example"), "kept: it was used after b")
		require.Equal(t, 3, attempts("http://b.example"), "forgotten: it is closed")
		require.Equal(t, 0, attempts("http://a.example"))
		require.Equal(t, 0, attempts("http://b.example"))
		require.Equal(t, 3, attempts("http://c.example"))
		require.Equal(t, 0, attempts("http://b.example"), "kept: it was used after a")
		require.Equal(t, 3, attempts("http://a.example"), "forgotten")
	})
}

func TestLeastRecentlyUsedOpenCircuitIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(fails(errBroken)))
		tr.Policy, tr.Breaker = once(), &retry.Breaker{MinCalls: 2, MaxGroups: 3}
		open := func(host string) bool { return errors.Is(do(t, tr, "http://"+host), retry.ErrCircuitOpen) }
		for _, host := range []string{"a", "a", "b", "b", "c", "c"} {
			require.False(t, open(host))
		}
		require.True(t, open("a"))
		for i := range 10 { // each replaces the one before, whose circuit is closed
			require.False(t, open(fmt.Sprint("new", i)))
		}
		require.True(t, open("a"))
		require.True(t, open("c"))
		require.False(t, open("b"), "forgotten")
	})
}

func TestLateFailureDoesNotEvictAnotherCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "slow.example" {
				<-release
			}
			return answer(503, ""), nil
		}))
		tr.Breaker = &retry.Breaker{MinCalls: 1, MaxGroups: 1}
		tr.Policy = &retry.Policy{Budget: &retry.Budget{Tokens: 0.5}}
		slow := make(chan error)
		go func() { slow <- do(t, tr, "http://slow.example") }()
		synctest.Wait()
		require.NoError(t, do(t, tr, target))
		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)

		close(release)
		require.NoError(t, <-slow)

		require.ErrorIs(t, do(t, tr, target), retry.ErrCircuitOpen)
	})
}

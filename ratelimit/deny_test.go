package ratelimit_test

import (
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

func TestDenyGetsTheRuleAndItsDecision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
			Deny: func(w http.ResponseWriter, _ *http.Request, rule string, d ratelimit.Decision) {
				require.Equal(t, "a", rule)
				require.Equal(t, ratelimit.PerMinute(1), d.Limit)
				require.Equal(t, time.Minute, d.RetryAfter)
				w.WriteHeader(http.StatusTeapot)
			},
		}, byKey("a", ratelimit.PerMinute(1)), byKey("b", ratelimit.PerMinute(2)))(ok)
		require.Equal(t, 200, get(h, "sk_1").Code)
		w := get(h, "sk_1")
		require.Equal(t, http.StatusTeapot, w.Code)
		require.Equal(t, "60", w.Header().Get("Retry-After"))
		require.Equal(t, `"a";r=0;t=60, "b";r=1;t=30`, w.Header().Get("RateLimit"))
	})
}

func TestDenyGetsTheFirstRuleWithTheLongestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var denied []string
		o := &ratelimit.Options{Deny: func(_ http.ResponseWriter, _ *http.Request, rule string, _ ratelimit.Decision) {
			denied = append(denied, rule)
		}}
		once := ratelimit.PerMinute(1)
		h := ratelimit.New(ratelimit.NewMemory(nil), o, byKey("short", ratelimit.PerSecond(1)), byKey("a", once), byKey("b", once))(ok)
		get(h, "sk_1")
		require.Empty(t, denied)
		get(h, "sk_1")
		require.Equal(t, []string{"a"}, denied)
	})
}

func TestDenyMayPanicOrExit(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := end
			h := ratelimit.New(ratelimit.NewMemory(nil), &ratelimit.Options{
				Deny: func(w http.ResponseWriter, _ *http.Request, _ string, _ ratelimit.Decision) {
					end()
					w.WriteHeader(http.StatusTeapot)
				},
			}, byKey("a", ratelimit.PerHour(1)), byKey("b", ratelimit.PerHour(2)))(ok)
			require.Equal(t, 200, get(h, "sk_1").Code)
			for range 3 {
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { _ = recover() }()
					get(h, "sk_1")
				})
				wg.Wait()
			}
			end = func() {}
			w := get(h, "sk_1")
			require.Equal(t, http.StatusTeapot, w.Code)
			require.Equal(t, `"a";r=0;t=3600, "b";r=1;t=1800`, w.Header().Get("RateLimit"))
			require.Equal(t, 200, get(h, "sk_2").Code)
		})
	}
}

package redislimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

func perHour(key string, n int) ratelimit.Charge {
	return ratelimit.Charge{Rule: "default", Key: key, Limit: ratelimit.PerHour(n), Cost: 1}
}

// Two instances of a service have one limit.
func TestTwoInstancesAdmitExactlyTheBurst(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
		for range 100 {
			wg.Go(func() {
				d, err := l.Take(t.Context(), perHour("k", 100))
				if err != nil {
					t.Error(err)
				}
				if d.Allowed {
					admitted.Add(1)
				}
			})
		}
	}
	wg.Wait()
	require.EqualValues(t, 100, admitted.Load())
}

func TestDecisionOfALoneCallerIsOneCall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	take(t, l, perHour("k", 1e6)) // loads the script
	before := do(t, server, "INFO", "commandstats")
	for range 10 {
		take(t, l, perHour("k", 1e6))
	}
	require.Equal(t, 10, calls(t, server, "evalsha")-callsIn(t, before, "evalsha"))

	rules := []ratelimit.Charge{perHour("k", 1e6), {Rule: "other", Key: "k", Limit: ratelimit.PerHour(1e6), Cost: 1}}
	n := calls(t, server, "evalsha")
	require.NoError(t, l.TakeAll(t.Context(), rules, make([]ratelimit.Decision, 2)))
	require.Equal(t, 1, calls(t, server, "evalsha")-n)
	require.True(t, take(t, l, perHour("scarce", 1)).Allowed)
	sets := calls(t, server, "set")
	require.False(t, take(t, l, perHour("scarce", 1)).Allowed)
	require.Equal(t, sets, calls(t, server, "set"), "a denial writes nothing")
	for _, command := range []string{"eval", "multi", "time", "script|load"} {
		if n := calls(t, server, command); command == "eval" {
			require.Equal(t, 1, n, "for the unknown script")
		}
	}
}

func TestConcurrentCallersShareCalls(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	take(t, l, perHour("k", 1e6))
	before := calls(t, server, "evalsha")
	const callers, each = 64, 50
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				d, err := l.Take(t.Context(), perHour(fmt.Sprint(i%10), 1000))
				if err != nil {
					t.Error(err)
				}
				if d.Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, callers*each, admitted.Load())
	require.Less(t, calls(t, server, "evalsha")-before, callers*each/4)
	for i := range 10 {
		d := take(t, l, ratelimit.Charge{Rule: "default", Key: fmt.Sprint(i), Limit: ratelimit.PerHour(1000)})
		want := 1000 - each*((callers-i+9)/10)
		require.Equal(t, want, d.Remaining, "key %d", i)
	}
}

// The groups of a call are denied and charged one by one.
func TestGroupsOfACallAreIndependent(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t).Addr)
	shared := new(joined)
	for _, c := range []struct {
		key  string
		cost int
	}{{"a", 4}, {"a", 7}, {"b", 3}, {"a", 6}, {"b", 8}, {"b", 7}, {"c", 1}} {
		charge := perHour(c.key, 10)
		charge.Cost = c.cost
		_, err := redislimit.NewRunner(shared, nil).Take(t.Context(), charge)
		require.ErrorIs(t, err, errReply)
	}
	reply, err := redislimit.NewGoRedisRunner(client).Run(t.Context(), shared.script, shared.keys, shared.args)
	require.NoError(t, err)
	numbers, ok := reply.([]any)
	require.True(t, ok)
	var outcomes []any
	for i := 0; i < len(numbers); i += 2 {
		outcomes = append(outcomes, numbers[i])
	}
	require.Equal(t, []any{int64(1), int64(0), int64(1), int64(1), int64(0), int64(1), int64(1)}, outcomes)
	l := redislimit.New(client, &redislimit.Options{Timeout: patient})
	for key, remaining := range map[string]int{"a": 0, "b": 0, "c": 9} {
		peek := perHour(key, 10)
		peek.Cost = 0
		require.Equal(t, remaining, take(t, l, peek).Remaining, key)
	}
}

func TestCachedDenialCostsNoCall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	now := time.Now()
	l.SetClock(func() time.Time { return now })
	limit := ratelimit.Per(1, 10*time.Second)
	charge := ratelimit.Charge{Rule: "default", Key: "k", Limit: limit, Cost: 1}
	require.True(t, take(t, l, charge).Allowed)
	require.False(t, take(t, l, charge).Allowed)
	before := calls(t, server, "evalsha")
	for range 1000 {
		d := take(t, l, charge)
		require.False(t, d.Allowed)
		require.Equal(t, 10*time.Second, d.RetryAfter)
	}
	require.Equal(t, before, calls(t, server, "evalsha"))
	now = now.Add(time.Second - 1)
	d := take(t, l, charge)
	require.InDelta(t, 9*time.Second, d.RefillAfter, float64(100*time.Millisecond), "counted down")
	require.Equal(t, before, calls(t, server, "evalsha"))
	now = now.Add(1)
	require.False(t, take(t, l, charge).Allowed)
	require.Equal(t, before+1, calls(t, server, "evalsha"), "a denial is kept for a second at most")
}

// go-redis repeats a command whose reply was lost. A charge must not be repeated.
func TestLostReplyIsNotChargedTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	l := redislimit.New(connect(t, proxy.Addr), &redislimit.Options{Timeout: patient})
	direct := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	take(t, l, perHour("k", 10))
	dropped := proxy.DropReply("evalsha")
	_, err := l.Take(t.Context(), perHour("k", 10))
	require.Error(t, err)
	<-dropped
	peek := perHour("k", 10)
	peek.Cost = 0
	require.Equal(t, 8, take(t, direct, peek).Remaining)
}

func TestScriptFlushIsInvisible(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	for n := range 5 {
		require.Equal(t, 9-n, take(t, l, perHour("k", 10)).Remaining)
		do(t, server, "SCRIPT", "FLUSH")
	}
	require.NoError(t, l.Reset(t.Context(), "default", "k"))
	do(t, server, "SCRIPT", "FLUSH")
	require.NoError(t, l.Adjust(t.Context(), perHour("k", 10)))
	require.Equal(t, 8, take(t, l, perHour("k", 10)).Remaining)
}

// The server's own clock, and its own expiry.
func TestRealClock(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := redislimit.New(connect(t, server.Addr), &redislimit.Options{Timeout: patient})
	c := ratelimit.Charge{Rule: "default", Key: "k", Limit: ratelimit.Limit{Quota: 1, Window: 200 * time.Millisecond, Burst: 2}, Cost: 2}
	require.True(t, take(t, l, c).Allowed)
	require.False(t, take(t, l, c).Allowed)
	require.Eventually(t, func() bool { return take(t, l, c).Allowed }, patient, 10*time.Millisecond)
	require.Eventually(t, func() bool { return do(t, server, "EXISTS", l.RedisKey("default", "k")) == "0" }, patient, 10*time.Millisecond)
	require.Equal(t, "0", do(t, server, "DBSIZE"))
}

// Redis gets neither the key of a caller nor a time of this process.
func TestWhatRedisGets(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(t, server.Addr)
	requests := func() {
		l := redislimit.New(client, &redislimit.Options{Timeout: patient})
		h := ratelimit.New(l, nil, ratelimit.Rule{Key: ratelimit.ByAPIKey})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer sk_live_4242")
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.NoError(t, l.Adjust(t.Context(), perHour("sk_live_4242", 10)))
		require.NoError(t, l.Reset(t.Context(), "default", "sk_live_4242"))
	}
	first := sent(redistest.Monitor(t, server, requests))
	again := sent(redistest.Monitor(t, server, requests))
	require.Len(t, again, 3)
	require.Equal(t, again, sent(redistest.Monitor(t, server, requests)), "nothing that is sent depends on the time")
	require.NotContains(t, strings.Join(append(first, again...), "\n"), "4242")
}

// sent returns the commands that clients have sent, without those of the scripts.
func sent(lines []string) (commands []string) {
	for _, line := range lines {
		if _, command, _ := strings.Cut(line, "] "); !strings.Contains(line, "lua]") {
			commands = append(commands, command)
		}
	}
	return commands
}

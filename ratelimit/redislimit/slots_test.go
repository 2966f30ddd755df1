package redislimit_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// patientSlots are the options of slots whose tests are not about time.
var patientSlots = redislimit.SlotsOptions{Timeout: patient, Lease: 10 * patient}

// briefSlots are the options of slots that are renewed during the test.
var briefSlots = redislimit.SlotsOptions{Timeout: time.Second / 2, Lease: 3 * time.Second}

func TestSlots(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(t, server.Addr)
	ratelimittest.RunSlots(t, func(t *testing.T) (ratelimit.Slots, time.Duration, func(time.Duration)) {
		c := newClock(t, client)
		o := patientSlots
		o.Prefix = c.key + ":"
		return redislimit.NewSlotsRunner(c, &o), o.Lease, func(d time.Duration) { c.advance(t, d) }
	})
}

// Two processes have a client and Slots each.
func TestTwoInstancesShareTheSlots(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var running, refused, served atomic.Int64
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n := running.Add(1); n > 5 {
			t.Errorf("%d requests are running, want 5 at most", n)
		}
		time.Sleep(time.Millisecond)
		running.Add(-1)
	})
	var instances []*redislimit.Slots
	var handlers []http.Handler
	for range 2 {
		s := redislimit.NewSlots(connect(t, server.Addr), &patientSlots)
		instances = append(instances, s)
		handlers = append(handlers, ratelimit.MaxConcurrent(5, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{
			Slots: s, OnFailure: ratelimit.FailClosed,
		})(handler))
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 20 {
				switch code := send(handlers[i%2], "sk_1"); code {
				case 200:
					served.Add(1)
				case 429:
					refused.Add(1)
				default:
					t.Errorf("status %d", code)
				}
			}
		})
	}
	wg.Wait()
	require.Positive(t, refused.Load())
	require.Greater(t, served.Load(), int64(5))

	var taken atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			e := ratelimit.Entry{Rule: "concurrent", Key: "api_key:sk_1", Max: 5}
			_, free, err := instances[i%2].Enter(t.Context(), e)
			if err != nil {
				t.Error(err)
			}
			if free {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 5, taken.Load())
	require.Equal(t, "5", do(t, server, "ZCARD", instances[0].RedisKey("concurrent", "api_key:sk_1")))
}

func send(h http.Handler, key string) (status int) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Api-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestKeysOfSlotsExpire(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), nil)
	leave := enterPatiently(t, s, entry("k"))
	keys := strings.Fields(do(t, server, "KEYS", "*"))
	require.Equal(t, []string{s.RedisKey("concurrent", "k")}, keys)
	require.Regexp(t, `^slots:\{[A-Za-z0-9_-]{22}\}:concurrent$`, keys[0])
	ttl, err := strconv.Atoi(do(t, server, "PTTL", keys[0]))
	require.NoError(t, err)
	require.Positive(t, ttl)
	require.LessOrEqual(t, ttl, 30_000)
	leave()
	require.Eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, patient, 10*time.Millisecond)
}

// enterPatiently takes a slot that must become free.
func enterPatiently(t *testing.T, s ratelimit.Slots, e ratelimit.Entry) (leave func()) {
	t.Helper()
	require.Eventually(t, func() bool {
		l, free, err := s.Enter(t.Context(), e)
		leave = l
		return err == nil && free
	}, patient, 10*time.Millisecond)
	return leave
}

func TestSecretChangesTheKeysOfSlots(t *testing.T) {
	t.Parallel()
	plain := redislimit.NewSlotsRunner(replies{}, nil)
	secret := redislimit.NewSlotsRunner(replies{}, &redislimit.SlotsOptions{Prefix: "p:", Secret: []byte("pepper")})
	limiter := redislimit.NewRunner(replies{}, nil)
	require.NotEqual(t, plain.RedisKey("a", "k"), limiter.RedisKey("a", "k"), "a set is not a bucket")
	_, hash, _ := strings.Cut(secret.RedisKey("a", "k"), "p:")
	require.NotContains(t, plain.RedisKey("a", "k"), hash)
}

// Without the clock's correction, a slot of a process that has died would be taken for an hour.
func TestLeaseEndsAlthoughTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClock(t, connect(t, server.Addr))
	o := patientSlots
	s := redislimit.NewSlotsRunner(c, &o)
	e := ratelimit.Entry{Rule: "r", Key: "k", Max: 2}
	for range 2 {
		enter1(t, s, e)
	}
	c.advance(t, -time.Hour)
	_, free, err := s.Enter(t.Context(), e)
	require.NoError(t, err)
	require.False(t, free)
	c.advance(t, o.Lease)
	enter1(t, s, e)
	enter1(t, s, e)
}

// A lease begins and ends within a second of the server's clock.
func TestLeaseEndsOnTheMillisecond(t *testing.T) {
	t.Parallel()
	const lease = 10*patient + 500*time.Millisecond
	var sent tape
	synctest.Test(t, func(t *testing.T) {
		s := redislimit.NewSlotsRunner(&sent, &redislimit.SlotsOptions{Lease: lease})
		e := ratelimit.Entry{Rule: "r", Key: "k", Max: 1}
		enter1(t, s, e)
		time.Sleep(lease/3 + time.Second)
		enter1(t, s, e)
	})
	require.Len(t, sent, 3)
	first, renew, second := sent[0], sent[1], sent[2]
	for _, renewed := range []bool{false, true} {
		c := newClock(t, connect(t, redistest.Start(t).Addr))
		c.advance(t, 900*time.Millisecond)
		require.EqualValues(t, 1, first(t, c))
		if renewed {
			c.advance(t, 700*time.Millisecond)
			renew(t, c)
		}
		c.advance(t, lease-time.Millisecond)
		require.EqualValues(t, 0, second(t, c), "renewed: %v", renewed)
		c.advance(t, time.Millisecond)
		require.EqualValues(t, 1, second(t, c), "renewed: %v", renewed)
	}
}

// tape is a Runner that records its calls for another Runner. It answers that a slot is free.
type tape []func(*testing.T, redislimit.Runner) (reply any)

func (p *tape) Run(_ context.Context, script string, keys, args []string) (any, error) {
	*p = append(*p, func(t *testing.T, r redislimit.Runner) any {
		t.Helper()
		reply, err := r.Run(t.Context(), script, keys, args)
		require.NoError(t, err)
		return reply
	})
	return int64(1), nil
}

// enter1 takes a slot that must be free.
func enter1(t *testing.T, s ratelimit.Slots, e ratelimit.Entry) (leave func()) {
	t.Helper()
	leave, free, err := s.Enter(t.Context(), e)
	require.NoError(t, err)
	require.True(t, free)
	return leave
}

func isFull(t *testing.T, s ratelimit.Slots, e ratelimit.Entry) {
	t.Helper()
	_, free, err := s.Enter(t.Context(), e)
	require.NoError(t, err)
	require.False(t, free)
}

func TestSlotsWorkAfterAScriptFlush(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), &briefSlots)
	e := ratelimit.Entry{Rule: "r", Key: "k", Max: 1}
	flush := func() { require.Equal(t, "OK", do(t, server, "SCRIPT", "FLUSH")) }
	for range 2 {
		flush()
		leave := enterPatiently(t, s, e)
		flush()
		before := leases(t, server, s.RedisKey("r", "k"))
		require.Eventually(t, func() bool { return leases(t, server, s.RedisKey("r", "k")) != before }, patient, 10*time.Millisecond,
			"it is renewed")
		flush()
		leave()
		require.Eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, patient, 10*time.Millisecond)
	}
}

// leases returns the members of a set of slots, and when their leases end.
func leases(t *testing.T, server *redistest.Server, key string) string {
	t.Helper()
	return do(t, server, "ZRANGE", key, "0", "-1", "WITHSCORES")
}

// Requests that run while Redis loses its data are forgotten, and free no slots of others.
func TestSlotsAfterALossOfData(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), &patientSlots)
	e := ratelimit.Entry{Rule: "r", Key: "k", Max: 2}
	before := []func(){enter1(t, s, e), enter1(t, s, e)}
	do(t, server, "FLUSHALL")
	after := []func(){enter1(t, s, e), enter1(t, s, e)}
	for _, leave := range before {
		leave()
	}
	isFull(t, s, e)
	for _, leave := range after {
		leave()
	}
	require.Equal(t, "0", do(t, server, "DBSIZE"))
}

func TestWrongTypeAtTheKeyOfSlots(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), &patientSlots)
	e := ratelimit.Entry{Rule: "r", Key: "sk_secret", Max: 1}
	leave := enter1(t, s, e)
	do(t, server, "SET", s.RedisKey("r", "sk_secret"), "v")
	leave() // no effect
	for range 3 {
		_, _, err := s.Enter(t.Context(), e)
		require.ErrorContains(t, err, "WRONGTYPE", "every time: the server does answer")
		require.NotContains(t, err.Error(), "sk_secret")
	}
	require.Equal(t, "v", do(t, server, "GET", s.RedisKey("r", "sk_secret")))
	other := e
	other.Key = "other"
	enter1(t, s, other)()
	do(t, server, "DEL", s.RedisKey("r", "sk_secret"))
	enter1(t, s, e)()
}

// Slots share calls, and one key holds something else.
func TestWrongTypeAtOneKeyAffectsNoOtherSlots(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	s := redislimit.NewSlots(connect(t, proxy.Addr), &redislimit.SlotsOptions{Timeout: time.Second, Lease: time.Minute})
	wrong := ratelimit.Entry{Rule: "r", Key: "a", Max: 1}
	good := ratelimit.Entry{Rule: "r", Key: "b", Max: 1}
	if s.RedisKey("r", "a") > s.RedisKey("r", "b") { // the wrong one comes first in a call
		wrong, good = good, wrong
	}
	leaves := []func(){enterPatiently(t, s, wrong), enterPatiently(t, s, good)}
	do(t, server, "SET", s.RedisKey("r", wrong.Key), "v")
	proxy.SetDown(true)
	for _, leave := range leaves {
		leave()
	}
	proxy.SetDown(false)
	require.Eventually(t, func() bool { return do(t, server, "EXISTS", s.RedisKey("r", good.Key)) == "0" }, patient, 20*time.Millisecond)

	s = redislimit.NewSlots(connect(t, server.Addr), &briefSlots)
	enterPatiently(t, s, good)
	do(t, server, "DEL", s.RedisKey("r", wrong.Key))
	enterPatiently(t, s, wrong)
	do(t, server, "SET", s.RedisKey("r", wrong.Key), "v")
	for range 2 { // the first call may be about one key
		before := leases(t, server, s.RedisKey("r", good.Key))
		require.Eventually(t, func() bool {
			now := leases(t, server, s.RedisKey("r", good.Key))
			require.NotEmpty(t, now)
			return now != before
		}, patient, 20*time.Millisecond, "it is renewed")
	}
}

func TestSlotIsGivenBackIfTheReplyOfRedisIsLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	s := redislimit.NewSlots(connect(t, proxy.Addr), &patientSlots)
	e := ratelimit.Entry{Rule: "r", Key: "k", Max: 2}
	enter1(t, s, e)()
	dropped := proxy.DropReply("evalsha")
	_, _, err := s.Enter(t.Context(), e)
	require.Error(t, err)
	<-dropped
	require.Eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, patient, 10*time.Millisecond,
		"long before the lease ends")
	require.Equal(t, 2, calls(t, server, "zadd"), "the entry was sent once")

	leave := enterPatiently(t, s, e)
	dropped = proxy.DropReply("evalsha")
	leave()
	<-dropped
	require.Equal(t, "0", do(t, server, "DBSIZE"))
}

func TestSlotsWhileRedisFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]struct {
		begin, end func(*redistest.Proxy)
		modes      []ratelimit.Fail
	}{
		"down": {
			begin: func(p *redistest.Proxy) { p.SetDown(true) },
			end:   func(p *redistest.Proxy) { p.SetDown(false) },
			modes: []ratelimit.Fail{ratelimit.FailLocal, ratelimit.FailOpen, ratelimit.FailClosed},
		},
		"silent": {
			begin: func(p *redistest.Proxy) { p.SetSilent(true) },
			end:   func(p *redistest.Proxy) { p.SetDown(true); p.SetSilent(false); p.SetDown(false) },
			modes: []ratelimit.Fail{ratelimit.FailLocal},
		},
	} {
		for _, on := range fail.modes {
			t.Run(fmt.Sprint(name, on), func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := redistest.NewProxy(t, server.Addr)
				s := redislimit.NewSlots(connect(t, proxy.Addr), &redislimit.SlotsOptions{Timeout: time.Second, Lease: time.Minute})
				var log logbuf.Buffer
				var seen outcomes
				var h http.Handler
				inner, nested := 0, false
				h = ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{
					Slots: s, OnFailure: on, Logger: slog.New(slog.NewTextHandler(&log, nil)), Observe: seen.observe,
				})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					if nested = !nested; nested {
						inner = send(h, "sk_secret")
						nested = false
					}
				}))
				require.Equal(t, 200, send(h, "sk_secret"))
				require.Equal(t, 429, inner)
				seen.take()

				fail.begin(proxy)
				dials := proxy.Dials()
				want := map[ratelimit.Fail]struct {
					outer, inner int
					outcome      ratelimit.Outcome
				}{
					ratelimit.FailLocal:  {200, 429, ratelimit.OutcomeAllowed},
					ratelimit.FailOpen:   {200, 200, ratelimit.OutcomeBypassed},
					ratelimit.FailClosed: {503, 0, ratelimit.OutcomeFailed},
				}[on]
				for range 200 {
					inner = 0
					require.Equal(t, want.outer, send(h, "sk_secret"))
					require.Equal(t, want.inner, inner)
					require.Contains(t, seen.take(), want.outcome)
				}
				require.Less(t, proxy.Dials()-dials, 40, "an outage costs one timeout, and a probe each second")

				fail.end(proxy)
				require.Eventually(t, func() bool {
					send(h, "sk_secret")
					return strings.Contains(log.String(), "works again")
				}, patient, 50*time.Millisecond)
				seen.take()
				require.Equal(t, 200, send(h, "sk_secret"))
				require.Equal(t, 429, inner)
				require.ElementsMatch(t, []ratelimit.Outcome{ratelimit.OutcomeAllowed, ratelimit.OutcomeDenied}, seen.take())
				text := log.String()
				require.Equal(t, 1, strings.Count(text, "level=ERROR"), text)
				require.Equal(t, 1, strings.Count(text, "level=INFO"), text)
				require.NotContains(t, text, "sk_secret")
				require.Eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, patient, 50*time.Millisecond)
			})
		}
	}
}

// outcomes are the outcomes of the events that an Observe function gets.
type outcomes struct {
	mu   sync.Mutex
	list []ratelimit.Outcome
}

func (o *outcomes) observe(_ context.Context, e ratelimit.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, e.Outcome)
}

func (o *outcomes) take() []ratelimit.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	o.list = nil
	return list
}

// A slot that is held during an outage is given back when Redis answers again.
func TestSlotsAreGivenBackAfterAPause(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), &redislimit.SlotsOptions{Timeout: 100 * time.Millisecond, Lease: 10 * time.Minute})
	e := ratelimit.Entry{Rule: "r", Key: "k", Max: 50}
	var leaves []func()
	for range 50 {
		leaves = append(leaves, enterPatiently(t, s, e))
	}
	server.Pause()
	for _, leave := range leaves {
		leave()
	}
	_, _, err := s.Enter(t.Context(), e)
	require.Error(t, err)
	server.Resume()
	require.Eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, patient, 50*time.Millisecond,
		"the lease is ten minutes")
}

// What goes over the wire is tokens and durations: no key of a caller, and no time of the
// application's clock.
func TestSlotsSendNoKeysAndNoTimes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), &briefSlots)
	h := ratelimit.MaxConcurrent(7, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Slots: s})(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			key := s.RedisKey("concurrent", "api_key:sk_live_secret")
			before := leases(t, server, key)
			require.Eventually(t, func() bool { return leases(t, server, key) != before }, patient, 20*time.Millisecond, "it is renewed")
		}))
	commands := strings.Join(sent(redistest.Monitor(t, server, func() {
		require.Equal(t, 200, send(h, "sk_live_secret"))
	})), "\n")
	require.GreaterOrEqual(t, strings.Count(commands, `"eval`), 3)
	require.NotContains(t, commands, "secret")
	require.NotRegexp(t, `"1[0-9]{9,}(\.[0-9]+)?"`, commands, "a time since 1970, in seconds or a smaller unit")
}

func TestSlotsOnACluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr}})
	t.Cleanup(func() { _ = client.Close() })
	s := redislimit.NewSlots(client, &redislimit.SlotsOptions{Timeout: time.Second, Lease: 6 * time.Second})
	owners := map[*redistest.Server]bool{}
	var leaves []func()
	var entries []ratelimit.Entry
	before := map[string]string{}
	for i := range 12 {
		e := ratelimit.Entry{Rule: "r", Key: strconv.Itoa(i), Max: 2}
		entries = append(entries, e)
		key := s.RedisKey(e.Rule, e.Key)
		owner := redistest.Owner(t, servers, key)
		owners[owner] = true
		leaves = append(leaves, enterPatiently(t, s, e), enterPatiently(t, s, e))
		isFull(t, s, e)
		before[key] = leases(t, owner, key)
	}
	require.Len(t, owners, 3)
	for key, ends := range before {
		owner := redistest.Owner(t, servers, key)
		require.Eventually(t, func() bool { return leases(t, owner, key) != ends }, patient, 20*time.Millisecond, "it is renewed")
	}
	for _, e := range entries {
		isFull(t, s, e)
	}
	for _, leave := range leaves {
		leave()
	}
	for _, server := range servers {
		require.Eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, patient, 20*time.Millisecond)
	}
}

func TestSlotsOnARing(t *testing.T) {
	t.Parallel()
	client := connectRing(t, 2)
	s := redislimit.NewSlots(client, &redislimit.SlotsOptions{Timeout: time.Second, Lease: 6 * time.Second})
	ends := func(key string) float64 { // of the lease, or zero
		for _, z := range client.ZRangeWithScores(t.Context(), key, 0, -1).Val() {
			return z.Score
		}
		return 0
	}
	owners := map[*redis.Client]bool{}
	before := map[string]float64{}
	for i := range 12 {
		e := ratelimit.Entry{Rule: "r", Key: strconv.Itoa(i), Max: 1}
		leave := enterPatiently(t, s, e)
		defer leave()
		key := s.RedisKey(e.Rule, e.Key)
		owner, err := client.GetShardClientForKey(key)
		require.NoError(t, err)
		owners[owner] = true
		before[key] = ends(key)
		require.Positive(t, before[key])
	}
	require.Len(t, owners, 2)
	for key, old := range before {
		require.Eventually(t, func() bool { return ends(key) > old }, patient, 20*time.Millisecond, "it is renewed")
	}
}

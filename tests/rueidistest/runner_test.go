package rueidistest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/tests/rueidistest"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

const increment = "return redis.call('INCR', KEYS[1])"

// open returns a Runner for the server at an address.
func open(t *testing.T, addr string, configure ...func(*rueidis.ClientOption)) *rueidistest.Runner {
	t.Helper()
	o := rueidis.ClientOption{InitAddress: []string{addr}}
	for _, f := range configure {
		f(&o)
	}
	client, err := rueidis.NewClient(o)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return rueidistest.NewRunner(client)
}

func oneConnection(o *rueidis.ClientOption) { o.PipelineMultiplex = -1 }

func TestReplies(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	runners := map[string]*rueidistest.Runner{
		"RESP3": open(t, server.Addr),
		"RESP2": open(t, server.Addr, func(o *rueidis.ClientOption) { o.AlwaysRESP2, o.DisableCache = true, true }),
	}
	for _, c := range []struct {
		name, script string
		want         any
	}{
		{"an integer", "return 7", int64(7)},
		{"an integer with 16 digits", "return 1764428400123456", int64(1764428400123456)},
		{"a string", "return ARGV[1] .. KEYS[1]", "\x00\xff{a}k"},
		{"an empty string", "return ''", ""},
		{"a status", "return redis.call('SET', KEYS[1], 'v')", "OK"},
		{"nil", "return false", nil},
		{"a nil of a command", "return redis.call('GET', KEYS[1] .. 'none')", nil},
		{"an array", "return {1, 'a', false, {2, ''}, {}}", []any{int64(1), "a", nil, []any{int64(2), ""}, []any{}}},
	} {
		for protocol, r := range runners {
			t.Run(c.name+" with "+protocol, func(t *testing.T) {
				t.Parallel()
				reply, err := r.Run(t.Context(), c.script, []string{"{a}k"}, []string{"\x00\xff"})
				require.NoError(t, err)
				require.Equal(t, c.want, reply)
			})
		}
	}
}

// The reply to the first EVALSHA is lost, or that to an EVAL. The server has run the script, so it
// must not be sent again.
func TestLostReply(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"evalsha", "eval\r\n"} {
		for name, disable := range map[string]bool{"the client repeats commands": false, "DisableRetry": true} {
			t.Run(fmt.Sprintf("%.7s, %s", command, name), func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := redistest.NewProxy(t, server.Addr)
				r := open(t, proxy.Addr, func(o *rueidis.ClientOption) { o.DisableRetry = disable })
				do(t, server, "SCRIPT", "FLUSH")
				if command == "evalsha" {
					do(t, server, "SCRIPT", "LOAD", increment)
				}

				dropped := proxy.DropReply(command)
				_, err := r.Run(t.Context(), increment, []string{"n"}, nil)
				require.Error(t, err)
				require.False(t, answered(err), "%v", err)
				<-dropped
				require.Equal(t, "1", do(t, server, "GET", "n"))

				reply, err := r.Run(t.Context(), increment, []string{"n"}, nil)
				require.NoError(t, err)
				require.EqualValues(t, 2, reply)
			})
		}
	}
}

func TestNoScript(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := open(t, server.Addr)
	for i := range 3 {
		do(t, server, "SCRIPT", "FLUSH")
		reply, err := r.Run(t.Context(), increment, []string{"n"}, nil)
		require.NoError(t, err)
		require.EqualValues(t, i+1, reply)
	}
}

func TestErrorReplies(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := open(t, server.Addr)
	do(t, server, "SET", "text", "x")
	for name, script := range map[string]string{
		"of a command":   increment,
		"of the script":  "return redis.error_reply('MINE of the script')",
		"of the parser":  "return (",
		"of the runtime": "return nothing.there",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reply, err := r.Run(t.Context(), script, []string{"text"}, nil)
			require.Error(t, err)
			require.True(t, answered(err), "%v", err)
			require.Nil(t, reply)
		})
	}
}

// answered reports whether err is an answer of the server.
func answered(err error) bool {
	var answer interface{ RedisError() }
	return errors.As(err, &answer)
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	for name, reconnect := range map[string]bool{
		"while the server does not answer": false,
		"while the client connects":        true,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr)
			r := open(t, proxy.Addr, oneConnection)
			_, err := r.Run(t.Context(), increment, []string{"n"}, nil)
			require.NoError(t, err)

			proxy.SetSilent(true)
			dials := proxy.Dials()
			if reconnect {
				proxy.SetDown(true)
				proxy.SetDown(false)
				dials++
			}
			require.Eventually(t, func() bool { // until the client has seen that its connection is closed
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				_, err := r.Run(ctx, increment, []string{"n"}, nil)
				return errors.Is(err, context.DeadlineExceeded) && proxy.Dials() >= dials
			}, 10*time.Second, time.Millisecond)

			// The end of a context is noticed too if its deadline is far away.
			canceled, cancel := context.WithTimeout(t.Context(), time.Hour)
			time.AfterFunc(10*time.Millisecond, cancel)
			_, err = r.Run(canceled, increment, []string{"n"}, nil)
			require.ErrorIs(t, err, context.Canceled)
			_, err = r.Run(canceled, increment, []string{"n"}, nil)
			require.ErrorIs(t, err, context.Canceled)

			proxy.SetSilent(false)
			proxy.SetDown(true)
			proxy.SetDown(false)
			require.Eventually(t, func() bool {
				_, err := r.Run(t.Context(), increment, []string{"n"}, nil)
				return err == nil
			}, 10*time.Second, 10*time.Millisecond)
			require.Equal(t, "2", do(t, server, "GET", "n"))
		})
	}
}

// A connection survives the calls that were given up on.
func TestContextEndsWithoutClosingTheConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	r := open(t, proxy.Addr, oneConnection)
	_, err := r.Run(context.WithoutCancel(t.Context()), increment, []string{"n"}, nil)
	require.NoError(t, err)
	dials := proxy.Dials()

	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = r.Run(ctx, increment, []string{"n"}, nil)
	server.Resume()
	require.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = r.Run(t.Context(), increment, []string{"n"}, nil)
	require.NoError(t, err)
	require.Equal(t, dials, proxy.Dials())
}

func TestCluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	r := open(t, servers[0].Addr)
	for i := range 20 {
		key := fmt.Sprintf("{%d}", i)
		reply, err := r.Run(t.Context(), increment, []string{key, key + "other"}, nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, reply)
		require.Equal(t, "1", do(t, redistest.Owner(t, servers, key), "GET", key))
	}

	for _, s := range servers {
		require.NotContains(t, do(t, s, "INFO", "errorstats"), "MOVED", "a call went to the wrong server first")
	}

	_, err := r.Run(t.Context(), increment, []string{"{1}", "{2}"}, nil)
	require.ErrorContains(t, err, "CROSSSLOT")
	require.True(t, answered(err))
}

func do(t *testing.T, s *redistest.Server, command ...string) string {
	t.Helper()
	reply, err := s.Do(command...)
	require.NoError(t, err)
	return reply
}

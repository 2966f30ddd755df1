package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/leakcheck"
)

// The session executes its own program, which here is the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serverCommand {
		main()
		return
	}
	leakcheck.Main(m)
}

// A session checks each of its steps itself.
func TestSessionsGoAsExpected(t *testing.T) {
	t.Parallel()
	for name, session := range map[string]struct {
		run   func(context.Context, io.Writer) error
		lines []string
	}{
		"Redis": {
			func(ctx context.Context, out io.Writer) error { return newOrdersSession(out).run(ctx) },
			[]string{
				"   That is 20 admitted in all. A denial:",
				"   Attempt 2: 201 of server B, Idempotent-Replayed: true, the bytes that were lost:",
				"   The card was charged once.",
			},
		},
		"PostgreSQL": {
			func(ctx context.Context, out io.Writer) error { return newTransfersSession(out).run(ctx) },
			[]string{
				"   Attempt 2: 201 of server B, Idempotent-Replayed: true, the bytes that were lost:",
				"   Attempt 2: server B runs the handler immediately. There is no lease to wait for. 201",
				"   transfers in the ledger                       300",
				"   cents on all accounts after               3000000",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := session.run(t.Context(), &out)
			t.Log(out.String())
			require.NoError(t, err)
			for _, line := range append(session.lines, "All 5 steps went as expected.", "Everything has stopped.") {
				require.Contains(t, out.String(), line+"\n")
			}
		})
	}
}

func TestInterruptedSessionLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		s := newOrdersSession(nil)
		interrupt(t, &s.stage, "5.", s.run)
		_, err := s.redis.Do("PING")
		require.Error(t, err)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		s := newTransfersSession(nil)
		interrupt(t, &s.stage, "   Server B, process", s.run)
		_, err := s.postgres.SQL("SELECT 1")
		require.Error(t, err)
	})
}

// interrupt runs a session until it prints a line that begins with a prefix.
func interrupt(t *testing.T, s *stage, prefix string, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out strings.Builder
	s.out = writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), prefix) {
			cancel()
		}
		return out.Write(p)
	})
	require.ErrorContains(t, run(ctx), "interrupted")
	require.NotContains(t, out.String(), "as expected")
	require.NoDirExists(t, s.dir)
	for _, p := range s.balancer.servers {
		<-p.done
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

package main

import (
	"bytes"
	"context"
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

// The session checks each of its steps itself.
func TestSessionGoesAsExpected(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := session(t.Context(), &out)
	t.Log(out.String())
	require.NoError(t, err)
	require.Contains(t, out.String(), "All 5 steps went as expected.")
	require.Contains(t, out.String(), "Everything has stopped.")
}

func TestInterruptedSessionLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out strings.Builder
	s := &stage{out: writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "5.") {
			cancel()
		}
		return out.Write(p)
	})}
	require.ErrorContains(t, s.session(ctx), "interrupted")
	require.NotContains(t, out.String(), "as expected")
	require.NoDirExists(t, s.dir)
	for _, p := range []*process{s.a, s.b} {
		<-p.done
	}
	_, err := s.redis.Do("PING")
	require.Error(t, err)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

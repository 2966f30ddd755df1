package redisstore_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// MONITOR shows every command. Of the requests, only the recorded response reaches Redis.
func TestRedisSeesNoKeyAndNoRequest(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := redisstore.New(client(t, server.Addr), nil)
	scope := func(*http.Request) (string, error) { return "the-principal", nil }
	h := idempotent.New(store, scope, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := idempotent.BeginEffect(r.Context()); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("the-response"))
	}))
	lines := redistest.Monitor(t, server, func() {
		require.Equal(t, http.StatusCreated, post(t, h, "the-key", "the-body").Code)
		require.Equal(t, "the-response", post(t, h, "the-key", "the-body").Body.String())
		require.Equal(t, http.StatusConflict, post(t, h, "the-key", "the-other-body").Code)
	})
	seen := strings.Join(lines, "")
	require.Contains(t, seen, "the-response")
	for _, secret := range []string{"the-key", "the-body", "the-other-body", "the-principal", "/charges"} {
		require.NotContains(t, seen, secret)
	}
}

// recorder is a Runner that records the arguments of all scripts.
type recorder struct {
	fullRunner
	mu   sync.Mutex
	args [][]string
}

func (r *recorder) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	r.mu.Lock()
	r.args = append(r.args, slices.Clone(args))
	r.mu.Unlock()
	return r.fullRunner.Run(ctx, script, keys, args)
}

func (r *recorder) take() [][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	args := r.args
	r.args = nil
	return args
}

// Durations reach Redis, and no instant of the service's clock.
func TestNoInstantCrossesTheWire(t *testing.T) {
	t.Parallel()
	c := client(t, redistest.Start(t).Addr)
	r := &recorder{fullRunner: redisstore.NewGoRedisRunner(c).(fullRunner)}
	s := redisstore.NewRunner(r, nil)
	begun(t, s)
	calls := 0
	eventually(t, func() bool {
		calls += len(r.take())
		return calls == 2
	}, "the first claim, and the look at the eviction policy")

	claim := begun(t, s)
	require.NoError(t, s.Renew(t.Context(), claim.Owner(), lease+1))
	require.NoError(t, s.BeginEffect(t.Context(), claim.Owner()))
	require.NoError(t, s.Finish(t.Context(), claim.Owner(), unknown))
	require.NoError(t, s.Resolve(t.Context(), claim.ID, done("response")))
	require.NoError(t, s.Wait(t.Context(), claim.ID))
	token := claim.Token.String()
	require.Equal(t, [][]string{
		{claim.Fingerprint.String(), token, claim.Scope.String(), "30000000", "3600000000"},
		{token, "30000001"}, // rounded up
		{token},
		{token, "unknown", "3600000000", ""},
		{"done", "3600000000", "response"},
		nil,
	}, r.take())
}

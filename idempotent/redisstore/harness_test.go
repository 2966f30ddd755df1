package redisstore_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/redistest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	if os.Getenv(childEnv) != "" {
		runChild()
		return
	}
	leakcheck.Main(m)
}

// quiet is a logger of go-redis that drops all messages: servers that cannot be reached are normal
// here.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// patience bounds how long a test waits for a server.
const patience = 20 * time.Second

// eventually waits for a server until ok returns true.
func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "not reached: "+what)
		}
	}
}

// client returns a client of one server, until the test ends.
func client(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fullRunner is what the Runner of go-redis implements.
type fullRunner interface {
	redisstore.Runner
	redisstore.Subscriber
	redisstore.Scanner
}

// movedClock is a Runner that adds an offset to the server's clock. Redis itself does not see it,
// so keys live longer than records.
type movedClock struct {
	fullRunner
	seconds atomic.Int64
}

func newMovedClock(c redis.UniversalClient) *movedClock {
	return &movedClock{fullRunner: redisstore.NewGoRedisRunner(c).(fullRunner)}
}

func (m *movedClock) advance(d time.Duration) { m.seconds.Add(int64(d / time.Second)) }

func (m *movedClock) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	moved := fmt.Sprintf("(function() local t = redis.call('TIME') return {t[1] + %d, t[2]} end)()", m.seconds.Load())
	return m.fullRunner.Run(ctx, strings.ReplaceAll(script, "redis.call('TIME')", moved), keys, args)
}

var prefixes atomic.Int64

// newPrefix returns a prefix that no other store has.
func newPrefix() string { return fmt.Sprintf("test%d:", prefixes.Add(1)) }

const (
	lease = 30 * time.Second
	keep  = time.Hour
)

// newClaim returns a claim with a new ID.
func newClaim() idempotent.Claim {
	return idempotent.Claim{
		ID:          new(idempotent.Options).ID("principal", idempotent.NewToken().String()),
		Scope:       idempotent.ID{1},
		Token:       idempotent.NewToken(),
		Fingerprint: idempotent.Fingerprint{2},
		Lease:       lease,
		Retention:   keep,
	}
}

// rival returns the claim of a duplicate.
func rival(c idempotent.Claim) idempotent.Claim {
	c.Token = idempotent.NewToken()
	return c
}

func done(response string) idempotent.Completion {
	return idempotent.Completion{State: idempotent.StateDone, Response: []byte(response), Retention: keep}
}

var (
	notKept  = idempotent.Completion{State: idempotent.StateNotKept, Response: []byte("location"), Retention: keep}
	unknown  = idempotent.Completion{State: idempotent.StateUnknown, Retention: keep}
	released = idempotent.Completion{State: idempotent.StateAbsent}
)

// wantVerdict makes a claim that must have a verdict.
func wantVerdict(t testing.TB, s idempotent.Store, c idempotent.Claim, want idempotent.Verdict) idempotent.Decision {
	t.Helper()
	d, err := s.Acquire(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, want, d.Verdict, "%s, want %s", d.Verdict, want)
	return d
}

// begun returns the claim of a new record.
func begun(t testing.TB, s idempotent.Store) idempotent.Claim {
	t.Helper()
	c := newClaim()
	wantVerdict(t, s, c, idempotent.VerdictAcquired)
	return c
}

// do runs a command on a server.
func do(t testing.TB, s *redistest.Server, command ...string) string {
	t.Helper()
	reply, err := s.Do(command...)
	require.NoError(t, err)
	return reply
}

// post sends a request with a key and returns the response.
func post(t testing.TB, h http.Handler, key, body string) *httptest.ResponseRecorder {
	t.Helper()
	return postRequest(h, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/charges", strings.NewReader(body)), key)
}

func postRequest(h http.Handler, r *http.Request, key string) *httptest.ResponseRecorder {
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

package load

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestFinalAnswerEndsTheRetries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		code   string
		final  bool
	}{
		{http.StatusCreated, "", true},
		{http.StatusPaymentRequired, "", true},
		{http.StatusConflict, "idempotency_conflict", true},
		{http.StatusConflict, "idempotency_response_unavailable", true},
		{http.StatusConflict, "provider_conflict", true},
		{http.StatusConflict, "idempotency_outcome_unknown", false}, // the operator must settle it
		{http.StatusConflict, "nothing_done", false},
		{http.StatusTooManyRequests, "idempotency_in_progress", false},
		{http.StatusBadGateway, "provider_failed", false},
		{http.StatusServiceUnavailable, "service_unavailable", false},
		{0, "", false}, // no response
	}
	for _, tt := range tests {
		require.Equal(t, tt.final, isFinal(tt.status, tt.code), "%d %s", tt.status, tt.code)
	}
}

// write writes the history of a life. The last event is cut, as SIGKILL can do.
func write(t *testing.T, dir, name string, events ...history.Event) {
	t.Helper()
	path := filepath.Join(dir, name+".jsonl")
	w, err := history.Create(path)
	require.NoError(t, err)
	for _, e := range events {
		w.Write(e)
	}
	require.NoError(t, w.Close())
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"call":{"id":"cut","key":"p1/cu`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func called(id, key string, amount int) history.Event {
	return history.Event{Call: &history.Call{ID: id, Key: key, Way: history.Plain, Amount: amount}}
}

func returned(id string, status int, code string) history.Event {
	return history.Event{Return: &history.Return{ID: id, Status: status, Code: code}}
}

func TestKilledClientContinuesWithWhatItHasNotFinished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "c1.1",
		called("1", "p1/finished", 1), returned("1", http.StatusCreated, ""),
		called("2", "p1/unanswered", 2),
		called("3", "p2/failed", 3), returned("3", http.StatusServiceUnavailable, "service_unavailable"),
		called("4", "p1/later", 4),
		called("5", "p1/finished", 1), // again
		called("6", "p1/finished", 1001),
		called("7", "p1b/finished", 1),
		called("8", "p3/refused", 8), returned("8", http.StatusConflict, "idempotency_conflict"),
	)
	write(t, dir, "c1.2", called("9", "p1/later", 4), returned("9", http.StatusPaymentRequired, ""))
	write(t, dir, "c10.1", called("10", "p1/another client's", 1))

	open, err := unfinished(Config{Name: "c1", Life: 3, Dir: dir})
	require.NoError(t, err)
	require.Equal(t, []work{
		{"p1", "finished", history.Plain, 1001}, // another request with the key
		{"p1", "unanswered", history.Plain, 2},
		{"p1b", "finished", history.Plain, 1},
		{"p2", "failed", history.Plain, 3},
	}, open)
}

func TestFirstLifeHasNothingToContinue(t *testing.T) {
	t.Parallel()
	open, err := unfinished(Config{Name: "c1", Life: 1, Dir: t.TempDir()})
	require.NoError(t, err)
	require.Empty(t, open)
}

// worksOf returns what a worker does with its first keys if each fails-th request fails.
func worksOf(t *testing.T, seed uint64, fails int64) map[work]bool {
	t.Helper()
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%fails == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	l, err := newClient(Config{
		Name: "c0", Life: 1, Dir: dir, Servers: []string{s.URL, s.URL}, Ways: history.Ways(), Workers: 1, Seed: seed,
	})
	require.NoError(t, err)
	close(l.draining) // pauses end immediately
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range 30 {
		l.start(random, 0, n)
	}
	l.pending.Wait()
	l.http.CloseIdleConnections()
	require.NoError(t, l.events.Close())
	h, err := history.Read(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	works := make(map[work]bool)
	for _, c := range h.Calls {
		works[work{"", c.Key, c.Way, c.Amount}] = true
	}
	return works
}

func TestSeedDecidesTheKeysWhateverTheAnswers(t *testing.T) {
	t.Parallel()
	const always = 1 << 40
	works := worksOf(t, 7, always)
	require.Greater(t, len(works), 30) // some with another amount or principal
	require.Equal(t, works, worksOf(t, 7, 3))
	require.NotEqual(t, works, worksOf(t, 8, always))
}

package history_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestEventsAreReadFromAllFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "b.jsonl")}
	for i, events := range [][]history.Event{
		{
			{Call: &history.Call{ID: "1", Key: "p/k", Way: history.Plain, Amount: 3, At: 1}},
			{Return: &history.Return{ID: "1", At: 5, Status: 201, Answer: history.Answer{Key: "p/k", Amount: 3, Run: "s0.1-1"}}},
		},
		{
			{Effect: &history.Effect{Key: "p/k", Run: "s0.1-1", At: 2}},
			{End: &history.End{Key: "p/k", Run: "s0.1-1", At: 3}},
			{Hit: &history.Hit{Key: "p/k", Window: history.AfterEffect, Action: history.Lose, At: 2}},
			{Period: &history.Period{Kind: "kill", Target: "s0.1", From: 3, To: 4}},
		},
	} {
		w, err := history.Create(files[i])
		require.NoError(t, err)
		for _, e := range events {
			w.Write(e)
		}
		require.NoError(t, w.Close())
	}

	h, err := history.Read(filepath.Join(dir, "*.jsonl"))

	require.NoError(t, err)
	require.Len(t, h.Calls, 1)
	require.Equal(t, 201, h.Returns["1"].Status)
	require.Len(t, h.Effects, 1)
	require.Len(t, h.Ends, 1)
	require.Len(t, h.Hits, 1)
	require.Len(t, h.Periods, 1)
}

// A process that was killed while it wrote leaves a line without an end. Its next life has another
// file.
func TestUnfinishedLineIsIgnored(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.jsonl")
	w, err := history.Create(file)
	require.NoError(t, err)
	w.Write(history.Event{Call: &history.Call{ID: "1"}})
	require.NoError(t, w.Close())
	appendTo(t, file, `{"call":{"id":"2"`)

	h, err := history.Read(file)

	require.NoError(t, err)
	require.Len(t, h.Calls, 1)
}

func TestDamagedLineIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.jsonl")
	appendTo(t, file, "{\"call\":\n")
	_, err := history.Read(file)
	require.ErrorContains(t, err, file)
}

func TestTimeIsThatOfTheMachine(t *testing.T) {
	t.Parallel()
	before := history.Now()
	require.Positive(t, before)
	require.GreaterOrEqual(t, history.Now(), before)
}

func TestWatchOfStallsEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	history.WatchStalls(ctx, "machine", func(history.Event) { t.Error("there was none") })
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

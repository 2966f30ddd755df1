package seawall_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/logbuf"
)

// logs keeps what a logger writes.
type logs struct{ logbuf.Buffer }

// logger returns a logger that writes to l.
func (l *logs) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// access returns the lines of the access log, without their time and duration.
func (l *logs) access(t *testing.T) []map[string]any {
	t.Helper()
	access, _ := l.split(t)
	return access
}

// others returns the messages of all other records.
func (l *logs) others(t *testing.T) []string {
	t.Helper()
	_, others := l.split(t)
	return others
}

func (l *logs) split(t *testing.T) (access []map[string]any, others []string) {
	t.Helper()
	for dec := json.NewDecoder(bytes.NewReader([]byte(l.String()))); dec.More(); {
		var record map[string]any
		require.NoError(t, dec.Decode(&record))
		if record["msg"] != "request" {
			others = append(others, record["msg"].(string))
			continue
		}
		require.NotNil(t, record["duration"])
		for _, key := range []string{"time", "level", "msg", "duration"} {
			delete(record, key)
		}
		access = append(access, record)
	}
	return access, others
}

// ids returns the request ids in the log. The same id in adjacent records counts once.
func (l *logs) ids(t *testing.T) (ids []string) {
	t.Helper()
	for dec := json.NewDecoder(strings.NewReader(l.String())); dec.More(); {
		var record struct {
			ID *string `json:"request_id"`
		}
		require.NoError(t, dec.Decode(&record))
		require.NotNil(t, record.ID, "a record without an id")
		if len(ids) == 0 || ids[len(ids)-1] != *record.ID {
			ids = append(ids, *record.ID)
		}
	}
	return ids
}

// requestLine returns the last line of the access log with all its attributes.
func requestLine(t *testing.T, l *logs) (line map[string]any) {
	t.Helper()
	for dec := json.NewDecoder(bytes.NewReader([]byte(l.String()))); dec.More(); {
		var record map[string]any
		require.NoError(t, dec.Decode(&record))
		if record["msg"] == "request" {
			line = record
		}
	}
	return line
}

var discard = slog.New(slog.DiscardHandler)

// keeper is a slog.Handler that keeps all records and contexts.
type keeper struct {
	level    slog.Level
	records  *[]slog.Record
	contexts *[]context.Context
}

func newKeeper(level slog.Level) keeper {
	return keeper{level, new([]slog.Record), new([]context.Context)}
}

func (k keeper) WithAttrs([]slog.Attr) slog.Handler { return k }
func (k keeper) WithGroup(string) slog.Handler      { return k }

func (k keeper) Enabled(ctx context.Context, level slog.Level) bool {
	*k.contexts = append(*k.contexts, ctx)
	return level >= k.level
}

func (k keeper) Handle(ctx context.Context, record slog.Record) error {
	*k.contexts = append(*k.contexts, ctx)
	*k.records = append(*k.records, record)
	return nil
}

// textLogger returns a logger that writes text without the time.
func textLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
}

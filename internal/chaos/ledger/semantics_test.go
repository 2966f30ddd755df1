package ledger_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/check"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/ledger"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// count returns what happened to keys in a cell.
func count(way history.Way, w history.Window, a history.Action, none, one, more int) check.Count {
	return check.Count{
		Cell: check.Cell{Way: way, Window: w, Action: a}, Hits: none + one + more, Keys: none + one + more,
		Effects: [3]int{none, one, more},
	}
}

func TestPromiseComesBeforeWhatWasSeen(t *testing.T) {
	t.Parallel()
	const dies = "| the process dies while the handler runs |"
	for _, c := range []struct {
		name   string
		store  string
		seen   []check.Count
		row    string // the beginning of the line
		column int
		want   string
	}{
		{
			name: "once", store: stores.Redis,
			seen: []check.Count{count(history.Plain, history.OnTheWay, history.DropReply, 0, 4512, 0)},
			row:  "| the response is lost on the way |", column: 3, want: "once *(4,512 of 4,512)*",
		}, {
			name: "again, where the effect had happened", store: stores.Redis,
			seen: []check.Count{
				count(history.Plain, history.BeforeEffect, history.Kill, 0, 99, 0),
				count(history.Plain, history.AfterEffect, history.Kill, 0, 824, 210),
			},
			row: dies, column: 3, want: "again *(in 210 of 1,034)*",
		}, {
			name: "nothing that could happen again", store: stores.Redis,
			seen: []check.Count{count(history.Plain, history.BeforeEffect, history.Kill, 0, 99, 0)},
			row:  dies, column: 3, want: "again",
		}, {
			name: "at most once, after the mark", store: stores.PostgreSQL,
			seen: []check.Count{
				count(history.BeginEffect, history.AfterClaim, history.Kill, 0, 1000, 0),
				count(history.BeginEffect, history.AfterMark, history.Kill, 80, 11, 0),
				count(history.BeginEffect, history.BeforeEffect, history.Kill, 7, 400, 0),
			},
			row: dies, column: 4, want: "at most once *(0 in 87, once in 411)*",
		}, {
			name: "never in the run that was hit", store: stores.Redis,
			seen: []check.Count{count(history.BeginEffect, history.BeforeMark, history.Down, 0, 12, 0)},
			row:  "| the store is down at `BeginEffect` |", column: 4, want: "never *(then once: 12 of 12)*",
		}, {
			name: "nothing seen", store: stores.Redis,
			row: dies, column: 3, want: "again",
		}, {
			name: "store that forgets", store: stores.Memory,
			seen: []check.Count{count(history.Plain, history.OnTheWay, history.DropReply, 0, 4512, 0)},
			row:  "| the response is lost on the way |", column: 3, want: "once",
		}, {
			name: "transaction of the store", store: stores.SQLite,
			seen: []check.Count{count(history.Executor, history.BeforeCommit, history.Kill, 0, 5, 0)},
			row:  "| the process dies before the commit |", column: 3, want: "rolled back, then once *(5 of 5)*",
		}, {
			name: "database, with tests", store: stores.PostgreSQL,
			seen: []check.Count{count(history.FinishTx, history.BeforeCommit, history.Kill, 0, 6, 0)},
			row:  "| the process is killed before the COMMIT |", column: 2,
			want: "no effect. The retry runs after the lease (`TestKilledProcessIsReplacedAfterItsLease`) *(one effect in 6 of 6)*",
		}, {
			name: "broken promise", store: stores.Redis,
			seen: []check.Count{count(history.Plain, history.OnTheWay, history.DropReply, 1, 7, 2)},
			row:  "| the response is lost on the way |", column: 3, want: "once *(0 in 1, once in 7, more in 2)*",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var l ledger.Ledger
			l.Add(ledger.Episode{Store: c.store, Result: check.Result{Cells: c.seen}})

			documents, err := l.Documents(semantics(t))

			require.NoError(t, err)
			require.Equal(t, c.want, cell(t, documents["docs/SEMANTICS.md"], c.row, c.column))
		})
	}
}

// cell returns a cell of the first line that begins with a text.
func cell(t *testing.T, text []byte, begin string, column int) string {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, begin) {
			return strings.TrimSpace(strings.Split(strings.Trim(line, "|\n"), " | ")[column])
		}
	}
	require.Fail(t, "no such line", begin)
	return ""
}

func TestDatabasesHaveTheirOwnNumbers(t *testing.T) {
	t.Parallel()
	var l ledger.Ledger
	l.Add(ledger.Episode{Store: stores.PostgreSQL, Result: check.Result{
		Cells: []check.Count{count(history.Executor, history.BeforeCommit, history.Kill, 0, 5, 0)},
	}})
	l.Add(ledger.Episode{Store: stores.SQLite, Result: check.Result{
		Cells: []check.Count{count(history.Executor, history.BeforeCommit, history.Kill, 0, 8, 0)},
	}})

	documents, err := l.Documents(semantics(t))

	require.NoError(t, err)
	text := string(documents["docs/SEMANTICS.md"])
	require.Contains(t, text, "rolled back, then once *(13 of 13)*")
	postgres, sqlite, found := strings.Cut(text, "### SQLite")
	require.True(t, found)
	require.Contains(t, postgres, "*(one effect in 5 of 5)*")
	require.Contains(t, sqlite, "*(one effect in 8 of 8)*")
}

func TestNumbersAreReplacedAndNothingElseChanges(t *testing.T) {
	t.Parallel()
	var small ledger.Ledger
	small.Add(ledger.Episode{Store: stores.Redis, Result: check.Result{
		Cells: []check.Count{count(history.Plain, history.OnTheWay, history.DropReply, 0, 3, 0)},
	}})
	with := func(l *ledger.Ledger, text []byte) []byte {
		documents, err := l.Documents(text)
		require.NoError(t, err)
		return documents["docs/SEMANTICS.md"]
	}
	empty := with(&ledger.Ledger{}, semantics(t))

	large, err := ledger.Read("testdata/example/ledger.json")
	require.NoError(t, err)
	filled := with(large, empty)

	require.NotEqual(t, string(empty), string(filled))
	require.Equal(t, string(filled), string(with(large, filled)))
	require.Equal(t, string(with(&small, empty)), string(with(&small, filled)))
	require.Equal(t, string(empty), string(with(&ledger.Ledger{}, filled)))
}

func TestRowThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	text := strings.Replace(string(semantics(t)), "| the response is lost on the way |", "| the response is lost |", 1)

	_, err := new(ledger.Ledger).Documents([]byte(text))

	require.ErrorContains(t, err, `no row "the response is lost on the way"`)
}

package seawall_test

import (
	"maps"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// exchange is one row: what a handler does below a Stack, and what the client, the access log and the error log get.
type exchange struct {
	name   string
	h1Only string // why, "" for both protocols

	// Arrange.
	stack   *seawall.Stack
	outside seawall.Middleware // around the Stack
	handler http.Handler
	request func(*http.Request)

	// Assert. Where code is set the answer is an error object; where broken is, the client sees that something is missing;
	// else the answer is whole, with the body.
	status int
	code   apierror.Code
	broken bool
	body   string
	check  func(*testing.T, answer)

	logged   map[string]any // of the access log's line, beside what follows from status and code
	others   []string       // messages of other records
	errorLog string         // what net/http complains of
}

const (
	logFailed   = "apierror: request failed"
	logComplete = "apierror: request failed after its response was complete"
	logAborted  = "apierror: request failed in the middle of its response, which is aborted"
	logHijacked = "apierror: request failed after its connection was hijacked"
	logPanic    = "seawall: panic"
)

func runExchanges(t *testing.T, rows []exchange) {
	t.Helper()
	for _, row := range rows {
		for _, protocol := range protocols {
			if row.h1Only != "" && protocol.name != "h1" {
				continue
			}
			t.Run(row.name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { row.run(t, protocol.new) })
			})
		}
	}
}

func (row exchange) run(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
	var logs logs
	stack := &seawall.Stack{Logger: logs.logger()}
	if row.stack != nil { // the row's is also that of the other protocol
		stack.Timeout, stack.MaxBody, stack.Skip = row.stack.Timeout, row.stack.MaxBody, row.stack.Skip
	}
	s := newServer(seawall.Chain(row.outside)(stack.Handler(row.handler)))
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/hush/path?key=hush", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer hush")
	if row.request != nil {
		row.request(r)
	}

	a := do(s.Client(), r)
	s.Close()
	time.Sleep(time.Hour) // handlers that outlive their request end

	switch {
	case row.broken:
		a.requireBroken(t)
	case row.code != "":
		a.requireError(t, row.status, row.code)
	case row.check == nil:
		require.NoError(t, a.err)
		require.Equal(t, row.status, a.StatusCode)
		require.Equal(t, row.body, string(a.body))
		a.requireID(t)
	}
	if row.check != nil {
		row.check(t, a)
	}
	require.NotContains(t, string(a.body), "secret")
	if row.errorLog == "" {
		require.Empty(t, s.Log())
	} else {
		require.Contains(t, s.Log(), row.errorLog)
	}
	require.NotContains(t, logs.String(), "hush")
	require.Equal(t, row.others, logs.others(t))
	row.requireAccess(t, r.Method, a, logs.access(t))
}

// requireAccess asserts that the access log is one line, and what is in it.
func (row exchange) requireAccess(t *testing.T, method string, a answer, lines []map[string]any) {
	t.Helper()
	require.Len(t, lines, 1)
	line := lines[0]
	want := map[string]any{
		"method": method, "pattern": "", "status": float64(row.status), "bytes": float64(len(a.body)),
		"request_id": line["request_id"],
	}
	require.Regexp(t, requestIDForm, line["request_id"])
	if row.code != "" {
		want["code"] = string(row.code)
		require.Equal(t, a.Header.Get("Request-Id"), line["request_id"])
	}
	if row.broken {
		want["aborted"] = true
		want["bytes"] = 0.
	}
	maps.Copy(want, row.logged)
	if a.Response != nil && a.Header.Get("Content-Encoding") != "" {
		want["bytes"] = line["bytes"] // as they were before they were compressed
	}
	require.Equal(t, want, line)
}

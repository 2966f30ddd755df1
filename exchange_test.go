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

// exchange is a row of a table: what a handler inside a Stack does, and what the client,
// the access log and the error log get.
type exchange struct {
	name   string
	h1Only string // why not HTTP/2; empty for both protocols

	// Arrange.
	stack   *seawall.Stack
	outside seawall.Middleware // around the Stack
	handler http.Handler
	request func(*http.Request)

	// Assert. If code is set, the answer is an error object. If broken is set, the client
	// sees that the response is incomplete. Otherwise it is complete and has the body.
	status int
	code   apierror.Code
	broken bool
	body   string
	check  func(*testing.T, answer)

	logged   map[string]any // attributes of the access log, in addition to those that follow from status and code
	others   []string       // messages of other records
	errorLog string         // part of what net/http logs
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
	if row.stack != nil { // a copy, because the other protocol uses the row's too
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
	time.Sleep(time.Hour) // until handlers that outlive their request have returned

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

// requireAccess asserts that the access log has one line, and its attributes.
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
		want["bytes"] = line["bytes"] // of the body before it was compressed
	}
	require.Equal(t, want, line)
}

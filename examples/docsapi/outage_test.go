package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// While another process holds SQLite's lock for writing, reads and replays are answered. Writes get
// a 503, and can be retried.
func TestLockedSQLiteRefusesWritesAlone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "docsapi.db")
	server := docsapitest.Start(t, "-db", file, "-timeout", "20s")
	to := newTarget(t, server.URL, false)
	unlock := lockSQLite(t, file)

	write := to.dial(t)
	write.send(raw(post, good, typ))
	for _, h := range []hostile{
		{name: "read", send: raw(list, ""), status: 200},
		{name: "replay", send: raw(post, good, typ, "Idempotency-Key: "+usedKey), status: 201},
		{name: "conflict", send: raw(post, `{"name":"other"}`, typ, "Idempotency-Key: "+usedKey), code: apierror.CodeIdempotencyConflict},
		{name: "health", send: raw("GET /healthz HTTP/1.1", ""), status: 200},
	} {
		require.NoError(t, to.attack(h))
	}
	require.NotContains(t, server.Log(), `"status":5`, "the write has not waited")
	requireError(t, write.answer(), apierror.CodeServiceUnavailable)
	unlock()
	require.NoError(t, to.attack(hostile{name: "retry", send: raw(post, good, typ), status: 201}))
}

// Without PostgreSQL, all requests that need it get a 503. When it is back, they work.
func TestServiceOutlivesItsDatabase(t *testing.T) {
	t.Parallel()
	postgres := pgtest.Start(t)
	server := docsapitest.Start(t, "-postgres", postgres.URL(""))
	to := newTarget(t, server.URL, false)
	requests := []hostile{
		{name: "read", send: raw(list, ""), status: 200},
		{name: "write", send: raw(post, good, typ), status: 201},
		{name: "write with a key", send: raw(post, good, typ, "Idempotency-Key: outage"), status: 201},
		{name: "replay", send: raw(post, good, typ, "Idempotency-Key: "+usedKey), status: 201},
		{name: "health", send: raw("GET /healthz HTTP/1.1", ""), status: 200},
	}

	postgres.Kill()
	for _, h := range requests {
		refused := hostile{name: h.name, send: h.send, code: apierror.CodeServiceUnavailable}
		// A request that finds a broken connection in the pool gets a 500.
		require.Eventually(t, func() bool { return to.attack(refused) == nil }, patience, time.Millisecond, h.name)
	}
	require.NoError(t, to.attack(hostile{name: "reference", send: raw("GET /docs/errors HTTP/1.1", ""), status: 200}))
	require.NoError(t, postgres.Run())
	for _, h := range requests {
		require.NoError(t, to.attack(h))
	}
}

package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
	"github.com/seawall-go/seawall/internal/logbuf"
)

// A rawConn is a connection whose requests are sent in parts.
type rawConn struct {
	*testing.T
	net.Conn
	r *bufio.Reader
}

func (to target) dial(t *testing.T) *rawConn {
	t.Helper()
	conn, err := net.Dial("tcp", to.host)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &rawConn{t, conn, bufio.NewReader(conn)}
}

func (c *rawConn) send(text string) {
	c.T.Helper()
	_, err := io.WriteString(c.Conn, text)
	require.NoError(c, err)
}

// continued waits for 100 Continue: the request is read by its handler now.
func (c *rawConn) continued() {
	c.T.Helper()
	line, err := c.r.ReadString('\n')
	require.NoError(c, err)
	require.Contains(c, line, "100 Continue")
	_, err = c.r.ReadString('\n')
	require.NoError(c, err)
}

func (c *rawConn) answer() answer {
	c.T.Helper()
	a, err := readAnswer(c.r, nil)
	require.NoError(c, err)
	return a
}

// requireError requires that an answer is an error object with a code.
func requireError(t *testing.T, a answer, code apierror.Code) {
	t.Helper()
	got, err := checkError(a, false)
	require.NoError(t, err, "%d %v %s", a.status, a.header, a.body)
	require.Equal(t, code, got)
}

// keyed returns the parts of a write with an idempotency key. After the first part, the server
// sends 100 Continue and waits for the second.
func keyed(key string) (header, body string) {
	text := raw(post, good, typ, "Idempotency-Key: "+key, "Expect: 100-continue")
	return strings.TrimSuffix(text, good), good
}

// requireReplay requires that the answer to a key is the recorded one.
func (to target) requireReplay(t *testing.T, key string, first answer) {
	t.Helper()
	again := to.dial(t)
	header, body := keyed(key)
	again.send(header + body)
	again.continued()
	replay := again.answer()
	require.Equal(t, "true", replay.header.Get("Idempotent-Replayed"), replay.body)
	require.Equal(t, first.status, replay.status)
	require.Equal(t, first.body, replay.body)
}

// A server that is told to stop says so to load balancers, refuses new connections, and finishes
// the requests that it has begun.
func TestStoppedServerFinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t, "-notice", "5s")
	to := newTarget(t, server.URL, false)
	begun := to.dial(t)
	header, body := keyed("begun")
	begun.send(header)
	begun.continued()

	stopped := make(chan struct{})
	t.Cleanup(func() { <-stopped })
	go func() {
		defer close(stopped)
		server.Stop() // an exit status other than 0 fails the test
	}()
	outage := hostile{send: raw("GET /healthz HTTP/1.1", "", anon), code: apierror.CodeServiceUnavailable}
	require.Eventually(t, func() bool { return to.attack(outage) == nil }, patience, time.Millisecond)
	require.Eventually(t, to.refuses, patience, time.Millisecond)
	begun.send(body)
	first := begun.answer()
	require.Equal(t, http.StatusCreated, first.status, first.body)
	<-stopped

	server.Restart()
	to.requireReplay(t, "begun", first)
}

// refuses reports whether the server accepts no connections.
func (to target) refuses() bool {
	conn, err := net.Dial("tcp", to.host)
	if err == nil {
		conn.Close()
	}
	return err != nil
}

func TestSecondSignalEndsTheProcess(t *testing.T) {
	t.Parallel()
	server := docsapitest.Start(t)
	to := newTarget(t, server.URL, false)
	begun := to.dial(t)
	header, _ := keyed("begun")
	begun.send(header)
	begun.continued()

	answered := 0
	require.Eventually(t, func() bool { // a signal right after the first one may come too early
		_ = syscall.Kill(server.Pid(), syscall.SIGTERM)
		_ = begun.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := begun.r.Read(make([]byte, 1))
		answered += n
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}, patience, 10*time.Millisecond)
	require.Zero(t, answered, "the process has answered before it ended")
}

// Requests that outlive the drain get a 503. A key among them can be retried.
func TestRequestsThatOutliveTheDrainCanBeRetried(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "docsapi.db")
	server := docsapitest.Start(t, "-db", file, "-timeout", "1m", "-drain", "200ms")
	to := newTarget(t, server.URL, false)
	unlock := lockSQLite(t, file) // until then, no write proceeds
	header, body := keyed("late")
	late, without := to.dial(t), to.dial(t)
	late.send(header)
	without.send(strings.Replace(header, "Idempotency-Key", "Not-A-Key", 1))
	for _, c := range []*rawConn{late, without} {
		c.continued()
		c.send(body)
	}

	server.Stop()
	requireError(t, late.answer(), apierror.CodeServiceUnavailable)
	requireError(t, without.answer(), apierror.CodeServiceUnavailable)
	unlock()

	server.Restart()
	again := to.dial(t)
	again.send(header + body)
	again.continued()
	first := again.answer()
	require.Equal(t, http.StatusCreated, first.status, first.body)
	require.Empty(t, first.header.Get("Idempotent-Replayed"))
	to.requireReplay(t, "late", first)
}

// lockSQLite takes the lock for writing of a database.
func lockSQLite(t *testing.T, file string) (unlock func()) {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteSource(file))
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback()) }
}

// The service runs in this process. TestMain fails if it leaves a goroutine behind, and the race
// detector sees all that it does.
func TestStoppedServiceLeavesNothing(t *testing.T) {
	t.Parallel()
	c := config{
		addr: "127.0.0.1:0", db: filepath.Join(t.TempDir(), "docsapi.db"), rate: 100_000, faults: true,
		timeout: time.Second, drain: 10 * time.Second, lease: 10 * time.Second,
	}
	var log logbuf.Buffer
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	result := make(chan error, 1)
	go func() { result <- run(ctx, c, in, slog.New(slog.NewJSONHandler(&log, nil))) }()
	var url string
	_, err := fmt.Fscanf(out, "listening on %s\n", &url)
	require.NoError(t, err)
	to := newTarget(t, url, false)
	for _, h := range hostileRequests() {
		if err := to.attack(h); err != nil {
			t.Error(err)
		}
	}
	begun := to.dial(t)
	header, body := keyed("begun")
	begun.send(header)
	begun.continued()

	stop()
	require.Eventually(t, to.refuses, patience, time.Millisecond)
	begun.send(body)
	require.Equal(t, http.StatusCreated, begun.answer().status)
	require.NoError(t, <-result)
	require.NoError(t, auditLog(log.String()))
}

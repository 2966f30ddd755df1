package pgtest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/pgtest"
)

// ways are those in which a client runs a transaction.
var ways = []struct {
	name   string
	before []string // each a batch
	last   string   // the batch with the COMMIT
	tags   []string // of last
	counts pgtest.Counts
}{
	{
		"simple",
		[]string{query("begin"), query("INSERT INTO t VALUES ('simple')")},
		query("commit"),
		[]string{"COMMIT"},
		pgtest.Counts{RoundTrips: 3, Statements: 3, Begins: 1, Commits: 1},
	},
	{
		"one query",
		nil,
		query("BEGIN; INSERT INTO t VALUES ('one query'); COMMIT;"),
		[]string{"BEGIN", "INSERT 0 1", "COMMIT"},
		pgtest.Counts{RoundTrips: 1, Statements: 3, Begins: 1, Commits: 1},
	},
	{
		"unnamed",
		[]string{unnamed("start transaction") + sync, unnamed("INSERT INTO t VALUES ('unnamed')") + sync},
		unnamed("Commit") + sync,
		[]string{"COMMIT"},
		pgtest.Counts{RoundTrips: 3, Statements: 3, Begins: 1, Commits: 1},
	},
	{
		"prepared",
		[]string{
			prepare("i", "INSERT INTO t VALUES ('prepared')") + prepare("c", "commit") + prepare("", "SELECT 1") + sync,
			query("begin isolation level serializable"),
			run("i") + sync,
		},
		run("c") + sync,
		[]string{"COMMIT"},
		pgtest.Counts{RoundTrips: 4, Statements: 3, Begins: 1, Commits: 1},
	},
	{
		"pipeline",
		[]string{prepare("i", "INSERT INTO t VALUES ('pipeline')") + sync},
		unnamed("BEGIN") + run("i") + unnamed("COMMIT") + unnamed("SELECT 1") + sync,
		[]string{"BEGIN", "INSERT 0 1", "COMMIT", "SELECT 1"},
		pgtest.Counts{RoundTrips: 2, Statements: 4, Begins: 1, Commits: 1},
	},
}

// A trial is a transaction before its COMMIT.
type trial struct {
	server *pgtest.Server
	proxy  *pgtest.Proxy
	client *wire
	row    string // what the transaction adds to t
	last   string // the batch with the COMMIT
	tags   []string
	counts pgtest.Counts // if nothing goes wrong
}

// tryAll runs a test for each way.
func tryAll(t *testing.T, test func(*testing.T, trial)) {
	t.Helper()
	s := start(t)
	sql(t, s, "CREATE TABLE t (v text)")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			p := pgtest.NewProxy(t, s.Addr)
			w := dial(t, p.Addr)
			w.mustRun(way.before...)
			test(t, trial{s, p, w, way.name, way.last, way.tags, way.counts})
		})
	}
}

func (tr trial) wantRows(t *testing.T, n string) {
	t.Helper()
	wantSQL(t, tr.server, "SELECT count(*) FROM t WHERE v = '"+tr.row+"'", n)
}

// awaitSessionEnd waits until the server has noticed that the client's connection is closed.
func (tr trial) awaitSessionEnd(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); tr.sessions(t) > "0"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the session is left")
		}
	}
}

func (tr trial) sessions(t *testing.T) string {
	t.Helper()
	return sql(t, tr.server, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d", tr.client.pid))
}

func TestProxyPassesAndCountsWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	tryAll(t, func(t *testing.T, tr trial) {
		tr.client.send(tr.last)
		tr.client.receive(tr.tags...)
		tr.wantRows(t, "1")
		if got := tr.proxy.Counts(); got != tr.counts {
			t.Errorf("%+v, want %+v", got, tr.counts)
		}
		if n := tr.proxy.Dials(); n != 1 {
			t.Errorf("%d dials, want 1", n)
		}
	})
}

func TestDroppedCommitReplyIsOfACommit(t *testing.T) {
	t.Parallel()
	tryAll(t, func(t *testing.T, tr trial) {
		dropped := tr.proxy.DropCommitReply("insert into T")
		tr.client.send(tr.last)
		<-dropped
		tr.wantRows(t, "1")
		tr.client.receiveEnd()
		if n := tr.proxy.Counts().Commits; n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
		// It is over.
		w := dial(t, tr.proxy.Addr)
		w.send(query("BEGIN"), query("COMMIT"))
		w.receive("BEGIN")
		w.receive("COMMIT")
	})
}

func TestLostCommitDoesNotCommit(t *testing.T) {
	t.Parallel()
	tryAll(t, func(t *testing.T, tr trial) {
		lost := tr.proxy.LoseCommit("insert into T")
		tr.client.send(tr.last)
		<-lost
		tr.client.receiveEnd()
		tr.awaitSessionEnd(t)
		tr.wantRows(t, "0")
		if n := tr.proxy.Counts().Commits; n != 0 {
			t.Errorf("%d commits, want 0", n)
		}
	})
}

func TestDelayedCommitCommitsAfterTheClientIsGone(t *testing.T) {
	t.Parallel()
	tryAll(t, func(t *testing.T, tr trial) {
		answered := tr.proxy.DelayCommit("", 100*time.Millisecond)
		tr.client.send(tr.last)
		tr.client.receiveEnd()
		<-answered
		tr.wantRows(t, "1")
	})
}

func TestDelayedCommitKeepsTheSession(t *testing.T) {
	t.Parallel()
	tryAll(t, func(t *testing.T, tr trial) {
		answered := tr.proxy.DelayCommit("", time.Hour)
		tr.client.send(tr.last)
		tr.client.receiveEnd()
		tr.proxy.SetDown(true) // closes the connections of clients
		if n := tr.sessions(t); n != "1" {
			t.Errorf("%s sessions, want 1", n)
		}
		tr.wantRows(t, "0")
		sql(t, tr.server, fmt.Sprintf("SELECT pg_terminate_backend(%d)", tr.client.pid))
		<-answered
		tr.wantRows(t, "0")
	})
}

func TestEndOfTheTestEndsADelay(t *testing.T) {
	t.Parallel()
	tryAll(t, func(t *testing.T, tr trial) {
		t.Cleanup(func() { tr.wantRows(t, "0") }) // before the proxy ends: it does not wait
		tr.proxy.DelayCommit("", time.Hour)
		tr.client.send(tr.last)
		tr.client.receiveEnd()
	})
}

// faults are the faults of a proxy at the COMMIT of a transaction with "into t".
var faults = map[string]func(*pgtest.Proxy) <-chan struct{}{
	"drop":  func(p *pgtest.Proxy) <-chan struct{} { return p.DropCommitReply("Into t") },
	"lose":  func(p *pgtest.Proxy) <-chan struct{} { return p.LoseCommit("Into t") },
	"delay": func(p *pgtest.Proxy) <-chan struct{} { return p.DelayCommit("Into t", 0) },
}

func TestFaultComesOnlyToATransactionWithItsText(t *testing.T) {
	t.Parallel()
	s := start(t)
	sql(t, s, "CREATE TABLE t (v text)")
	insert := "INSERT INTO t VALUES ('v')"
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pgtest.NewProxy(t, s.Addr)
			w := dial(t, p.Addr)
			w.mustRun(query("BEGIN"), query(insert), query("COMMIT"))
			done := fault(p)
			w.mustRun(
				query("BEGIN; COMMIT"),
				query("BEGIN"), query("SELECT 1"), query("COMMIT"),
				query(insert), query("BEGIN; COMMIT"),
				query(insert), query("COMMIT"),
				unnamed(insert)+sync, unnamed("BEGIN")+unnamed("COMMIT")+sync,
				query("BEGIN"), query(insert), query("ROLLBACK"), query("BEGIN"), query("COMMIT"),
				prepare("p", insert)+unnamed("BEGIN")+unnamed("COMMIT")+sync,
				query("BEGIN"), query("SELECT 'INTO T' AS commit"),
			)
			select {
			case <-done:
				t.Fatal("the fault came early")
			default:
			}
			w.send(query("COMMIT"))
			<-done
			w.receiveEnd()
		})
	}
}

func TestRollbackToASavepointDoesNotEndATransaction(t *testing.T) {
	t.Parallel()
	s := start(t)
	sql(t, s, "CREATE TABLE t (v text)")
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pgtest.NewProxy(t, s.Addr)
			w := dial(t, p.Addr)
			done := fault(p)
			w.mustRun(query("BEGIN"), unnamed("INSERT INTO t VALUES ('v')")+sync)
			w.mustRun(query("SAVEPOINT s"), query("ROLLBACK TO s"))
			w.send(query("COMMIT"))
			<-done
			w.receiveEnd()
		})
	}
}

func TestDroppedReplyIsNotThatOfAFailedCommit(t *testing.T) {
	t.Parallel()
	s := start(t)
	sql(t, s, "CREATE TABLE t (v int)")
	p := pgtest.NewProxy(t, s.Addr)
	w := dial(t, p.Addr)
	dropped := p.DropCommitReply("t")
	w.mustRun(query("BEGIN"), query("INSERT INTO t VALUES (1)"), query("SELECT 1/0"))
	w.send(query("COMMIT"))
	w.receive("ROLLBACK")
	w.mustRun(unnamed("BEGIN") + unnamed("INSERT INTO t VALUES (1/0)") + unnamed("COMMIT") + sync)
	w.send(query("ROLLBACK"))
	w.receive("ROLLBACK")
	w.send(query("BEGIN; INSERT INTO t VALUES (2); COMMIT"))
	<-dropped
	wantSQL(t, s, "SELECT v FROM t", "2")
	if got, want := p.Counts(), (pgtest.Counts{RoundTrips: 6, Statements: 8, Begins: 3, Commits: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestLaterFaultReplacesAnEarlierOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := pgtest.NewProxy(t, s.Addr)
	dropped := p.DropCommitReply("")
	lost := p.LoseCommit("")
	w := dial(t, p.Addr)
	w.send(query("BEGIN; COMMIT"))
	<-lost
	select {
	case <-dropped:
		t.Error("the earlier fault came")
	default:
	}
}

func TestProxyDownAndSilent(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := pgtest.NewProxy(t, s.Addr)
	w := dial(t, p.Addr)
	p.SetSilent(true)
	w.send(query("SELECT 1"))
	connect(t, p.Addr).send(startup)
	_ = w.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := w.replies.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent proxy answers: %v", err)
	}
	_ = w.conn.SetReadDeadline(time.Time{})
	p.SetDown(true)
	w.receiveEnd()
	connect(t, p.Addr).receiveEnd()
	p.SetDown(false)
	p.SetSilent(false)
	w = dial(t, p.Addr)
	w.send(query("SELECT 1"))
	w.receive("SELECT 1")
	if n := p.Dials(); n != 4 {
		t.Errorf("%d dials, want 4", n)
	}
}

func TestEndOfTheServerEndsTheConnection(t *testing.T) {
	t.Parallel()
	s := start(t)
	w := dial(t, pgtest.NewProxy(t, s.Addr).Addr)
	s.Kill()
	w.receiveEnd()
}

func TestProxyRefusesEncryption(t *testing.T) {
	t.Parallel()
	w := connect(t, pgtest.NewProxy(t, start(t).Addr).Addr)
	for _, code := range []uint32{80877104, 80877103} { // GSSENCRequest, SSLRequest
		w.send(string(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, code)))
		if b, err := w.replies.ReadByte(); err != nil || b != 'N' {
			t.Fatalf("reply %q, %v, want N", b, err)
		}
	}
	w.start()
}

func TestProxyPassesCancelRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := pgtest.NewProxy(t, s.Addr)
	w := dial(t, p.Addr)
	w.send(query("SELECT pg_sleep(3600)"))
	active := fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND wait_event = 'PgSleep'", w.pid)
	for sql(t, s, active) != "1" {
	}
	connect(t, p.Addr).send(w.cancelRequest())
	tags, err := w.read()
	if err != nil || len(tags) != 1 || !strings.Contains(tags[0], "canceling statement due to user request") {
		t.Errorf("received %q, %v", tags, err)
	}
}

// A client whose connection breaks may ask to cancel its statement. That must not reach the COMMIT.
func TestDelayedCommitIsNotCanceled(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := pgtest.NewProxy(t, s.Addr)
	busy, late := dial(t, p.Addr), dial(t, p.Addr)
	busy.send(query("SELECT pg_sleep(3600)"))
	p.DelayCommit("", time.Hour)
	late.send(query("BEGIN") + query("COMMIT"))
	if _, err := late.read(); err == nil {
		late.receiveEnd()
	}
	canceling := connect(t, p.Addr)
	canceling.send(busy.cancelRequest())
	if _, err := canceling.replies.ReadByte(); err == nil {
		t.Error("the request to cancel was answered")
	}
	if n := sql(t, s, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND state = 'active'", busy.pid)); n != "1" {
		t.Error("the statement was canceled")
	}
}

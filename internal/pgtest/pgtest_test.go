package pgtest_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// launchIn is the environment variable with the folder in which the child process launches a server
// that it does not stop.
const launchIn = "PGTEST_LAUNCH_IN"

func TestMain(m *testing.M) {
	dir := os.Getenv(launchIn)
	if dir == "" {
		leakcheck.Main(m)
	}
	s, err := pgtest.Launch(dir)
	if err != nil {
		panic(err)
	}
	for _, pid := range append(childrenOf(s.Pid()), s.Pid()) {
		fmt.Println(pid)
	}
}

// start is pgtest.Start. The tests of the core module need nothing but Go, so without PostgreSQL
// they are skipped.
func start(t *testing.T, options ...string) *pgtest.Server {
	t.Helper()
	needServer(t)
	return pgtest.Start(t, options...)
}

func needServer(t *testing.T) {
	t.Helper()
	if _, err := pgtest.Installed(); err != nil {
		t.Skip("no postgres: make deps installs it")
	}
}

func sql(t *testing.T, s *pgtest.Server, query string) string {
	t.Helper()
	rows, err := s.SQL(query)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func wantSQL(t *testing.T, s *pgtest.Server, query, want string) {
	t.Helper()
	if got := sql(t, s, query); got != want {
		t.Errorf("%s: %q, want %q", query, got, want)
	}
}

func TestServerKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*pgtest.Server){
		"kill":             (*pgtest.Server).Kill,
		"kill when paused": func(s *pgtest.Server) { s.Pause(); s.Kill() },
		"stop":             (*pgtest.Server).Stop,
		"stop immediately": (*pgtest.Server).StopImmediately,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			addr, pid := s.Addr, s.Pid()
			sql(t, s, "CREATE TABLE t (v text)")
			sql(t, s, "INSERT INTO t VALUES ('kept')")
			children := childrenOf(pid)
			end(s)
			requireEnd(t, append(children, pid))
			if _, err := s.SQL("SELECT 1"); err == nil {
				t.Fatal("a server that has ended answers")
			}
			if err := s.Run(); err != nil {
				t.Fatal(err)
			}
			wantSQL(t, s, "SELECT v FROM t", "kept")
			if s.Addr != addr || s.Pid() == pid {
				t.Errorf("it was %d at %s and is %d at %s", pid, addr, s.Pid(), s.Addr)
			}
		})
	}
}

func TestOptionsOverrideDefaults(t *testing.T) {
	t.Parallel()
	s := start(t, "fsync = on", "max_connections = 17")
	wantSQL(t, s, "SHOW fsync", "on")
	wantSQL(t, s, "SHOW max_connections", "17")
	wantSQL(t, s, "SHOW listen_addresses", "127.0.0.1")
	wantSQL(t, s, "SHOW server_encoding", "UTF8")
}

func TestErrorOfLaunchHasTheLog(t *testing.T) {
	t.Parallel()
	needServer(t)
	s, err := pgtest.Launch(tempDir(t), "no_such_parameter = 1")
	if err == nil {
		s.Kill()
		t.Fatal("the server runs")
	}
	if !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_parameter"`) {
		t.Error(err)
	}
}

func TestFailedQueryIsAnError(t *testing.T) {
	t.Parallel()
	s := start(t)
	if _, err := s.SQL("SELECT 1; SELECT 1/0"); err == nil || !strings.Contains(err.Error(), "division by zero") {
		t.Error(err)
	}
	wantSQL(t, s, "SELECT 1, 'a' UNION ALL SELECT 2, NULL", "1|a\n2|")
}

func TestServersShareNothing(t *testing.T) {
	t.Parallel()
	a, b := start(t), start(t)
	sql(t, a, "CREATE TABLE t ()")
	wantSQL(t, b, "SELECT to_regclass('t')", "")
}

func TestPausedServerKeepsItsConnectionsAndAnswersLater(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := dial(t, s.Addr)
	c.send(query("SELECT 1"))
	c.receive("SELECT 1")
	s.Pause()
	c.send(query("SELECT 1"))
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if b, err := c.conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("a paused server answers %d bytes", b)
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	s.Resume()
	c.receive("SELECT 1")
}

func TestNothingIsLeftAfterTheTest(t *testing.T) {
	t.Parallel()
	needServer(t)
	var addr, dir string
	var processes []int
	t.Cleanup(func() { // runs after those of Start
		requireEnd(t, processes)
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			t.Errorf("%s is open", addr)
		}
	})
	s := start(t)
	addr, dir = s.Addr, filepath.Dir(sql(t, s, "SHOW data_directory"))
	processes = append(childrenOf(s.Pid()), s.Pid())
}

func TestServerEndsWithTheProcessThatRunsIt(t *testing.T) {
	t.Parallel()
	needServer(t)
	dir := tempDir(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), launchIn+"="+dir)
	out, err := child.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var processes []int
	for line := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		processes = append(processes, pid)
	}
	requireEnd(t, processes)
}

// tempDir returns a folder that other users may enter.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest") //nolint:usetesting // its folders are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// childrenOf returns the processes of the server, which are several.
func childrenOf(pid int) (children []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, _ := os.ReadFile(stat)
		_, rest, _ := strings.Cut(string(b), ") ") // after the name: state, parent
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			children = append(children, child)
		}
	}
	return children
}

// requireEnd waits for the end of the processes of a server, which close their files a moment
// before. A server has several.
func requireEnd(t *testing.T, pids []int) {
	t.Helper()
	if len(pids) < 4 {
		t.Fatalf("the server has the processes %v", pids)
	}
	for deadline := time.Now().Add(5 * time.Second); slices.ContainsFunc(pids, alive); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a process is left")
		}
	}
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

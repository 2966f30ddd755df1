// Package docsapitest starts the example as a process, for tests that call it and kill it.
package docsapitest

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/logbuf"
)

// The API keys of the service.
const (
	KeyDemo     = "sk_test_demo"
	KeyReadOnly = "sk_test_readonly"
	KeyRevoked  = "sk_test_revoked"
)

// patience is how long a server may take to start or to stop.
const patience = 30 * time.Second

// program is the path of the server's program. Main sets it.
var program string

// Main is the body of a TestMain. It builds the server, with the race detector if the tests have
// it, runs the tests, and fails if they leave goroutines behind.
func Main(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "docsapitest-")
	if err == nil {
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "docsapi")
		err = build(program)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docsapitest:", err)
		return 1
	}
	return leakcheck.Run(m)
}

// build builds the server. It does so in the folder of the server's module, because the module of
// the test does not know its dependencies.
func build(output string) error {
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "build", fmt.Sprintf("-race=%t", RaceEnabled), "-o", output, ".") //nolint:gosec // no input of others
	cmd.Dir = filepath.Join(filepath.Dir(file), "..")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// A Server is a running service. Its methods must not be called at the same time, except for Log
// and TakeLog.
type Server struct {
	// URL is the address, such as "http://127.0.0.1:41463". It stays the same over a Restart.
	URL string

	tb    testing.TB
	flags []string
	cmd   *exec.Cmd // nil if the server does not run
	log   logbuf.Buffer
}

// Start starts a server with these flags on a free port. Unless a flag says otherwise, its database
// is a new file. The server is killed at the end of the test. Its log is then shown if the test has
// failed.
func Start(tb testing.TB, flags ...string) *Server {
	tb.Helper()
	if program == "" {
		tb.Fatal("docsapitest: call docsapitest.Main in TestMain")
	}
	s := &Server{tb: tb, flags: append([]string{"-db", filepath.Join(tb.TempDir(), "docsapi.db")}, flags...)}
	tb.Cleanup(func() {
		s.Kill()
		if tb.Failed() {
			tb.Logf("the log of the server:\n%s", s.Log())
		}
	})
	s.URL = s.start("127.0.0.1:0")
	return s
}

// start starts the process and returns its URL.
func (s *Server) start(addr string) string {
	s.tb.Helper()
	cmd := exec.Command(program, slices.Concat(s.flags, []string{"-addr", addr})...) //nolint:gosec // flags of the test
	cmd.Stderr = &s.log
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.tb.Fatal("docsapitest: ", err)
	}
	s.cmd = cmd
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	late.Stop()
	if err != nil {
		s.Kill()
		s.tb.Fatalf("docsapitest: the server has not started: %v\n%s", err, s.Log())
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// Kill ends the server with SIGKILL: it cannot finish anything. If the server does not run, Kill
// does nothing.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Stop asks the server to finish its requests and to end (SIGTERM), and waits for it. An error of
// the server fails the test.
func (s *Server) Stop() {
	s.tb.Helper()
	cmd := s.cmd
	s.cmd = nil
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Process.Signal(syscall.SIGTERM)
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		s.tb.Errorf("docsapitest: the server did not stop as it should: %v\n%s", err, s.Log())
	}
}

// Restart starts the server again after Kill or Stop, at the same address and with the same flags,
// and so with the same database.
func (s *Server) Restart() {
	s.tb.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		s.tb.Fatal("docsapitest: ", err)
	}
	s.start(u.Host)
}

// Pid returns the process id of the running server.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Log returns what the server has written to its log: JSON, one record in a line. What TakeLog has
// returned is not in it.
func (s *Server) Log() string { return s.log.String() }

// TakeLog returns what the server has written to its log since the last call, and forgets it.
func (s *Server) TakeLog() string { return s.log.Take() }

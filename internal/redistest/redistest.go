// Package redistest runs real Redis servers for tests and examples. It needs redis-server and
// redis-cli on the PATH, which "make deps" installs.
package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is a redis-server process on a loopback port. Its methods are not safe for concurrent
// use.
type Server struct {
	Addr string // such as 127.0.0.1:41234

	dir  string // holds its log and its data
	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// patience is how long a server may take to start or to stop.
const patience = 20 * time.Second

// Start runs a server until the test ends. Each option is a line of redis.conf, such as
// "appendonly yes". Without options, the server writes nothing to disk.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	s, err := Launch(tb.TempDir(), options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Launch runs a server that keeps its files in dir, until Kill or Stop is called.
func Launch(dir string, options ...string) (*Server, error) {
	var err error
	for range 5 { // another process may take the port first
		var port int
		if port, err = freePort(); err != nil {
			return nil, err
		}
		s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir}
		s.args = arguments(port, dir, options)
		if err = s.Run(); err == nil {
			return s, nil
		}
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("redistest: %w: run make deps", err)
		}
	}
	return nil, err
}

func arguments(port int, dir string, options []string) []string {
	args := []string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--logfile", "redis.log",
		"--save", "", "--daemonize", "no", "--enable-debug-command", "local",
	}
	for _, o := range options {
		name, value, _ := strings.Cut(o, " ")
		args = append(append(args, "--"+name), strings.Fields(value)...)
	}
	return args
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Run starts the process again after Kill or Stop, at the same address and with the same files.
// It returns when the server answers.
func (s *Server) Run() error {
	s.cmd = exec.Command("redis-server", s.args...) //nolint:gosec,noctx // Kill and Stop end it
	var out bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait()
	}()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.done:
			log, _ := os.ReadFile(filepath.Join(s.dir, "redis.log"))
			return fmt.Errorf("redistest: redis-server has ended: %s%s", out.Bytes(), log)
		default:
		}
		if reply, err := s.Do("PING"); err == nil && reply == "PONG" {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("redistest: no answer from redis-server at %s", s.Addr)
}

// Do runs a command through redis-cli and returns its output without the final line break. An
// error reply is output too.
func (s *Server) Do(command ...string) (reply string, err error) {
	_, port, _ := net.SplitHostPort(s.Addr)
	out, err := exec.Command("redis-cli", append([]string{"-p", port}, command...)...).CombinedOutput() //nolint:gosec,noctx // of tests
	return strings.TrimSuffix(string(out), "\n"), err
}

// Kill ends the process with SIGKILL, and waits for its end.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the process with SIGTERM, and waits for its end.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig os.Signal) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// Pause stops the process with SIGSTOP. Its connections stay open, and the kernel accepts new
// ones. Resume continues it.
func (s *Server) Pause() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (s *Server) Resume() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

// Pid returns the process id.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Package redistest runs real Redis servers for tests and examples. It needs redis-server and
// redis-cli on the PATH, which "make deps" installs.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
	env  []string // added to that of this process
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// patience is how long a server may take to start or to stop.
const patience = 20 * time.Second

// Start runs a server until the test ends. Each option is a line of redis.conf, such as
// "appendonly yes". Without options, the server writes nothing to disk.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	return StartEnv(tb, nil, options...)
}

// StartEnv is Start with variables that are added to the environment of the process, such as
// "TZ=UTC".
func StartEnv(tb testing.TB, env []string, options ...string) *Server {
	tb.Helper()
	s, err := launch(tb.TempDir(), env, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Launch runs a server that keeps its files in dir, until Kill or Stop is called.
func Launch(dir string, options ...string) (*Server, error) { return launch(dir, nil, options) }

func launch(dir string, env, options []string) (*Server, error) {
	var err error
	for range 5 { // another process may take a port first
		port, bus, portErr := freePorts()
		if portErr != nil {
			return nil, portErr
		}
		s := &Server{Addr: "127.0.0.1:" + port, dir: dir, env: env}
		s.args = arguments(port, bus, dir, options)
		if err = s.Run(); err == nil {
			return s, nil
		}
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("redistest: %w: run make deps", err)
		}
	}
	return nil, err
}

func arguments(port, bus, dir string, options []string) []string {
	args := []string{
		"--port", port, "--cluster-port", bus, "--bind", "127.0.0.1", "--dir", dir, "--logfile", "redis.log",
		"--save", "", "--daemonize", "no", "--enable-debug-command", "local",
	}
	for _, o := range options {
		name, value, _ := strings.Cut(o, " ")
		args = append(append(args, "--"+name), strings.Fields(value)...)
	}
	return args
}

// freePorts returns two ports that are free now: one for clients, and one for a Cluster.
func freePorts() (port, bus string, err error) {
	var ports [2]string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
		if err != nil {
			return "", "", err
		}
		defer l.Close()
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports[0], ports[1], nil
}

// Run starts the process again after Kill or Stop, at the same address and with the same files.
// It returns when the server answers.
func (s *Server) Run() error {
	s.cmd = exec.Command("redis-server", s.args...) //nolint:gosec,noctx // Kill and Stop end it
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.SysProcAttr = new(syscall.SysProcAttr)
	endWithParent(s.cmd.SysProcAttr)
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
		// If another process has taken the port, its answer does not count.
		if info, err := s.Do("INFO", "server"); err == nil && strings.Contains(info, fmt.Sprintf("\nprocess_id:%d\r", s.Pid())) {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("redistest: no answer from redis-server at %s", s.Addr)
}

// Do runs a command through redis-cli and returns its output without the final line break. An
// error reply is output too. Do returns an error if the server does not answer in time.
func (s *Server) Do(command ...string) (reply string, err error) {
	_, port, _ := net.SplitHostPort(s.Addr)
	out, err := redisCLI(append([]string{"-p", port}, command...)...)
	return strings.TrimSuffix(out, "\n"), err
}

func redisCLI(args ...string) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput() //nolint:gosec // of tests
	return string(b), err
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

// Package pgtest runs real PostgreSQL servers for tests, examples and benchmarks. It needs Linux
// and the programs of PostgreSQL, which "make deps" installs.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// A Server is a PostgreSQL server on a loopback port. Its superuser is postgres, without a
// password. Its methods are not safe for concurrent use, except URL and SQL.
type Server struct {
	Addr string // such as 127.0.0.1:41234

	data string   // the data directory
	log  string   // the file
	env  []string // added to that of this process
	cmd  *exec.Cmd
	done chan struct{} // closed when all processes of the server have ended
}

// patience is how long a server may take to start, to stop or to answer.
const patience = 20 * time.Second

// defaults is the first part of every configuration. Without fsync, the data does not survive a
// crash of the machine. It does survive the server's own end, even by SIGKILL: the operating system
// has what was written.
const defaults = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
dynamic_shared_memory_type = mmap # in the data directory, so that no killed server leaves it
fsync = off
`

// Start runs a server until the test ends. Each option is a line of postgresql.conf, such as
// "max_connections = 20".
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	return StartEnv(tb, nil, options...)
}

// StartEnv is Start with variables that are added to the environment of the server, such as
// "TZ=UTC".
func StartEnv(tb testing.TB, env []string, options ...string) *Server {
	tb.Helper()
	// The server may run as another user, who must not enter the folders of tb.TempDir.
	dir, err := os.MkdirTemp("", "pgtest") //nolint:usetesting // see above
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	s, err := launch(dir, env, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Resume()
		s.StopImmediately() // unlike Kill, it lets the postmaster wait for its children
	})
	return s
}

// Launch runs a server that keeps its files in dir, until Kill, Stop or StopImmediately is called.
// PostgreSQL refuses root. If the caller is root, the server runs as the user nobody: Launch makes
// dir readable for all, and the folders above it must be so too.
func Launch(dir string, options ...string) (*Server, error) { return launch(dir, nil, options) }

func launch(dir string, env, options []string) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, err := createData(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{data: data, env: env, log: filepath.Join(dir, "postgres.log")}
	if err := s.configure(append([]string{defaults}, options...)...); err != nil {
		return nil, err
	}
	for range 5 { // another process may take a port first
		port, portErr := freePort()
		if portErr != nil {
			return nil, portErr
		}
		if err := s.configure("port = " + port); err != nil {
			return nil, err
		}
		s.Addr = "127.0.0.1:" + port
		if err = s.Run(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// configure adds lines to the configuration. The last line for a parameter counts.
func (s *Server) configure(lines ...string) error {
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, strings.Join(lines, "\n")+"\n")
	return errors.Join(err, f.Close())
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// Run starts the server again after Kill, Stop or StopImmediately, at the same address and with the
// same data. It returns when the server accepts connections.
func (s *Server) Run() error {
	cmd, err := program(s.data, "postgres", "-D", s.data)
	if err != nil {
		return err
	}
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Env = append(os.Environ(), s.env...)
	endWithParent(cmd.SysProcAttr)
	cmd.Stderr = log
	// This makes a pipe that all processes of the server inherit, so Wait waits for all of them.
	cmd.Stdout = io.Discard
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	s.cmd, s.done = cmd, done
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.done:
			return fmt.Errorf("pgtest: postgres has ended: %s", s.logTail())
		default:
		}
		if s.ready() {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("pgtest: postgres at %s is not ready in time: %s", s.Addr, s.logTail())
}

// ready reports whether the server accepts connections. An answer on its port would not prove that:
// the port may be another server's.
func (s *Server) ready() bool {
	lines := s.pidFile()
	return len(lines) > 7 && lines[0] == strconv.Itoa(s.Pid()) && strings.TrimSpace(lines[7]) == "ready"
}

// pidFile returns the lines of postmaster.pid: process id, data directory, start time, port, socket
// directory, address, key and id of the shared memory, state.
func (s *Server) pidFile() (lines []string) {
	b, _ := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	return strings.Split(string(b), "\n")
}

// logTail returns the end of what the server has logged since Run.
func (s *Server) logTail() string {
	log, _ := os.ReadFile(s.log)
	return string(log[max(0, len(log)-2000):])
}

// URL returns the URL of a database. If the name is empty, the database is postgres.
func (s *Server) URL(database string) string { return url(s.Addr, database) }

func url(addr, database string) string {
	if database == "" {
		database = "postgres"
	}
	return "postgres://postgres@" + addr + "/" + database + "?sslmode=disable"
}

// SQL runs a query in the database postgres through psql. It returns one line for each row, with |
// between the values and without the final line break. SQL returns an error if the query fails or
// if the server does not answer in time.
func (s *Server) SQL(query string) (rows string, err error) { return psql(s.URL(""), query) }

func psql(url, query string) (rows string, err error) {
	bin, err := Installed()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", query) //nolint:gosec // of tests
	var out strings.Builder
	cmd.Stdout = &out
	err = run(cmd)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// Kill ends all processes of the server with SIGKILL, and waits for their end.
func (s *Server) Kill() {
	// A stopped postmaster starts no process, and does not react to the end of one.
	if s.cmd.Process.Signal(syscall.SIGSTOP) == nil {
		s.signalChildren(syscall.SIGKILL)
		_ = s.cmd.Process.Kill()
		<-s.done
		s.removeSharedMemory()
	}
	<-s.done
}

// removeSharedMemory removes the System V segment that a killed server leaves.
func (s *Server) removeSharedMemory() {
	if lines := s.pidFile(); len(lines) > 6 {
		if keyAndID := strings.Fields(lines[6]); len(keyAndID) == 2 {
			_ = exec.Command("ipcrm", "-m", keyAndID[1]).Run() //nolint:gosec,noctx // it is short
		}
	}
}

// Stop ends the server with SIGINT, and waits for its end. The server rolls back open transactions
// and closes its connections.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

// StopImmediately ends the server with SIGQUIT, and waits for its end. The server does not write a
// checkpoint, so the next Run begins with a recovery.
func (s *Server) StopImmediately() { s.end(syscall.SIGQUIT) }

func (s *Server) end(sig os.Signal) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(patience):
		s.Kill()
	}
}

// Pause stops all processes of the server with SIGSTOP. Its connections stay open, and the kernel
// accepts new ones. Resume continues the processes.
func (s *Server) Pause() {
	if s.cmd.Process.Signal(syscall.SIGSTOP) == nil {
		s.signalChildren(syscall.SIGSTOP)
	}
}

// Resume continues a paused server.
func (s *Server) Resume() {
	if s.cmd.Process.Signal(syscall.SIGCONT) == nil {
		s.signalChildren(syscall.SIGCONT)
	}
}

// signalChildren sends a signal to each child of the postmaster. Each leads its own process group,
// so one signal cannot reach all.
func (s *Server) signalChildren(sig syscall.Signal) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.Pid()))
	for child := range strings.FieldsSeq(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, sig)
		}
	}
}

// Pid returns the process id of the postmaster.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

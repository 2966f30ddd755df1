package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// serverCommand is the argument that makes the program a process of a service. The others are those
// of runServer.
const serverCommand = "server"

// The services.
const (
	ordersService    = "orders"
	transfersService = "transfers"
)

// runServer is a process of a service. The arguments are the service, the name of the process, and
// the addresses that the service needs. runServer writes its own address to out, and serves until
// ctx is done or in ends. So it also ends when the session that has started it is killed.
func runServer(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(logger)
	h, closeService, err := openService(ctx, args, logger)
	if err != nil {
		return err
	}
	defer closeService()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	return serve(ctx, l, h)
}

// openService returns the handler of a service, and a function that closes what it uses.
func openService(ctx context.Context, args []string, logger *slog.Logger) (h http.Handler, closeService func(), err error) {
	switch {
	case len(args) == 4 && args[0] == ordersService:
		s := &orders{name: args[1], redis: newRedis(args[2]), bank: args[3], logger: logger}
		return s.handler(), func() { _ = s.redis.Close() }, nil
	case len(args) == 3 && args[0] == transfersService:
		s, err := openTransfers(ctx, args[1], args[2], logger)
		if err != nil {
			return nil, nil, err
		}
		return s.handler(), s.close, nil
	default:
		return nil, nil, fmt.Errorf("the arguments %q name no service", args)
	}
}

// process is a process of a service that the session has started.
type process struct {
	name, addr string
	cmd        *exec.Cmd
	stdin      io.Closer
	log        bytes.Buffer // complete when done is closed
	done       chan struct{}
	err        error // of Wait, when done is closed
	killed     atomic.Bool
}

// startProcess starts this program once more.
func startProcess(service, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, done: make(chan struct{})}
	p.cmd = exec.Command(self, append([]string{serverCommand, service, name}, args...)...) //nolint:gosec // it is this program
	p.cmd.Stderr = &p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	if err != nil {
		_ = p.stop()
		return nil, fmt.Errorf("server %s has not started: %w: %s", name, err, &p.log)
	}
	p.addr = strings.TrimSpace(line)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process with SIGKILL: it cannot finish anything.
func (p *process) kill() {
	p.killed.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to finish its requests and to end, and waits for it. It may be called after
// kill.
func (p *process) stop() error {
	_ = p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.kill()
		return fmt.Errorf("server %s did not stop", p.name)
	}
	if p.err != nil && !p.killed.Load() {
		return fmt.Errorf("server %s: %w", p.name, p.err)
	}
	return nil
}

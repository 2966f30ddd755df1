package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// serverCommand is the argument that makes the program a process of the service. The others are
// its name, the address of Redis and the URL of the bank.
const serverCommand = "server"

// runServer is a process of the service. It writes its address to out, and serves until ctx is done
// or in ends. So it also ends when the session that has started it is killed.
func runServer(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 3 {
		return errors.New("the arguments are a name, the address of Redis and the URL of the bank")
	}
	s := &service{
		name:     args[0],
		accounts: map[string]string{"Bearer " + keyOfAlice: "acct_alice", "Bearer " + keyOfBob: "acct_bob"},
		redis:    newRedis(args[1]),
		bank:     args[2],
		logger:   slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	}
	slog.SetDefault(s.logger)
	defer s.redis.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	return serve(ctx, l, s.handler())
}

// process is a process of the service that the session has started.
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
func startProcess(name, redisAddr, bankURL string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, done: make(chan struct{})}
	p.cmd = exec.Command(self, serverCommand, name, redisAddr, bankURL) //nolint:gosec // it is this program
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

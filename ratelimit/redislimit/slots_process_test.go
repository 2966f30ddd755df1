package redislimit_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

var processEntry = ratelimit.Entry{Rule: "r", Key: "k", Max: 2}

// envSlotsAddr is the address of the Redis server for TestSlotsProcess.
const envSlotsAddr = "REDISLIMIT_SLOTS_ADDR"

// process is another process with Slots: this test binary, running TestSlotsProcess.
type process struct {
	cmd   *exec.Cmd
	in    io.Writer
	lines chan string // what it prints
}

func startProcess(t *testing.T, server *redistest.Server) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSlotsProcess$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), envSlotsAddr+"="+server.Addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd, in: in, lines: make(chan string, 10_000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	return p
}

// do sends a command to the process, and waits for the line.
func (p *process) do(t *testing.T, command, line string) {
	t.Helper()
	_, err := fmt.Fprintln(p.in, command)
	require.NoError(t, err)
	p.await(t, line)
}

func (p *process) await(t *testing.T, line string) {
	t.Helper()
	for timeout := time.After(patient); ; {
		select {
		case l, ok := <-p.lines:
			require.True(t, ok, "the process has ended")
			if l == line {
				return
			}
		case <-timeout:
			require.FailNow(t, "the process does not print "+line)
		}
	}
}

// drain forgets what the process has printed.
func (p *process) drain() {
	for len(p.lines) > 0 {
		<-p.lines
	}
}

// announcer is a Runner that prints when a renewal has succeeded.
type announcer struct{ redislimit.Runner }

func (a announcer) Run(ctx context.Context, script string, keys, args []string) (any, error) {
	reply, err := a.Runner.Run(ctx, script, keys, args)
	if err == nil && strings.HasPrefix(script, "-- slots_renew") {
		fmt.Println("renewed")
	}
	return reply, err
}

// TestSlotsProcess takes slots for the other tests: a slot for each line "enter". It gives all of
// them back at "leave".
func TestSlotsProcess(t *testing.T) {
	t.Parallel()
	addr := os.Getenv(envSlotsAddr)
	if addr == "" {
		return
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	s := redislimit.NewSlotsRunner(announcer{redislimit.NewGoRedisRunner(client)}, &briefSlots)
	var leaves []func()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "enter":
			leaves = append(leaves, enterPatiently(t, s, processEntry))
			fmt.Println("entered")
		case "leave":
			for _, leave := range leaves {
				leave()
			}
			fmt.Println("left")
		}
	}
}

func TestSlotsOfAKilledProcessBecomeFree(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), &briefSlots)
	p := startProcess(t, server)
	p.do(t, "enter", "entered")
	p.do(t, "enter", "entered")
	for range 4 { // longer than the lease
		p.await(t, "renewed")
		requireFull(t, s)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGKILL))
	leaves := []func(){enterPatiently(t, s, processEntry), enterPatiently(t, s, processEntry)}
	requireFull(t, s)
	for _, leave := range leaves {
		leave()
	}
}

func TestProcessThatWasPausedFreesNoSlotsOfOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redislimit.NewSlots(connect(t, server.Addr), &briefSlots)
	p := startProcess(t, server)
	p.do(t, "enter", "entered")
	p.do(t, "enter", "entered")
	p.await(t, "renewed")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	first, second := enterPatiently(t, s, processEntry), enterPatiently(t, s, processEntry)
	key := s.RedisKey("r", "k")
	members := func() []string { return strings.Fields(do(t, server, "ZRANGE", key, "0", "-1")) }
	mine := members()

	p.drain()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
	p.await(t, "renewed")
	p.await(t, "renewed")
	require.ElementsMatch(t, mine, members(), "a renewal adds nothing that was lost")
	p.do(t, "leave", "left")
	require.ElementsMatch(t, mine, members(), "a slot is given back once")
	requireFull(t, s)
	first()
	second()
	require.Eventually(t, func() bool { return do(t, server, "DBSIZE") == "0" }, patient, 10*time.Millisecond)
}

// requireFull checks that no slot is free. A call may fail when the machine is busy.
func requireFull(t *testing.T, s ratelimit.Slots) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, free, err := s.Enter(t.Context(), processEntry)
		require.False(t, free)
		return err == nil
	}, patient, 10*time.Millisecond)
}

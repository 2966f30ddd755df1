package chaos_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/logbuf"
)

// The roles of processes: the first argument of the test binary.
const (
	roleService = "service"
	roleClient  = "client"
)

// patience is how long a process may take to start or to stop.
const patience = 60 * time.Second

// A process is a role that is played by one process after the other. Whoever kills it, its next
// life begins soon.
type process struct {
	name string
	role string
	// args returns the argument of a life, which are counted from 1.
	args   func(life int) string
	record func(history.Event)

	mu    sync.Mutex
	life  int
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader // its standard output
	log   logbuf.Buffer
	done  chan struct{} // closed when the present life has ended
	ended chan struct{} // closed when no other life begins
	rest  bool          // no other life must begin
}

// newProcess starts the first life. The process ends with the test.
func newProcess(t *testing.T, name, role string, record func(history.Event), args func(life int) string) *process {
	t.Helper()
	p := &process{name: name, role: role, args: args, record: record, ended: make(chan struct{})}
	require.NoError(t, p.begin())
	go p.keepAlive()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			if log := p.log.String(); log != "" {
				t.Logf("the end of the log of %s:\n%s", name, log[max(0, len(log)-3000):])
			}
		}
	})
	return p
}

// begin starts a life. It returns when the process has said that it is ready.
func (p *process) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life++
	cmd := exec.Command(os.Args[0], p.role, p.args(p.life)) //nolint:gosec // it is this program
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = &p.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.stdin, p.lines = cmd, stdin, bufio.NewReader(stdout)
	if _, err := p.lines.ReadString('\n'); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("%s has not started: %w: %s", p.name, err, p.log.String())
	}
	p.done = make(chan struct{})
	return nil
}

// keepAlive begins a new life soon after the end of one.
func (p *process) keepAlive() {
	defer close(p.ended)
	for {
		_ = p.cmd.Wait()
		from := history.Now()
		target := p.incarnation()
		close(p.done)
		p.mu.Lock()
		rest := p.rest
		p.mu.Unlock()
		if rest {
			p.record(history.Event{Period: &history.Period{Kind: "kill", Target: target, From: from, To: from}})
			return
		}
		time.Sleep(time.Duration(20+rand.IntN(200)) * time.Millisecond)
		if err := p.begin(); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			return
		}
		p.record(history.Event{Period: &history.Period{Kind: "kill", Target: target, From: from, To: history.Now()}})
	}
}

// incarnation returns the name of the present life, such as "s1.3".
func (p *process) incarnation() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%s.%d", p.name, p.life)
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(s)
}

// tell writes a line to the process.
func (p *process) tell(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.stdin, line+"\n")
}

// kill ends the present life, and returns when the next one has begun.
func (p *process) kill() {
	p.mu.Lock()
	life := p.life
	_ = p.cmd.Process.Kill()
	p.mu.Unlock()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		next := p.life > life
		p.mu.Unlock()
		if next {
			return
		}
	}
	panic("chaos: " + p.name + " does not live again")
}

// isUp reports whether the process lives and is not stopped.
func (p *process) isUp() bool {
	state := p.state()
	return state != 0 && state != 'T' && state != 'Z'
}

// isStopped reports whether the process has stopped itself.
func (p *process) isStopped() bool { return p.state() == 'T' }

// state returns the kernel's letter for the state of the process. It is 0 if there is none.
func (p *process) state() byte {
	p.mu.Lock()
	pid := p.cmd.Process.Pid
	p.mu.Unlock()
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, after, ok := strings.Cut(string(stat), ") "); ok {
		return after[0]
	}
	return 0
}

// letEnd makes the present life the last one.
func (p *process) letEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = true
}

// end ends the process for good.
func (p *process) end() {
	p.letEnd()
	p.mu.Lock()
	_ = p.stdin.Close()
	p.mu.Unlock()
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

// freeAddr returns a loopback address that is free now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

package chaos_test

import (
	"bufio"
	"cmp"
	"errors"
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

// patience is how long a process may take to start, to answer or to finish its work.
const patience = 60 * time.Second

// A process is a role that is played by one process after the other. Whoever kills it, its next
// life begins soon.
type process struct {
	name   string
	role   string
	args   func(life int) string // returns the argument of a life; the first one is 1
	record func(history.Event)
	fail   func(error) // ends the episode
	random *rand.Rand  // of keepAlive
	log    logbuf.Buffer
	ended  chan struct{} // closed when no other life begins

	mu    sync.Mutex // held while a life begins
	life  int
	cmd   *exec.Cmd
	stdin io.WriteCloser
	rest  bool // the present life is the last one
}

// newProcess starts the first life. The process ends with the test.
func newProcess(t *testing.T, n *nemesis, name, role string, args func(life int) string) *process {
	t.Helper()
	p := &process{
		name: name, role: role, args: args, record: n.record, fail: n.fail,
		random: n.random(streamOf("lives of " + name)), ended: make(chan struct{}),
	}
	require.NoError(t, p.begin())
	go p.keepAlive()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("the log of %s: %s", name, p.logged())
		}
	})
	return p
}

// dataRace is how the race detector begins its report.
const dataRace = "WARNING: DATA RACE"

// logged returns the end of the log, or what follows the first data race.
func (p *process) logged() string {
	const most = 3000
	log := p.log.String()
	if i := strings.Index(log, dataRace); i >= 0 {
		return log[i:min(len(log), i+most)]
	}
	return log[max(0, len(log)-most):]
}

// begin starts a life. It returns when the process has said that it is ready. Who wants something
// from the process waits for that.
func (p *process) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life++
	cmd := exec.Command(os.Args[0], p.role, p.args(p.life))
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
	p.cmd, p.stdin = cmd, stdin
	tooLate := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer tooLate.Stop()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		_ = cmd.Process.Kill()
		return fmt.Errorf("%s does not start: %w", p.name, errors.Join(err, cmd.Wait()))
	}
	if p.rest { // end was called between two lives
		_ = stdin.Close()
	}
	return nil
}

// keepAlive begins a new life soon after the end of one.
func (p *process) keepAlive() {
	defer close(p.ended)
	for {
		err := p.cmd.Wait()
		from, target := history.Now(), p.incarnation()
		rest := p.isLast()
		switch {
		case strings.Contains(p.log.String(), dataRace):
			p.fail(fmt.Errorf("%s has a data race", target))
		case !wasKilled(p.cmd) && (err != nil || !rest):
			p.fail(fmt.Errorf("%s has ended by itself: %w", target, cmp.Or(err, errors.New("without an error"))))
		}
		if rest {
			return
		}
		time.Sleep(between(p.random, 20*time.Millisecond, 220*time.Millisecond))
		if err := p.begin(); err != nil {
			p.fail(err)
			return
		}
		p.record(history.Event{Period: &history.Period{Kind: "kill", Target: target, From: from, To: history.Now()}})
	}
}

// wasKilled reports whether a process that has ended was killed with SIGKILL.
func wasKilled(cmd *exec.Cmd) bool {
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
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

// strike kills or stops the process, and returns when it is dead or stopped. It gives up after a
// second: the process may have been continued meanwhile.
func (p *process) strike(s syscall.Signal) {
	target := p.incarnation()
	p.signal(s)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !p.isUp() || p.incarnation() != target {
			return
		}
	}
}

// isUp reports whether the process lives and is not stopped.
func (p *process) isUp() bool {
	state := p.state()
	return state != 0 && state != 'T' && state != 'Z'
}

// isStopped reports whether the process is stopped, by itself or by the nemesis.
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

// isLast reports whether the present life is the last one.
func (p *process) isLast() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rest
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

package brownout

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// argument is the first argument of a process with a role. The second one is its config.
const argument = "brownout"

// A config is what a process needs to know when it starts.
type config struct {
	Role string // "upstream" or "client"
	Arm  string
	Addr string // of the upstream
	Log  string // the upstream's file
	Seed uint64 // of a client's random times
}

// A plan has the times of a scenario, on the clock of history.Now. A process reads it from its
// standard input, after it has reported that it is ready.
type plan struct {
	Start, From, To, End int64
	Slow                 bool // whether the upstream is slow between From and To
}

// Main runs the role that this process was started with, and exits. It returns if the process has
// no role. Call it first in TestMain.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != argument {
		return
	}
	var c config
	err := json.Unmarshal([]byte(os.Args[2]), &c)
	switch {
	case err != nil:
	case c.Role == "upstream":
		err = c.upstream()
	case c.Role == "client":
		err = c.client()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "brownout: %s of %s: %v\n", c.Role, c.Arm, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// awaitPlan reports that the process is ready and returns the plan. The process ends with its
// standard input.
func awaitPlan() (p plan, err error) {
	fmt.Println("ready")
	d := json.NewDecoder(os.Stdin)
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("no plan: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return p, nil
}

// A process is a child.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts this program again, with a role, and returns when the new process is ready.
func start(c config) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, argument, string(arg))} //nolint:gosec,noctx // it is this program, and it ends with its input
	p.cmd.Stderr = os.Stderr
	// The processes share few processors: spend little on threads and on garbage.
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	endWithParent(p.cmd.SysProcAttr)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		p.kill()
		return nil, fmt.Errorf("%s of %s is not ready: %q, %w", c.Role, c.Arm, line, err)
	}
	return p, nil
}

// begin sends the plan.
func (p *process) begin(pl plan) error { return json.NewEncoder(p.in).Encode(pl) }

// end ends the process and returns its error.
func (p *process) end() error {
	_ = p.in.Close()
	return p.cmd.Wait()
}

// kill ends the process with SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// cpu returns the processor time of a process that has ended.
func (p *process) cpu() time.Duration {
	if p.cmd.ProcessState == nil {
		return 0
	}
	return p.cmd.ProcessState.SystemTime() + p.cmd.ProcessState.UserTime()
}

// sleepUntil sleeps until a time on the clock of history.Now.
func sleepUntil(at int64) { time.Sleep(time.Duration(at - history.Now())) }

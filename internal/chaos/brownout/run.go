package brownout

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// together is how many arms run at the same time.
const together = 2

// stagger is the time between the starts of two arms, so that the troubles of two arms do not end
// at the same moment.
const stagger = 300 * time.Millisecond

// run runs a scenario once. It stops after the first two arms if they show that the machine is too
// busy.
func run(tb testing.TB, name string, seed uint64, o Options) Scenario {
	tb.Helper()
	s := Scenario{
		Name: name, Healthy: o.Healthy.Seconds(), Trouble: o.Trouble.Seconds(), After: o.After.Seconds(),
	}
	for names := range slices.Chunk(o.Arms, together) {
		var arms []*arm
		for _, name := range names {
			arms = append(arms, &arm{name: name, log: filepath.Join(tb.TempDir(), "arrivals")})
		}
		cpu, err := runArms(arms, name, seed, o)
		if err != nil {
			tb.Fatalf("brownout: %s: %v", name, err)
		}
		s.CPU = max(s.CPU, cpu)
		for _, a := range arms {
			s.Arms = append(s.Arms, a.measure())
		}
		if s.Inconclusive = s.busy(); s.Inconclusive != "" {
			break
		}
	}
	return s
}

// runArms runs arms at the same time, and returns how many processors they used.
func runArms(arms []*arm, scenario string, seed uint64, o Options) (cpu float64, err error) {
	defer func() {
		for _, a := range arms {
			a.close()
		}
	}()
	if err := each(arms, func(a *arm) error { return a.start(seed) }); err != nil {
		return 0, err
	}
	start := history.Now()
	for i, a := range arms {
		a.plan = plan{Start: start + int64(i)*int64(stagger), Slow: scenario == Slow}
		a.plan.From = a.plan.Start + int64(o.Healthy)
		a.plan.To = a.plan.From + int64(o.Trouble)
		a.plan.End = a.plan.To + int64(o.After)
	}
	if err := each(arms, func(a *arm) error { return a.run(scenario) }); err != nil {
		return 0, err
	}
	took := seconds(history.Now() - start)
	for _, a := range arms {
		cpu += a.cpu().Seconds() / took
	}
	return cpu, nil
}

// each calls f for all arms at the same time.
func each(arms []*arm, f func(a *arm) error) error {
	errs := make([]error, len(arms))
	var work sync.WaitGroup
	for i, a := range arms {
		work.Go(func() { errs[i] = f(a) })
	}
	work.Wait()
	return errors.Join(errs...)
}

// An arm is the processes of an Arm, and what they have recorded.
type arm struct {
	name     string
	log      string
	addr     string
	upstream *process
	clients  []*process
	dead     []*process // earlier upstreams
	plan     plan

	ended    int64      // the real end of the trouble
	report   report     // of all client processes, without their circuits
	circuits [][]change // of each client process
	arrivals []arrival
}

// An arrival is a line of the upstream's log.
type arrival struct {
	at      int64
	waiting int // requests in the queue
}

// start starts the processes, and returns when they are ready.
func (a *arm) start(seed uint64) (err error) {
	if a.addr, err = freeAddr(); err != nil {
		return err
	}
	if err := a.startUpstream(); err != nil {
		return err
	}
	a.clients = make([]*process, processes)
	errs := make([]error, processes)
	var work sync.WaitGroup
	for i := range processes {
		work.Go(func() {
			// The clients of all arms make their calls at the same times.
			c := config{Role: "client", Arm: a.name, Addr: a.addr, Seed: seed<<8 + uint64(i)}
			a.clients[i], errs[i] = start(c)
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

func (a *arm) startUpstream() (err error) {
	a.upstream, err = start(config{Role: "upstream", Arm: a.name, Addr: a.addr, Log: a.log})
	return err
}

// freeAddr returns an address with a free port. It is below the ports that the kernel gives to
// connections, so that no connection has it while the upstream is dead.
func freeAddr() (string, error) {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
		if err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// run runs the plan, and reads what the processes have recorded.
func (a *arm) run(scenario string) error {
	for _, p := range slices.Concat(a.clients, []*process{a.upstream}) {
		if err := p.begin(a.plan); err != nil {
			return err
		}
	}
	if err := a.trouble(scenario); err != nil {
		return err
	}
	reports, errs := make([]report, processes), make([]error, processes)
	var work sync.WaitGroup
	for i, p := range a.clients { // at the same time, since a process with the race detector ends slowly
		work.Go(func() { errs[i] = errors.Join(json.NewDecoder(p.out).Decode(&reports[i]), p.end()) })
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("client of %s: %w", a.name, err)
	}
	for _, r := range reports {
		a.report.Calls = append(a.report.Calls, r.Calls...)
		a.report.Attempts = append(a.report.Attempts, r.Attempts...)
		a.circuits = append(a.circuits, r.Circuit)
	}
	if err := a.upstream.end(); err != nil {
		return fmt.Errorf("upstream of %s: %w", a.name, err)
	}
	return a.readLog()
}

// trouble makes the trouble, and returns when it has ended.
func (a *arm) trouble(scenario string) error {
	sleepUntil(a.plan.From)
	switch scenario {
	case Slow:
		sleepUntil(a.plan.To)
		a.ended = a.plan.To
	case Hangs:
		if err := a.upstream.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		sleepUntil(a.plan.To)
		a.ended = history.Now()
		return a.upstream.cmd.Process.Signal(syscall.SIGCONT)
	case Killed:
		a.upstream.kill()
		a.dead = append(a.dead, a.upstream)
		sleepUntil(a.plan.To)
		if err := a.startUpstream(); err != nil {
			return err
		}
		a.ended = history.Now()
		return a.upstream.begin(a.plan)
	}
	return nil
}

func (a *arm) readLog() error {
	f, err := os.Open(a.log)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewReader(f)
	for {
		var at arrival
		_, err := fmt.Fscanf(b, "%d %d\n", &at.at, &at.waiting)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.log, err)
		}
		a.arrivals = append(a.arrivals, at)
	}
}

// cpu returns the processor time of all processes.
func (a *arm) cpu() (sum time.Duration) {
	for _, p := range slices.Concat(a.dead, a.clients, []*process{a.upstream}) {
		sum += p.cpu()
	}
	return sum
}

// close ends the processes that still run.
func (a *arm) close() {
	for _, p := range slices.Concat(a.clients, []*process{a.upstream}) {
		if p != nil && p.cmd.ProcessState == nil {
			p.kill()
		}
	}
}

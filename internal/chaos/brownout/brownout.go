// Package brownout is the simulation of benchmarks/storm with real processes. The upstream is a
// process that gets into trouble for ten seconds. Its clients are processes, too. They compare a
// retry.Transport with other ways to call the upstream: the arms of the experiment.
//
// An upstream has 5 workers, which take 10 ms for a request, and a queue of 600 places. It answers
// 503 if the queue is full. It processes requests even if their clients have gone. Its clients make
// 350 calls a second at random times, whether or not earlier ones have ended. So the upstream is
// busy for 70% of the time. Each arm has its own upstream and 5 client processes with 10 clients
// each. The clients of a process share the Transport that makes their calls. All arms have the same
// base: an http.Transport that fails an attempt without an answer after a second. Everything else
// has its defaults.
//
// There are three scenarios. In the first, service takes ten times as long. In the second, the
// process is stopped with SIGSTOP: the kernel accepts connections, nobody answers, and what has
// piled up is processed afterward. In the third, the process is killed with SIGKILL and started
// again after ten seconds.
package brownout

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A Result is what a run has measured. All times are in seconds.
type Result struct {
	Seed      uint64
	Scenarios []Scenario
}

// A Scenario is one kind of trouble. Two arms run at the same time, since more would keep two
// processors busy.
type Scenario struct {
	Name    string  // what the upstream does: "slow", "hangs" or "killed"
	Healthy float64 // the time before the trouble
	Trouble float64 // the time of the trouble, as planned
	After   float64 // the time from the planned end of the trouble to the end of the scenario
	Tries   int     // how often it was run; only the last one counts

	// Inconclusive is why the figures prove nothing. It is empty if they do.
	Inconclusive string

	CPU  float64 // how many processors the processes of two arms used, on average
	Arms []Arm
}

// An Arm is one way to call the upstream.
type Arm struct {
	Name       string
	Calls      int
	Good       int // calls that were answered with 200
	Unfinished int // calls that had not ended when the scenario ended
	Attempts   int // as the clients counted them
	Arrived    int // attempts in the upstream's own log

	// Late is the 99th percentile of the delays with which calls were made, in seconds. If it is
	// over 0.1, the machine was too busy for the figures of this arm to prove something.
	Late float64

	HealthyCalls, HealthyGood int // calls that were made before the trouble

	TroubleCalls    int     // calls that were made in the trouble
	TroubleAttempts int     // attempts that were made in the trouble, as the clients counted them
	TroubleArrived  int     // attempts that arrived in the trouble, in the upstream's own log
	Load            float64 // TroubleAttempts for each of TroubleCalls

	// Recovered reports whether the upstream worked as before when the scenario ended, and Recovery
	// is how long that took: from the end of the trouble to the first second in which the clients
	// got at least 95% of the good answers that they got before, relative to the calls, and in
	// which the queue was empty.
	Recovered bool
	Recovery  float64

	// Opened is the number of client processes whose circuit opened in the trouble. StillOpen is
	// the number of those whose circuit was open in the end. Recognized is the time from the
	// beginning of the trouble until the last of them opened its circuit, and Back is the time from
	// the end of the trouble until the last of them closed it. They are zero without a Breaker.
	Opened, StillOpen int
	Recognized, Back  float64

	Seconds []Second
}

// A Second has what happened in one second of a scenario.
type Second struct {
	Calls    int // calls that were made
	Attempts int // attempts that were made
	Arrived  int // attempts that arrived, in the upstream's own log
	Good     int // good answers, also of calls that were made earlier
}

// Options are the size of a run. The zero value is the full run.
type Options struct {
	Scenarios []string // if nil, all
	Arms      []string // if nil, all; the first two are always NoRetries and Seawall

	Healthy, Trouble, After time.Duration // if 0: 4, 10 and 8 seconds

	// Tries is how often to run a scenario if the machine is too busy. If 0, it is 3.
	Tries int
}

// The arms of an experiment.
const (
	NoRetries = "no retries"
	Retryable = "go-retryablehttp"
	Failsafe  = "failsafe-go"
	Seawall   = "seawall"
)

// The scenarios.
const (
	Slow   = "slow"
	Hangs  = "hangs"
	Killed = "killed"
)

// Arms returns the names of all arms.
func Arms() []string { return []string{NoRetries, Seawall, Retryable, Failsafe} }

// Scenarios returns the names of all scenarios.
func Scenarios() []string { return []string{Slow, Hangs, Killed} }

// The size of an arm.
const (
	workers   = 5
	service   = 10 * time.Millisecond
	slowdown  = 10
	queue     = 600
	processes = 5
	clients   = 10  // in each process
	rate      = 350 // calls a second in an arm
	patience  = time.Second
)

// Run runs all scenarios, in less than three minutes, and fails the test if a retry.Transport
// breaks its promises: see [Scenario.Findings]. The test binary must call [Main] first.
func Run(tb testing.TB, seed uint64) Result {
	tb.Helper()
	return RunWith(tb, seed, Options{})
}

// RunWith is Run with another size.
func RunWith(tb testing.TB, seed uint64, o Options) Result {
	tb.Helper()
	if o.Scenarios == nil {
		o.Scenarios = Scenarios()
	}
	if o.Arms == nil {
		o.Arms = Arms()
	}
	if o.Healthy == 0 {
		o.Healthy, o.Trouble, o.After = 4*time.Second, 10*time.Second, 8*time.Second
	}
	if o.Tries == 0 {
		o.Tries = 3
	}
	result := Result{Seed: seed}
	for i, name := range o.Scenarios {
		var s Scenario
		for try := range o.Tries {
			s = run(tb, name, seed+uint64(i*100+try), o)
			s.Tries = try + 1
			if s.Inconclusive == "" {
				break
			}
			tb.Logf("brownout: %s: inconclusive: %s", name, s.Inconclusive)
		}
		tb.Log(s.String())
		for _, finding := range s.Findings() {
			tb.Errorf("brownout: %s: %s", name, finding)
		}
		result.Scenarios = append(result.Scenarios, s)
	}
	return result
}

// The promises.
const (
	maxLoad   = 1.1 // attempts for each call in the trouble
	tolerance = 1.5 // seconds: the longest time to the next probe, and half a second for the measurement
)

// minGood returns the least part of the calls that are answered without retries, and that a
// retry.Transport must get answered too, in the whole scenario. A circuit that is open for a moment
// too long costs more after an upstream that did not answer at all.
func (s Scenario) minGood() float64 {
	if s.Name == Slow {
		return 0.95
	}
	return 0.9
}

// Findings returns how a retry.Transport with its defaults breaks its promises:
//
//   - It adds at most a tenth to the load in the trouble.
//   - The upstream recovers as fast as without retries. The difference is at most the second that a
//     probe may take, and half a second for the measurement.
//   - There are at least 90% as many good answers as without retries, and 95% if the upstream is
//     only slow.
//   - Every process opens its circuit in the trouble, and closes it afterward.
//
// In addition, the clients and the upstream must have counted the same. There are no findings if
// the Scenario is inconclusive.
func (s Scenario) Findings() []string {
	if s.Inconclusive != "" {
		return nil
	}
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	plain, ours := s.Arm(NoRetries), s.Arm(Seawall)
	if !ours.healthy() {
		add("calls failed before the trouble: %s", ours.health())
	}
	if ours.Load > maxLoad {
		add("%.2f attempts for each call in the trouble", ours.Load)
	}
	switch {
	case !ours.Recovered:
		add("the upstream did not recover; without retries it did in %.1f s", plain.Recovery)
	case ours.Recovery > plain.Recovery+tolerance:
		add("the upstream recovered in %.1f s; without retries in %.1f s", ours.Recovery, plain.Recovery)
	}
	if float64(ours.Good) < s.minGood()*float64(plain.Good) {
		add("%d good answers; without retries %d", ours.Good, plain.Good)
	}
	if ours.Opened < processes || ours.StillOpen > 0 {
		add("%d of %d processes opened their circuits, and %d did not close them",
			ours.Opened, processes, ours.StillOpen)
	}
	for _, a := range s.Arms {
		if s.Name == Slow && !about(a.Arrived, a.Attempts) {
			add("%s: the clients made %d attempts, and %d arrived", a.Name, a.Attempts, a.Arrived)
		}
	}
	return found
}

// about reports whether two counts differ by at most a twentieth.
func about(a, b int) bool { return 20*max(a-b, b-a) <= max(a, b) }

// Arm returns the arm with that name.
func (s Scenario) Arm(name string) Arm {
	for _, a := range s.Arms {
		if a.Name == name {
			return a
		}
	}
	panic("brownout: no arm " + name)
}

// String returns the scenario as a table.
func (s Scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s for %.0f s (try %d, %.1f processors)\n", s.Name, s.Trouble, s.Tries, s.CPU)
	fmt.Fprintf(&b, "%-17s %6s %6s %6s %6s %9s %7s  %s\n",
		"", "calls", "good", "load", "peak", "recovery", "late", "circuits")
	for _, a := range s.Arms {
		recovery, circuits, peak := fmt.Sprintf("> %.0f s", s.After-1), "", 0
		if a.Recovered {
			recovery = fmt.Sprintf("%.1f s", a.Recovery)
		}
		if a.Opened > 0 {
			circuits = fmt.Sprintf("%d open after %.1f s, closed %.1f s after the end",
				a.Opened, a.Recognized, a.Back)
		}
		for _, second := range a.Seconds {
			peak = max(peak, second.Attempts)
		}
		fmt.Fprintf(&b, "%-17s %6d %6d %6.2f %6d %9s %4.0f ms  %s\n",
			a.Name, a.Calls, a.Good, a.Load, peak, recovery, 1000*a.Late, circuits)
	}
	return b.String()
}

// Command report runs the benchmarks of package peers, interleaved, and holds them against the bars: make bench-peers.
//
// It writes what was measured to testdata/results.txt, in the format of benchstat, and what follows from that to
// docs/BENCHMARKS.md and docs/cost.svg. With -n it does not measure, but reads the results that are there.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A pass is a set of benchmarks that are run, one after the other, so many times over.
type pass struct {
	bench, skip string
	rounds      int
	time        string
}

var passes = []pass{
	{bench: ".", skip: "Flood|Memory|Server|Keys|Clients", rounds: 15, time: "80ms"},
	{bench: "Keys|Clients", rounds: 7, time: "100ms"},
	{bench: "Server", rounds: 10, time: "10000x"},
	{bench: "Memory", rounds: 1, time: "1x"},
	{bench: "Flood", rounds: 1, time: "1x"},
	{bench: "Flood/^(seawall|httprate|throttled)$", rounds: 2, time: "1x"},
}

const (
	rawFile  = "peers/report/testdata/results.txt" // under the module
	pageFile = "../docs/BENCHMARKS.md"
	plotFile = "../docs/cost.svg"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	only := flag.Bool("n", false, "do not measure: report on the results that are there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, !*only); err != nil {
		log.Print(err)
		os.Exit(1) //nolint:gocritic // exitAfterDefer: nothing is left to stop
	}
}

func run(ctx context.Context, measuring bool) error {
	if measuring {
		raw, err := measure(ctx)
		if err != nil {
			return err
		}
		if err := os.WriteFile(rawFile, raw, 0o600); err != nil {
			return err
		}
	}
	raw, err := os.ReadFile(rawFile)
	if err != nil {
		return err
	}
	res, err := parse(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	page, err := render(res)
	if err != nil {
		return err
	}
	fmt.Print(page)
	//nolint:gosec // G703: a constant
	if err := os.WriteFile(pageFile, []byte(page), 0o600); err != nil {
		return err
	}
	return os.WriteFile(plotFile, []byte(plot(res)), 0o600)
}

// measure returns benchstat's input.
func measure(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "bench-peers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "peers.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./peers") //nolint:gosec // G204: the path is ours
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	if err := header(ctx, &raw); err != nil {
		return nil, err
	}
	for _, p := range passes {
		for round := range p.rounds {
			log.Printf("%s  %s: round %d of %d", time.Now().Format(time.TimeOnly), p.bench, round+1, p.rounds)
			cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench="+p.bench, "-test.benchtime="+p.time, "-test.timeout=30m") //nolint:gosec // G204: ours
			if p.skip != "" {
				cmd.Args = append(cmd.Args, "-test.skip="+p.skip)
			}
			if round%2 == 1 {
				cmd.Env = append(os.Environ(), "BENCH_REVERSE=1")
			}
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, out)
			}
			keepResults(&raw, out)
		}
	}
	return raw.Bytes(), nil
}

// keepResults copies the lines that benchstat reads; the settings only once.
func keepResults(raw *bytes.Buffer, out []byte) {
	for line := range strings.Lines(string(out)) {
		setting := strings.Contains(line, ": ") && !strings.HasPrefix(line, "Benchmark")
		if strings.HasPrefix(line, "Benchmark") || setting && !bytes.Contains(raw.Bytes(), []byte(line)) {
			raw.WriteString(line)
		}
	}
}

// header writes what the numbers depend on, as settings of benchstat's format.
func header(ctx context.Context, w io.Writer) error {
	versions, err := exec.CommandContext(ctx, "go", append([]string{"list", "-m"}, compared...)...).Output() //nolint:gosec // G204: ours
	if err != nil {
		return err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "date: %s\ngo: %s\nkernel: Linux %sload-before: %s\nversions: %s\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), kernel, strings.Join(strings.Fields(string(load))[:3], " "),
		strings.ReplaceAll(strings.TrimSpace(string(versions)), "\n", ", "))
	return err
}

// Command report runs the benchmarks of package peers in many rounds. "make bench-peers"
// calls it.
//
// It writes the measurements to testdata/results.txt, in the format of benchstat. From
// these results it writes docs/BENCHMARKS.md and docs/cost.svg. With -n it does not
// measure, but uses the results that are already there.
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

	"github.com/seawall-go/seawall/internal/pgtest"
)

// A pass runs a set of benchmarks in a number of rounds.
type pass struct {
	bench, skip string
	rounds      int
	time        string
}

var passes = []pass{
	{bench: ".", skip: "Flood|Memory|Server|Keys|Clients|Redis|Postgres", rounds: 15, time: "80ms"},
	{bench: "Keys|Clients", rounds: 6, time: "100ms"},
	{bench: "Server", rounds: 10, time: "10000x"},
	{bench: "Redis", rounds: 12, time: "200ms"},
	{bench: "Postgres", rounds: 8, time: "200ms"},
	{bench: "Memory", rounds: 1, time: "1x"},
	{bench: "Flood", rounds: 1, time: "1x"},
	{bench: "Flood/^(seawall|httprate|throttled)$", rounds: 1, time: "1x"},
}

const (
	rawFile  = "peers/report/testdata/results.txt" // from the module's folder
	pageFile = "../docs/BENCHMARKS.md"
	plotFile = "../docs/cost.svg"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	only := flag.Bool("n", false, "use the results that are already there instead of measuring")
	rounds := flag.Int("rounds", 15, "the largest number of rounds of any pass, for a quick look")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, !*only, *rounds); err != nil {
		log.Print(err)
		os.Exit(1) //nolint:gocritic // exitAfterDefer: nothing is left to stop
	}
}

func run(ctx context.Context, measuring bool, rounds int) error {
	if measuring {
		raw, err := measure(ctx, rounds)
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
	//nolint:gosec // G703: a constant
	if err := os.WriteFile(pageFile, []byte(page), 0o600); err != nil {
		return err
	}
	return os.WriteFile(plotFile, []byte(plot(res)), 0o600)
}

// measure returns the output of all passes, for benchstat.
func measure(ctx context.Context, rounds int) ([]byte, error) {
	dir, err := os.MkdirTemp("", "bench-peers")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "peers.test")
	//nolint:gosec // G204: the path is ours
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./peers")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	if err := header(ctx, &raw); err != nil {
		return nil, err
	}
	for _, p := range passes {
		p.rounds = min(p.rounds, rounds)
		for round := range p.rounds {
			now := time.Now().Format(time.TimeOnly)
			log.Printf("%s  %s: round %d of %d", now, p.bench, round+1, p.rounds)
			out, err := p.run(ctx, binary, round%2 == 1)
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, out)
			}
			keepResults(&raw, out)
		}
	}
	return raw.Bytes(), nil
}

func (p pass) run(ctx context.Context, binary string, reverse bool) ([]byte, error) {
	args := []string{"-test.run=^$", "-test.bench=" + p.bench, "-test.benchtime=" + p.time}
	if p.skip != "" {
		args = append(args, "-test.skip="+p.skip)
	}
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // G204: ours
	if reverse {
		cmd.Env = append(os.Environ(), "BENCH_REVERSE=1")
	}
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

// keepResults copies the lines that benchstat reads. Settings are copied once.
func keepResults(raw *bytes.Buffer, out []byte) {
	for line := range strings.Lines(string(out)) {
		result := strings.HasPrefix(line, "Benchmark")
		setting := !result && strings.Contains(line, ": ")
		if result || setting && !bytes.Contains(raw.Bytes(), []byte(line)) {
			raw.WriteString(line)
		}
	}
}

// header writes the settings that the numbers depend on.
func header(ctx context.Context, w io.Writer) error {
	list := append([]string{"list", "-m"}, compared...)
	versions, err := exec.CommandContext(ctx, "go", list...).Output() //nolint:gosec // G204: ours
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
	redis, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return err
	}
	_, redisVersion, _ := strings.Cut(string(redis), " v=")
	bin, err := pgtest.Installed()
	if err != nil {
		return err
	}
	//nolint:gosec // G204: the path is not from outside
	postgres, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return err
	}
	_, postgresVersion, _ := strings.Cut(string(postgres), ") ") // postgres (PostgreSQL) 15.18
	_, err = fmt.Fprintf(w, "date: %s\ngo: %s\nredis: %s\npostgres: %s\nkernel: Linux %sload-before: %s\nversions: %s\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(),
		strings.Fields(redisVersion)[0], strings.Fields(postgresVersion)[0], kernel,
		strings.Join(strings.Fields(string(load))[:3], " "),
		strings.ReplaceAll(strings.TrimSpace(string(versions)), "\n", ", "))
	return err
}

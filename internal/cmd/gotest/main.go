// Gotest runs "go test" in several modules and says only what a person needs to read: one line a package, the output of what
// failed, and what was skipped.
//
//	gotest [-skips file] module... -- [go test flags and packages]
//
// It exits with status 1 when a test fails, when none ran, and, under CI=true, when a test was skipped that the file does not
// list. A line of that file is the package's import path, the test's name, and the reason why it may be skipped.
// With -v among go test's flags the output of tests that passed is shown too.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv("CI") == "true", os.Stdout, os.Stderr))
}

// run is main without the process around it. Its result is the exit status: 0, 1 for failures, 2 for wrong use.
func run(args []string, ci bool, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gotest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	skips := flags.String("skips", "", "file that lists the tests that may be skipped under CI=true")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	split := slices.Index(flags.Args(), "--")
	if split < 1 {
		fmt.Fprintln(stderr, "usage: gotest [-skips file] module... -- [go test flags and packages]")
		return 2
	}
	modules, testArgs := flags.Args()[:split], flags.Args()[split+1:]
	allowed, err := readSkips(*skips)
	if err != nil {
		fmt.Fprintln(stderr, "gotest:", err)
		return 2
	}

	rep := newReport(stdout, slices.Contains(testArgs, "-v"))
	for _, dir := range modules {
		failed := rep.failed
		if err := goTest(dir, testArgs, rep, stderr); err != nil {
			fmt.Fprintf(stderr, "gotest: in %s: go test %s: %v\n", dir, strings.Join(testArgs, " "), err)
			rep.failed = max(rep.failed, failed+1)
		}
	}
	unlisted := 0
	for _, skip := range rep.skips {
		reason, ok := allowed[skip.pkg+" "+skip.test]
		switch {
		case ok:
			fmt.Fprintf(stdout, "skipped, as listed (%s): %s %s\n", reason, skip.pkg, skip.test)
		case ci:
			fmt.Fprintf(stdout, "FAIL: skipped, and not listed in %q: %s %s\n%s", *skips, skip.pkg, skip.test, skip.output)
			unlisted++
		default:
			fmt.Fprintf(stdout, "skipped: %s %s\n%s", skip.pkg, skip.test, skip.output)
		}
	}
	if rep.passed+rep.failed == 0 {
		fmt.Fprintln(stdout, "FAIL: no test ran")
	}
	fmt.Fprintf(stdout, "%d passed, %d failed, %d skipped\n", rep.passed, rep.failed, len(rep.skips))
	if rep.passed == 0 || rep.failed > 0 || unlisted > 0 {
		return 1
	}
	return 0
}

func goTest(dir string, args []string, rep *report, stderr io.Writer) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := rep.read(out)
	if err := cmd.Wait(); err != nil {
		return err
	}
	return readErr
}

// readSkips reads the list of tests that may be skipped: "package test" to reason.
func readSkips(name string) (map[string]string, error) {
	allowed := make(map[string]string)
	if name == "" {
		return allowed, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("%s:%d: want a package, a test and a reason, have %q", name, n, line)
		}
		allowed[fields[0]+" "+fields[1]] = strings.Join(fields[2:], " ")
	}
	return allowed, lines.Err()
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of "go test -json"; see "go doc test2json" and "go help buildjson".
type event struct {
	Action     string
	Package    string
	Test       string
	Output     string
	ImportPath string // of a package that does not build
}

// report turns the events of test runs into what a person reads.
type report struct {
	out            io.Writer
	verbose        bool
	passed, failed int // tests, subtests and examples; what fails a package without failing a test of it counts as one
	skips          []skip
	failing        map[string]bool // packages with a failed test

	// output is what was printed so far, by package and then by test, "" for the package itself. What is over is removed.
	output map[string]map[string]*strings.Builder
}

type skip struct{ pkg, test, output string }

func newReport(out io.Writer, verbose bool) *report {
	return &report{out: out, verbose: verbose, failing: make(map[string]bool), output: make(map[string]map[string]*strings.Builder)}
}

// read reports the events that come from r until its end.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		switch {
		case len(line) == 0:
		case json.Unmarshal(line, &e) != nil:
			fmt.Fprintf(r.out, "%s", line) // go test itself has something to say
		case e.Test == "":
			r.packageEvent(e)
		default:
			r.testEvent(e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) testEvent(e event) {
	switch e.Action {
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") { // RUN, PAUSE, CONT, NAME
			r.keep(e)
		}
	case "pass":
		r.passed++
		if out := r.take(e.Package, e.Test); r.verbose {
			fmt.Fprint(r.out, out)
		}
	case "fail":
		r.failed++
		r.failing[e.Package] = true
		fmt.Fprint(r.out, r.take(e.Package, e.Test))
	case "skip":
		r.skips = append(r.skips, skip{e.Package, e.Test, r.take(e.Package, e.Test)})
	}
}

func (r *report) packageEvent(e event) {
	switch e.Action {
	case "output":
		r.keep(e)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "pass", "skip":
		for line := range strings.Lines(r.take(e.Package, "")) {
			if strings.HasPrefix(line, "ok ") && !strings.Contains(line, "[no tests to run]") {
				fmt.Fprint(r.out, line)
			}
		}
	case "fail":
		if !r.failing[e.Package] {
			r.failed++
		}
		// Tests that have not ended hold the stacks of a panic or a time-out.
		for _, test := range slices.Sorted(maps.Keys(r.output[e.Package])) {
			if test != "" {
				fmt.Fprint(r.out, r.take(e.Package, test))
			}
		}
		fmt.Fprint(r.out, r.take(e.Package, ""))
	}
}

func (r *report) keep(e event) {
	tests := r.output[e.Package]
	if tests == nil {
		tests = make(map[string]*strings.Builder)
		r.output[e.Package] = tests
	}
	if tests[e.Test] == nil {
		tests[e.Test] = new(strings.Builder)
	}
	tests[e.Test].WriteString(e.Output)
}

func (r *report) take(pkg, test string) string {
	b := r.output[pkg][test]
	delete(r.output[pkg], test)
	if b == nil {
		return ""
	}
	return b.String()
}

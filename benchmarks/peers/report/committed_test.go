package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func committed(t *testing.T) *results {
	t.Helper()
	res, err := parse(bytes.NewReader(read(t, "testdata/results.txt")))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestPageMatchesTheCommittedResults(t *testing.T) {
	t.Parallel()
	page, err := render(committed(t))
	if err != nil {
		t.Fatal(err)
	}
	if page != string(read(t, "../../../docs/BENCHMARKS.md")) {
		t.Error("docs/BENCHMARKS.md does not follow from the results: go run ./peers/report -n")
	}
	if plot(committed(t)) != string(read(t, "../../../docs/cost.svg")) {
		t.Error("docs/cost.svg does not follow from the results: go run ./peers/report -n")
	}
}

func TestEveryMeasuredSideIsOnThePage(t *testing.T) {
	t.Parallel()
	listed := make(map[string]bool)
	for _, s := range page {
		for _, r := range s.rows {
			for _, side := range r.sides {
				listed[r.bench+"/"+side.name] = true
			}
		}
	}
	for name := range committed(t).values {
		bench, _, _ := strings.Cut(name, "/")
		plotted := bench == panels[0].path || bench == panels[1].path
		if !listed[name] && !plotted {
			t.Errorf("Benchmark%s is not on the page", name)
		}
	}
}

func TestEveryPeerHasAVersion(t *testing.T) {
	t.Parallel()
	versions := committed(t).config["versions"]
	for _, module := range compared {
		if !strings.Contains(versions, module+" v") {
			t.Errorf("no version of %s", module)
		}
	}
}

func TestSeawallMakesNoErrors(t *testing.T) {
	t.Parallel()
	res, counted := committed(t), 0
	for name := range res.values {
		for _, errors := range res.of(name, failures) {
			if strings.HasSuffix(name, "/seawall") && errors > 0 {
				t.Errorf("Benchmark%s: %v errors in an operation", name, errors)
			}
			counted++
		}
	}
	if counted == 0 {
		t.Error("no errors were counted")
	}
}

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

func TestPageFollowsFromTheCommittedResults(t *testing.T) {
	t.Parallel()
	page, err := render(committed(t))
	if err != nil {
		t.Fatal(err)
	}
	if page != string(read(t, "../../../docs/BENCHMARKS.md")) {
		t.Error("docs/BENCHMARKS.md is not what the results say: go run ./peers/report -n")
	}
	if plot(committed(t)) != string(read(t, "../../../docs/cost.svg")) {
		t.Error("docs/cost.svg is not what the results say: go run ./peers/report -n")
	}
}

func TestEveryBarIsMeasuredAndEveryMissExplained(t *testing.T) {
	t.Parallel()
	res := committed(t)
	for _, p := range paths {
		if p.title == "" || len(p.bars) == 0 {
			t.Errorf("%s has no title or no bar", p.name)
		}
		for _, b := range p.bars {
			s, err := b.measured(res)
			switch {
			case err != nil:
				t.Errorf("%s: %v", p.title, err)
			case b.says == "":
				t.Errorf("%s has a bar without words", p.title)
			case s.Center > b.limit && b.why == "":
				t.Errorf("%s: %q is missed (%v) without a reason", p.title, b.says, s.Center)
			}
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

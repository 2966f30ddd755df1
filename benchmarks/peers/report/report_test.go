package main

import (
	"math"
	"strings"
	"testing"
)

const sample = `goos: linux
BenchmarkGet/seawall-2 	 100	 260 cpu-ns/op	 3 allocs/op
BenchmarkGet/fast-2 	 100	 200 cpu-ns/op	 2 allocs/op
BenchmarkGet/slow-2 	 100	 500 cpu-ns/op	 2 allocs/op
BenchmarkGet/bare-2 	 100	 100 cpu-ns/op	 2 allocs/op
BenchmarkGet/seawall-2 	 100	 400 cpu-ns/op	 3 allocs/op
BenchmarkGet/fast-2 	 100	 300 cpu-ns/op	 2 allocs/op
BenchmarkGet/slow-2 	 100	 600 cpu-ns/op	 2 allocs/op
BenchmarkGet/bare-2 	 100	 200 cpu-ns/op	 2 allocs/op
`

func TestSeawallIsComparedWithTheFastestCompositionInEachRound(t *testing.T) {
	t.Parallel()
	res, err := parse(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	r := row{bench: "Get", unit: processor, sides: []side{
		{name: "slow"},
		{name: "bare", lower: true},
		{name: "seawall"},
		{name: "fast"},
		{name: "unmeasured"},
	}}

	ratio, err := r.ratio(res, processor)

	if err != nil {
		t.Fatal(err)
	}
	if want := (260.0/200 + 400.0/300) / 2; math.Abs(ratio.Center-want) > 1e-9 {
		t.Errorf("ratio %v, want %v", ratio.Center, want)
	}
	var names []string
	for _, s := range r.sorted(res) {
		names = append(names, s.name)
	}
	if got := strings.Join(names, " "); got != "seawall bare fast slow" {
		t.Errorf("sides in the order %s", got)
	}
}

func TestARatioWithoutMeasurementsIsAnError(t *testing.T) {
	t.Parallel()
	res, err := parse(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []row{
		{bench: "Post", unit: processor, sides: []side{{name: "seawall"}, {name: "fast"}}},
		{bench: "Get", unit: processor, sides: []side{{name: "seawall"}, {name: "b", lower: true}}},
		{bench: "Get", unit: perKey, sides: []side{{name: "seawall"}, {name: "fast"}}},
	} {
		if _, err := r.ratio(res, r.unit); err == nil {
			t.Errorf("%s has a ratio in %s", r.bench, r.unit)
		}
	}
}

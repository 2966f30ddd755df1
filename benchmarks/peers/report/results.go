package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// results are all measurements: of a benchmark, by unit, one value a round. Benchmarks are called "Path/who"; units are those
// of benchfmt: sec/op, B/op, allocs/op.
type results struct {
	config map[string]string
	values map[string]map[string][]float64
}

func parse(r io.Reader) (*results, error) {
	res := &results{config: make(map[string]string), values: make(map[string]map[string][]float64)}
	reader := benchfmt.NewReader(r, "results.txt")
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, rec
		case *benchfmt.Result:
			res.add(rec)
		}
	}
	return res, reader.Err()
}

func (res *results) add(rec *benchfmt.Result) {
	for _, c := range rec.Config {
		res.config[c.Key] = string(c.Value)
	}
	name := rec.Name.String()
	if _, parts := rec.Name.Parts(); len(parts) > 0 {
		if last := string(parts[len(parts)-1]); last[0] == '-' {
			name = strings.TrimSuffix(name, last)
			res.config["gomaxprocs"] = last[1:]
		}
	}
	byUnit := res.values[name]
	if byUnit == nil {
		byUnit = make(map[string][]float64)
		res.values[name] = byUnit
	}
	for _, v := range rec.Values {
		byUnit[v.Unit] = append(byUnit[v.Unit], v.Value)
	}
}

// of returns the values of a benchmark, one a round.
func (res *results) of(name, unit string) []float64 {
	return res.values[name][unit]
}

// who are the contenders on a path, ours first, then as fast as they are.
func (res *results) who(path, unit string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(res.values)) {
		if p, who, _ := strings.Cut(name, "/"); p == path {
			names = append(names, who)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case a == "seawall":
			return -1
		case b == "seawall":
			return 1
		case res.median(path+"/"+a, unit) < res.median(path+"/"+b, unit):
			return -1
		}
		return 1
	})
	return names
}

func (res *results) median(name, unit string) float64 {
	return summarize(res.of(name, unit)).Center
}

// summarize gives the median and its 95 % confidence interval. Nothing is assumed of how measurements are distributed. Of a few
// measurements, which allow no such interval, it is the whole range.
func summarize(values []float64) benchmath.Summary {
	if len(values) == 0 {
		return benchmath.Summary{}
	}
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds) // sorts what it is given
	s := benchmath.AssumeNothing.Summary(sample, 0.95)
	s.Lo, s.Hi = max(s.Lo, sample.Values[0]), min(s.Hi, sample.Values[len(values)-1])
	return s
}

// each combines measurements of the same round.
func each(f func(v ...float64) float64, series ...[]float64) []float64 {
	rounds := len(series[0])
	for _, s := range series {
		rounds = min(rounds, len(s))
	}
	out := make([]float64, rounds)
	for i := range out {
		v := make([]float64, len(series))
		for j, s := range series {
			v[j] = s[i]
		}
		out[i] = f(v...)
	}
	return out
}

func quotient(v ...float64) float64 { return v[0] / v[1] }

// check tells what a bar needs and the results lack.
func (res *results) check(names []string, unit string) error {
	for _, name := range names {
		if len(res.of(name, unit)) == 0 {
			return fmt.Errorf("no %s of Benchmark%s", unit, name)
		}
	}
	return nil
}

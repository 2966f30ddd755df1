package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// results hold the measurements of each benchmark ("Stack/seawall") by unit, with one
// value per round, and the settings of the run.
type results struct {
	config map[string]string
	values map[string]map[string][]float64
}

func parse(r io.Reader) (*results, error) {
	res := &results{
		config: make(map[string]string),
		values: make(map[string]map[string][]float64),
	}
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
	if at := strings.LastIndexByte(name, '-'); at > 0 {
		name, res.config["gomaxprocs"] = name[:at], name[at+1:]
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

// of returns the values of a benchmark, one per round.
func (res *results) of(name, unit string) []float64 { return res.values[name][unit] }

func (res *results) median(name, unit string) float64 {
	return summarize(res.of(name, unit)).Center
}

// summarize returns the median and its 95% confidence interval, or the range if there are too few
// values for an interval.
func summarize(values []float64) benchmath.Summary {
	if len(values) == 0 {
		return benchmath.Summary{}
	}
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds) // sorts
	s := benchmath.AssumeNothing.Summary(sample, 0.95)
	s.Lo, s.Hi = max(s.Lo, sample.Values[0]), min(s.Hi, sample.Values[len(values)-1])
	return s
}

// ratios divides the values of the same round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// sorted returns the sides that were measured, with our side first and the others by
// their medians.
func (r row) sorted(res *results) []side {
	var sides []side
	for _, s := range r.sides {
		if len(res.of(r.bench+"/"+s.name, r.unit)) > 0 {
			sides = append(sides, s)
		}
	}
	slices.SortStableFunc(sides, func(a, b side) int {
		switch {
		case a.name == "seawall":
			return -1
		case b.name == "seawall":
			return 1
		case res.median(r.bench+"/"+a.name, r.unit) < res.median(r.bench+"/"+b.name, r.unit):
			return -1
		}
		return 1
	})
	return sides
}

// best returns the fastest side of others that does the whole job, or nil.
func (r row) best(res *results) *side {
	for _, s := range r.sorted(res) {
		if s.name != "seawall" && !s.ours && !s.lower {
			return &s
		}
	}
	return nil
}

// ratio returns our value divided by that of the best other side, in the given unit.
func (r row) ratio(res *results, unit string) (benchmath.Summary, error) {
	best := r.best(res)
	if best == nil {
		return benchmath.Summary{}, fmt.Errorf("nothing to compare %s with", r.bench)
	}
	return r.ratioTo(res, best.name, unit)
}

// ratioTo returns our value divided by that of another side, in the given unit.
func (r row) ratioTo(res *results, side, unit string) (benchmath.Summary, error) {
	ours, theirs := res.of(r.bench+"/seawall", unit), res.of(r.bench+"/"+side, unit)
	if len(ours) == 0 || len(theirs) == 0 {
		return benchmath.Summary{}, fmt.Errorf("no %s of %s", unit, r.bench)
	}
	return summarize(ratios(ours, theirs)), nil
}

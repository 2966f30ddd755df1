package main

import (
	"fmt"
	"strings"

	"golang.org/x/perf/benchmath"
	"golang.org/x/perf/benchunit"
)

const introduction = `# Benchmarks

Seawall beside the libraries that do one of its jobs each, beside the bare thing, and beside a floor: the steps that a job cannot
do without, in the fewest lines. ` + "`make bench-peers`" + ` measures all of it anew, in ten minutes at most, and writes this page and
the plot. The benchmarks are in [benchmarks/peers](../benchmarks/peers), the measurements, as
[benchstat](https://pkg.go.dev/golang.org/x/perf/cmd/benchstat) reads them, in
[results.txt](../benchmarks/peers/report/testdata/results.txt).

How it is measured: every contender runs for a few tens of milliseconds, one after the other, and then all of them again, in
reverse order, many times over. A ratio is taken within each round, so that what else the machine does meanwhile hits both sides.
Times are processor time, the garbage collector's included, where nothing else is said: what an operation costs, on a busy
machine too. They are medians over the rounds; what follows ± and the intervals are the 95 % confidence intervals of the median,
computed by golang.org/x/perf/benchmath, which assumes nothing of the distribution (or, of fewer than six rounds, the range). The ResponseWriter discards and the
RoundTripper is in memory: what shows is the library. In a service the network and the handler dwarf all of it.
`

const flat = `A request that gets its id, is tracked and limited by its key; one with an Idempotency-Key that is known, which is answered from
memory; a call through a Transport. The medians, and their 95 % confidence intervals. What a million keys cost more than one is
waiting for memory.
`

const notes = `"against ours" is how many times as much as Seawall.

- The decision: "allow" is the bare rate.Limiter.Allow of golang.org/x/time, on which ours is built, without a table of keys. In
  parallel it is elapsed time.
- The middleware: ten thousand callers in turn, each allowed 1,000 requests a second. failsafe's has one bucket for all and
  sends no headers. Denied, ours answers with the JSON error, its headers and the request id; the peers with a line of text.
- The flood: five million keys of one request each, at default settings; one million for ulule, tollbooth and sethvargo, which
  keep every key. Of the memory of a million keys, throttled keeps 65,536 keys, and httprate a hash of each, for two windows.
- The Transport: only ours makes an Idempotency-Key. gobreaker-window is gobreaker in its two-step form with a rolling window.
- Idempotency: the floor reads and hashes the body, looks the key up under a lock and writes the answer, no more. fiber's, on
  fasthttp, neither reads the body nor compares it: a key answers another request too.
- The server: processor time of the server's process for a GET of 1 KiB, with 64 connections from another process. Ours is the full Stack:
  id, access log (to a handler that discards), recovery, time-out, bounds, principal, rate limit, idempotency. chi's is
  RequestID, Recoverer and httprate.
`

// render writes the page.
func render(res *results) (string, error) {
	var b strings.Builder
	b.WriteString(introduction)
	fmt.Fprintf(&b, "\nMeasured on %s: %s, %s, %s, %s/%s, %s. Load before: %s.\n\nThe peers: %s.\n",
		res.config["date"], res.config["cpu"], plural(res.config["gomaxprocs"], "processor"), res.config["kernel"],
		res.config["goos"], res.config["goarch"], res.config["go"], res.config["load-before"], res.config["versions"])
	b.WriteString("\n## The bars\n\n")
	if err := writeBars(&b, res); err != nil {
		return "", err
	}
	b.WriteString("\n## All measurements\n\n" + notes + "\n")
	writeMeasurements(&b, res)
	b.WriteString("\n## Costs are flat\n\n" + flat + "\n![ns of processor time a request, by number of keys and of clients](cost.svg)\n")
	return b.String(), nil
}

func plural(n, noun string) string {
	if n == "1" {
		return n + " " + noun
	}
	return n + " " + noun + "s"
}

// writeBars also says why a bar is missed.
func writeBars(b *strings.Builder, res *results) error {
	rows := [][]string{{"path", "bar", "measured", "95 % interval", ""}}
	var reasons []string
	for _, p := range paths {
		for i, bar := range p.bars {
			s, err := bar.measured(res)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			title := p.title
			if i > 0 {
				title = ""
			}
			verdict := "ok"
			if s.Center > bar.limit {
				verdict = "**MISSED**"
				reasons = append(reasons, fmt.Sprintf("- %s, %s: %s\n", p.title, bar.says, bar.why))
			}
			rows = append(rows, []string{title, bar.says, number(s.Center), number(s.Lo) + " to " + number(s.Hi), verdict})
		}
	}
	writeTable(b, rows)
	if len(reasons) > 0 {
		b.WriteString("\nWhy bars are missed:\n\n" + strings.Join(reasons, ""))
	}
	return nil
}

func (b *bar) measured(res *results) (benchmath.Summary, error) {
	names, unit := b.of.needs(res)
	if err := res.check(names, unit); err != nil {
		return benchmath.Summary{}, err
	}
	var series [][]float64
	for _, name := range names {
		series = append(series, res.of(name, unit))
	}
	return summarize(each(b.of.f, series...)), nil
}

func writeMeasurements(b *strings.Builder, res *results) {
	rows := [][]string{{"path", "who", "median", "±", "against ours", "allocations", "peak memory"}}
	for _, p := range paths {
		for i, who := range res.who(p.name, p.unit) {
			name := p.name + "/" + who
			s := summarize(res.of(name, p.unit))
			title := p.title
			if i > 0 {
				title = ""
			}
			against := summarize(each(quotient, res.of(name, p.unit), res.of(p.name+"/seawall", p.unit)))
			rows = append(rows, []string{title, who, quantity(s.Center, p.unit), s.PctRangeString(), number(against.Center) + "x",
				optional(res, name, allocated), optional(res, name, "peak-RSS-bytes")})
		}
	}
	writeTable(b, rows)
}

func optional(res *results, name, unit string) string {
	if len(res.of(name, unit)) == 0 {
		return ""
	}
	return quantity(res.median(name, unit), unit)
}

func quantity(v float64, unit string) string {
	switch unit {
	case allocated:
		return fmt.Sprintf("%.0f", v)
	case "B/key":
		return fmt.Sprintf("%.0f B", v)
	case "peak-RSS-bytes":
		return fmt.Sprintf("%.0f MB", v/1e6)
	}
	return benchunit.Scale(v, benchunit.ClassOf(unit)) + "s"
}

func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1f M", v/1e6)
	case v == float64(int(v)):
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// writeTable aligns the columns, so that the table can be read on a terminal too.
func writeTable(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(b, "| %-*s ", width[i], cell)
		}
		b.WriteString("|\n")
		if n == 0 {
			for i := range row {
				b.WriteString("|" + strings.Repeat("-", width[i]+2))
			}
			b.WriteString("|\n")
		}
	}
}

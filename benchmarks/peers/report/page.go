package main

import (
	"cmp"
	"fmt"
	"strings"

	"golang.org/x/perf/benchmath"
	"golang.org/x/perf/benchunit"
)

const introduction = `# Benchmarks

This page compares Seawall with what one would use instead: other libraries, composed so that both
sides do the same job. A test for each job asserts that the sides give the same answers. In most
tables, each side runs for some tens of milliseconds in each of many rounds. A ratio is the median
over these rounds, with its 95% confidence interval in parentheses. Unless a table says otherwise,
times are processor time for one operation, including garbage collection but no network. In a
service, the network and the handler take far longer.
`

const method = `## Method

- ` + "`make bench-peers`" + ` measures everything again in fifteen minutes and writes this page.
- Handlers write to a ResponseWriter that discards the response, and clients use a RoundTripper that
  answers from memory.
- Every second round runs the sides in reverse order, so that no side always follows the same one.
- A ratio divides values of the same round, so that other load on the machine affects both sides.
- The intervals are those of [benchmath](https://pkg.go.dev/golang.org/x/perf/benchmath), which
  assumes no distribution. With fewer than six rounds, an interval is the range of the values.
- Peers are configured as in their READMEs. A *lower bound* does less than the whole job, as its
  description says. It shows how much the rest of the job costs.
- All sides with Redis use the same redis-server, which writes nothing to disk, over loopback. Each
  has a client of go-redis with its default options, except for 64 connections, so that no caller
  waits for one. Seawall's limiter waits for a reply as long as the others: three seconds instead of
  its default of 50 milliseconds, which a busy machine can exceed. httprate-redis and rueidislimiter
  are missing, because the module proxy that these benchmarks are built with does not have them.
- All sides with PostgreSQL use the same server, over loopback, with its default settings, except
  that autovacuum is off. The clients have a pool of 32 connections of pgx, one for each caller.
  Every side has its own tables. A test lists the statements and round trips of each side and
  counts its commits.
- fiber's idempotency middleware does not compare request bodies, so the comparison is added by
  hand. There is also a middleware for net/http that compares them. It is still young,
  and is not measured.

The code is in [benchmarks/peers](../benchmarks/peers). The measurements are in
[results.txt](../benchmarks/peers/report/testdata/results.txt), in the format of
[benchstat](https://pkg.go.dev/golang.org/x/perf/cmd/benchstat). The ratios that must not get worse
are in [expectations_test.go](../benchmarks/peers/report/expectations_test.go).
`

const flat = `## Costs are flat

The plots show the cost of a rate-limited request, of a replay, and of a call through a Transport.
The cost depends little on the number of known keys and on the number of clients that send at the
same time. The points are medians with their 95% confidence intervals. With a million keys, a
request also waits for memory that is not in a processor cache.

![processor time of a request by the number of keys and of clients](cost.svg)

`

// render returns the page.
func render(res *results) (string, error) {
	var b strings.Builder
	b.WriteString(introduction)
	fmt.Fprintf(&b, "\nMeasured on %s with %s: %s, %s processors,\n%s, %s/%s, Redis %s, PostgreSQL %s,\nload average before the run %s.\n",
		res.config["date"], res.config["go"], res.config["cpu"], res.config["gomaxprocs"],
		res.config["kernel"], res.config["goos"], res.config["goarch"], res.config["redis"],
		res.config["postgres"], res.config["load-before"])
	b.WriteString("\n## In short\n\nIn this table, Seawall is faster if the ratio of times is below 1. The tables further down have the\ninverse: there, Seawall is faster if the ratio of another side is above 1.\n\n")
	if err := writeSummary(&b, res); err != nil {
		return "", err
	}
	for _, s := range page {
		fmt.Fprintf(&b, "\n## %s\n", s.title)
		described := make(map[string]bool)
		for _, r := range s.rows {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", r.title, wrap(r.does))
			writeSides(&b, res, r, described)
		}
	}
	b.WriteString("\n" + flat + method)
	fmt.Fprintf(&b, "\n%s\n", wrap("Versions: "+res.config["versions"]+"."))
	return b.String(), nil
}

// writeSummary compares Seawall with the fastest composition of each job. It leaves out
// jobs that have only lower bounds.
func writeSummary(b *strings.Builder, res *results) error {
	table := [][]string{{
		"job", "time, ours / theirs", "allocations, ours / theirs", "theirs (the fastest)",
	}}
	for _, s := range page {
		for _, r := range s.rows {
			best := r.best(res)
			if best == nil || r.unit == perKey {
				continue
			}
			ratio, err := r.ratio(res, r.unit)
			if err != nil {
				return err
			}
			counts := ""
			if ours := r.value(res, "seawall", allocations); ours != "" {
				counts = ours + " / " + r.value(res, best.name, allocations)
			}
			table = append(table, []string{
				r.title, "**" + number(ratio.Center) + "**" + interval(ratio), counts,
				best.heading(),
			})
		}
	}
	writeTable(b, table)
	return nil
}

// writeSides writes the table of a row, with our side first and the others by time, and
// then the descriptions of the sides.
func writeSides(b *strings.Builder, res *results, r row, described map[string]bool) {
	what := "time"
	if r.unit == perKey {
		what = "memory"
	}
	table := [][]string{{
		"", what + " / Seawall's", what, "client's CPU", "server's CPU / Seawall's", "server's CPU",
		"round trips", "errors", "allocations", "peak memory",
	}}
	for _, s := range r.sorted(res) {
		heading := s.heading()
		if s.lower {
			heading += " (lower bound)"
		}
		line := []string{heading, r.relative(res, s, r.unit), r.value(res, s.name, r.unit), "", "", ""}
		if r.unit == elapsed || r.unit == latency {
			line[3] = r.value(res, s.name, processor)
			line[4], line[5] = r.relative(res, s, serverTime), r.value(res, s.name, serverTime)
		}
		for _, unit := range []string{roundTrips, failures, allocations, peakMemory} {
			line = append(line, r.value(res, s.name, unit))
		}
		table = append(table, line)
	}
	writeTable(b, table)
	writeDescriptions(b, r, described)
}

// relative returns the ratio of a side's measurements to Seawall's, or "" if there are none.
func (r row) relative(res *results, s side, unit string) string {
	values := ratios(res.of(r.bench+"/"+s.name, unit), res.of(r.bench+"/seawall", unit))
	switch {
	case len(values) == 0:
		return ""
	case s.name == "seawall":
		return "1"
	}
	ratio := summarize(values)
	if ratio.Center > 1000 { // ours is almost nothing
		return "over 1000"
	}
	return number(ratio.Center) + interval(ratio)
}

// writeDescriptions lists the descriptions of the sides. A section has each of them once.
func writeDescriptions(b *strings.Builder, r row, described map[string]bool) {
	var list strings.Builder
	for _, s := range r.sides {
		line := "- " + s.heading() + ": " + s.consists + "."
		if s.consists != "" && !described[line] {
			described[line] = true
			list.WriteString(strings.ReplaceAll(wrap(line), "\n", "\n  ") + "\n")
		}
	}
	if list.Len() > 0 {
		b.WriteString("\n" + list.String())
	}
}

func number(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }

// interval returns the confidence interval of a ratio in brackets, or "" after a single round.
func interval(ratio benchmath.Summary) string {
	if ratio.Lo == ratio.Hi {
		return ""
	}
	return " (" + number(ratio.Lo) + " to " + number(ratio.Hi) + ")"
}

func (s side) heading() string {
	if s.name == "seawall" {
		return "**Seawall**"
	}
	return cmp.Or(s.title, s.name)
}

// value returns the median of a measurement, or "" if there is none.
func (r row) value(res *results, side, unit string) string {
	values := res.of(r.bench+"/"+side, unit)
	if len(values) == 0 {
		return ""
	}
	v := summarize(values).Center
	switch unit {
	case allocations:
		return fmt.Sprintf("%.0f", v)
	case perKey:
		return fmt.Sprintf("%.0f B", v)
	case roundTrips:
		return fmt.Sprintf("%.2f", v)
	case failures:
		if v == 0 {
			return ""
		}
		return fmt.Sprintf("%.0f%%", v*100)
	case peakMemory:
		return fmt.Sprintf("%.0f MB", v/1e6)
	}
	return benchunit.Scale(v, benchunit.ClassOf(unit)) + "s"
}

// writeTable aligns the columns, so that the table is also easy to read on a terminal. It
// omits empty columns.
func writeTable(b *strings.Builder, table [][]string) {
	width := make([]int, len(table[0]))
	for _, line := range table[1:] {
		for i, cell := range line {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for n, line := range table {
		for i, cell := range line {
			if width[i] > 0 {
				width[i] = max(width[i], len(table[0][i]))
				fmt.Fprintf(b, "| %-*s ", width[i], cell)
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i := range line {
			if width[i] > 0 {
				b.WriteString("|" + strings.Repeat("-", width[i]+2))
			}
		}
		b.WriteString("|\n")
	}
}

// wrap breaks text into lines of at most 100 columns.
func wrap(text string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > 98:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

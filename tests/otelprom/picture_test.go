package otelprom_test

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// drawn are the panels of a picture, in three rows.
var drawn = []string{
	"Errors by code", "Denied share", "Limiter failures",
	"Keyed requests by outcome", "Waiting time", "Store failures",
	"Amplification", "Budget tokens", "Open circuits",
}

// The size of a plot, and of the cell around it, which has its title and its legend.
const (
	plotWidth, plotHeight = 300, 110
	cellWidth, cellHeight = 370, 190
	legendLines           = 3
)

// The colors also differ in brightness.
var colors = [...]string{"#0b3d91", "#ff9d2e", "#9467bd", "#4aa3df", "#2ca02c", "#888888"}

// plot is a panel with the data of one situation.
type plot struct {
	panel
	lines []plotLine
}

type plotLine struct {
	name string
	series
}

// draw returns a picture of each situation, as SVG. The scales of all pictures are the same.
func draw(t *testing.T, s storm, all []panel) map[string]string {
	t.Helper()
	pictures := make(map[string]*strings.Builder)
	for job := range symptoms {
		pictures[job] = new(strings.Builder)
		fmt.Fprintf(pictures[job], `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n"+
			`<rect width="100%%" height="100%%" fill="white"/>`+"\n", 3*cellWidth, 3*cellHeight)
	}
	for i, title := range drawn {
		at := slices.IndexFunc(all, func(p panel) bool { return p.Title == title })
		require.GreaterOrEqual(t, at, 0, title)
		plots, top := make(map[string]plot), 0.0
		for job := range symptoms {
			plots[job] = s.plot(t, all[at], job)
			top = max(top, plots[job].top())
		}
		for job, p := range plots {
			fmt.Fprintf(pictures[job], `<g transform="translate(%d %d)">`+"\n", i%3*cellWidth+45, i/3*cellHeight+30)
			p.draw(pictures[job], s, scale(top))
			pictures[job].WriteString("</g>\n")
		}
	}
	done := make(map[string]string)
	for job, b := range pictures {
		done[job] = b.String() + "</svg>\n"
	}
	return done
}

func (s storm) plot(t *testing.T, p panel, job string) plot {
	t.Helper()
	drawing := plot{panel: p}
	for _, q := range p.Targets {
		for _, one := range s.during(t, expand(q.Expr, job), s.begin, s.end) {
			drawing.lines = append(drawing.lines, plotLine{q.name(one), one})
		}
	}
	// Lines with more in them come first, so that the legend has them.
	slices.SortStableFunc(drawing.lines, func(a, b plotLine) int {
		return -strings.Compare(fmt.Sprintf("%020.6f", a.sum()), fmt.Sprintf("%020.6f", b.sum()))
	})
	return drawing
}

func (l plotLine) sum() (sum float64) {
	for _, p := range l.points {
		sum += p.value
	}
	return sum
}

func (p plot) top() (top float64) {
	for _, l := range p.lines {
		for _, point := range l.points {
			top = max(top, point.value)
		}
	}
	return top
}

// scale returns a round number that is not less than top.
func scale(top float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(max(top, 1e-3))))
	for _, factor := range []float64{1, 2, 3, 5} {
		if factor*unit >= top {
			return factor * unit
		}
	}
	return 10 * unit
}

func (p plot) draw(b *strings.Builder, s storm, top float64) {
	from := float64(s.begin.UnixMilli()) / 1000
	length := s.end.Sub(s.begin).Seconds()
	x := func(at float64) float64 { return (at - from) / length * plotWidth }
	y := func(value float64) float64 { return plotHeight - value/top*plotHeight }

	unit := map[string]string{"reqps": "per second", "percentunit": "", "s": "seconds"}[p.FieldConfig.Defaults.Unit]
	fmt.Fprintf(b, `<text y="-10" font-size="14" font-weight="bold">%s <tspan fill="#777" font-size="11" font-weight="normal">%s</tspan></text>`+"\n", p.Title, unit)
	begin, over := s.trouble.Sub(s.begin).Seconds(), s.over.Sub(s.begin).Seconds()
	fmt.Fprintf(b, `<rect x="%.1f" width="%.1f" height="%d" fill="#eee"/>`+"\n", begin/length*plotWidth, (over-begin)/length*plotWidth, plotHeight)
	p.drawRed(b, s, top, y)
	for i := range 3 {
		value := top * float64(i) / 2
		fmt.Fprintf(b, `<path d="M0 %.1f h%d" stroke="#ccc"/><text x="-6" y="%.1f" text-anchor="end" fill="#555">%g</text>`+"\n", y(value), plotWidth, y(value)+4, value)
	}
	shown := 0
	for i, l := range p.lines {
		color := colors[i%len(colors)]
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, color)
		for _, point := range l.points {
			fmt.Fprintf(b, "%.1f,%.1f ", x(point.at), y(point.value))
		}
		b.WriteString(`"/>` + "\n")
		if l.sum() > 0 && shown < 2*legendLines {
			left, line := shown%2*plotWidth/2, plotHeight+18+shown/2*14
			fmt.Fprintf(b, `<path d="M%d %d h14" stroke="%s" stroke-width="3"/><text x="%d" y="%d" font-size="11">%s</text>`+"\n",
				left, line-4, color, left+18, line, html.EscapeString(l.name))
			shown++
		}
	}
}

// bad reports whether a value is in the red area. If the lines of a panel are red, all values but
// zero are bad.
func (p panel) bad(value float64) bool {
	defaults := p.FieldConfig.Defaults
	if steps := defaults.Thresholds.Steps; len(steps) == 2 {
		return (steps[1].Color == "red") == (value > *steps[1].Value)
	}
	return defaults.Color.FixedColor == "red" && value > 0
}

// drawRed draws the red area, and a red frame if a line is bad during half of the trouble.
func (p plot) drawRed(b *strings.Builder, s storm, top float64, y func(float64) float64) {
	if steps := p.FieldConfig.Defaults.Thresholds.Steps; len(steps) == 2 {
		edge := y(min(*steps[1].Value, top))
		begin, height := 0.0, edge // above the edge
		if steps[1].Color != "red" {
			begin, height = edge, plotHeight-edge
		}
		fmt.Fprintf(b, `<rect y="%.1f" width="%d" height="%.1f" fill="#d62728" fill-opacity="0.1"/><path d="M0 %.1f h%d" stroke="#d62728" stroke-dasharray="4 3"/>`+"\n",
			begin, plotWidth, height, edge, plotWidth)
	}
	for _, l := range p.lines {
		seconds := 0.0
		for _, point := range l.points {
			if p.bad(point.value) {
				seconds += 0.5
			}
		}
		if seconds > s.over.Sub(s.trouble).Seconds()/2 {
			fmt.Fprintf(b, `<rect x="-40" y="-26" width="%d" height="%d" rx="6" fill="none" stroke="#d62728" stroke-width="2.5"/>`+"\n", cellWidth-15, cellHeight-8)
			return
		}
	}
}

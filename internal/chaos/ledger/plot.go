package ledger

import (
	"fmt"
	"math"
	"strings"
)

// style gives the plots colors for a light and for a dark page.
const style = `<style>
text{fill:#57606a}.title{font-weight:bold;font-size:14px;fill:#1f2328}line,path{fill:none;stroke:#57606a}
.grid{stroke-opacity:.25}.curve{stroke-width:2;stroke-linejoin:round}.dashed{stroke-dasharray:6 4}
.shade{fill:#57606a;fill-opacity:.1}.heat{fill:#bc4c00}.strong{fill:#fff}.weak{fill:#1f2328}
.c0{stroke:#0969da}.c1{stroke:#bc4c00}.c2{stroke:#1a7f37}.c3{stroke:#8250df}.c4{stroke:#bf3989}.c5{stroke:#9a6700}
@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#f0f6fc}line,path{stroke:#9198a1}
.shade{fill:#9198a1}.heat{fill:#f0883e}.strong{fill:#0d1117}.weak{fill:#f0f6fc}
.c0{stroke:#4493f8}.c1{stroke:#f0883e}.c2{stroke:#3fb950}.c3{stroke:#ab7df8}.c4{stroke:#db61a2}.c5{stroke:#d29922}}
</style>
`

// svg returns an image of a size, with what draw draws.
func svg(width, height int, draw func(b *strings.Builder)) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="12">`+"\n", width, height)
	b.WriteString(style)
	draw(&b)
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// An axis is linear unless scale is set.
type axis struct {
	label string
	max   float64
	ticks []tick
	scale func(v float64) float64 // from 0 to 1
}

type tick struct {
	at    float64
	label string
}

func (a axis) place(v float64) float64 {
	if a.scale != nil {
		return min(max(a.scale(v), 0), 1)
	}
	return min(v/a.max, 1)
}

// upTo returns a linear axis from 0 to a value, with three to seven ticks. If round is set, it ends
// with the next tick.
func upTo(v float64, label string, round bool) axis {
	step := 1.0
	for i := 0; v/step > 6; i++ {
		step *= []float64{2, 2.5, 2}[i%3] // 1, 2, 5, 10
	}
	if round {
		v = step * math.Ceil(v/step)
	}
	a := axis{label: label, max: v}
	for at := 0.0; at <= v; at += step {
		a.ticks = append(a.ticks, tick{at, thousands(int(at))})
	}
	return a
}

// A chart has curves over a common x axis.
type chart struct {
	title  string
	x, y   axis
	curves []curve
	shade  [2]float64 // a part of the x axis
}

type curve struct {
	name   string
	points [][2]float64
	dashed bool
}

// The room around a plot.
const plotLeft, plotTop, plotBottom, plotRight = 60, 50, 46, 28

// draw draws a chart in a rectangle.
func (c chart) draw(b *strings.Builder, left, top, width, height int) {
	right, bottom := float64(width-plotRight), float64(height-plotBottom)
	x := func(v float64) float64 { return plotLeft + (right-plotLeft)*c.x.place(v) }
	y := func(v float64) float64 { return bottom - (bottom-plotTop)*c.y.place(v) }

	fmt.Fprintf(b, `<g transform="translate(%d %d)">`+"\n", left, top)
	fmt.Fprintf(b, `<text class="title" x="%d" y="16">%s</text><text x="%d" y="36">%s</text>`+"\n",
		plotLeft, c.title, plotLeft, c.y.label)
	if c.shade[1] > 0 {
		fmt.Fprintf(b, `<rect class="shade" x="%.1f" width="%.1f" y="%d" height="%.1f"/>`+"\n",
			x(c.shade[0]), x(c.shade[1])-x(c.shade[0]), plotTop, bottom-plotTop)
	}
	for _, t := range c.y.ticks {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%.0f" y1="%.1f" y2="%.1f"/>`,
			plotLeft, right, y(t.at), y(t.at))
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft-8, y(t.at)+4, t.label)
	}
	for _, t := range c.x.ticks {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x(t.at), bottom+18, t.label)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
		(plotLeft+right)/2, height-8, c.x.label)
	for i, l := range c.curves {
		var points []string
		for _, p := range l.points {
			points = append(points, fmt.Sprintf("%.1f %.1f", x(p[0]), y(p[1])))
		}
		if len(points) > 0 {
			fmt.Fprintf(b, `<path class="%s" d="M%s"/>`+"\n", l.class(i), strings.Join(points, " L"))
		}
	}
	b.WriteString("</g>\n")
}

// class returns the class of the curve at a place in a chart.
func (l curve) class(i int) string {
	class := fmt.Sprintf("curve c%d", i)
	if l.dashed {
		class += " dashed"
	}
	return class
}

// drawLegend draws the names of curves in a line.
func drawLegend(b *strings.Builder, x, y int, curves []curve) {
	for i, l := range curves {
		fmt.Fprintf(b, `<path class="%s" d="M%d %dh14"/><text x="%d" y="%d">%s</text>`+"\n",
			l.class(i), x, y-4, x+20, y, l.name)
		x += 46 + 6*len(l.name)
	}
}

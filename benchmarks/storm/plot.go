package storm

import (
	"fmt"
	"strings"
)

// panel is one plot: lines over a common x axis.
type panel struct {
	title, xLabel, yLabel string
	xMax, yMax            float64
	xStep, yStep          float64
	lines                 []line
	shade                 [2]float64 // the part of the x axis to shade
}

type line struct {
	name   string
	points [][2]float64
}

// The colors also differ in brightness, for printers without colors and for readers who
// cannot tell the colors apart.
var colors = [...]string{"#888888", "#d62728", "#ff9d2e", "#9467bd", "#4aa3df", "#0b3d91"}

const (
	panelWidth, panelHeight = 460, 300
	marginLeft, marginTop   = 60, 50
)

// svg draws panels side by side, with one legend.
func svg(panels ...panel) string {
	var b strings.Builder
	width := len(panels)*(panelWidth+marginLeft+20) + 20
	height := marginTop + panelHeight + 110
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for i, p := range panels {
		x := i*(panelWidth+marginLeft+20) + marginLeft
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", x, marginTop)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	for i, l := range panels[0].lines {
		x, y := marginLeft+i%3*240, height-38+i/3*22
		fmt.Fprintf(&b, `<path d="M%d %d h24" stroke="%s" stroke-width="3"/>`+
			`<text x="%d" y="%d">%s</text>`+"\n", x, y-4, colors[i], x+32, y, l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) draw(b *strings.Builder) {
	x := func(v float64) float64 { return v / p.xMax * panelWidth }
	y := func(v float64) float64 { return panelHeight - min(v, p.yMax)/p.yMax*panelHeight }
	fmt.Fprintf(b, `<text y="-24" font-size="16" font-weight="bold">%s</text>`+
		`<text y="-6" fill="#555">%s</text>`+"\n", p.title, p.yLabel)
	if p.shade[1] > 0 {
		fmt.Fprintf(b, `<rect x="%.1f" width="%.1f" height="%d" fill="#eee"/>`+"\n",
			x(p.shade[0]), x(p.shade[1]-p.shade[0]), panelHeight)
	}
	for v := 0.0; v <= p.yMax*1.0001; v += p.yStep {
		fmt.Fprintf(b, `<path d="M0 %.1f h%d" stroke="#ddd"/>`+
			`<text x="-8" y="%.1f" text-anchor="end">%.4g</text>`+"\n", y(v), panelWidth, y(v)+4, v)
	}
	for v := 0.0; v <= p.xMax*1.0001; v += p.xStep {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.4g</text>`+"\n",
			x(v), panelHeight+18, v)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n",
		panelWidth/2, panelHeight+38, p.xLabel)
	for i, l := range p.lines {
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2.5" `+
			`stroke-linejoin="round" points="`, colors[i])
		for _, at := range l.points {
			fmt.Fprintf(b, "%.1f,%.1f ", x(at[0]), y(at[1]))
		}
		b.WriteString(`"/>` + "\n")
	}
}

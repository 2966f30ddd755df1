package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A panel plots the processor time of one operation against a number that spans orders of
// magnitude.
type panel struct{ path, axis string }

var panels = []panel{
	{"Keys", "known keys"},
	{"Clients", "clients at the same time"},
}

// A curve is an operation. Its place in the list selects its color.
type curve struct{ name, title string }

var curves = []curve{
	{"limit", "rate-limited request"},
	{"replay", "replay"},
	{"call", "client's call"},
}

const (
	panelWidth, panelHeight = 420, 280
	left, top, bottom       = 56, 60, 44
	right                   = panelWidth - 20
)

// style gives the plot colors for a light and for a dark page.
const style = `<style>
text{fill:#57606a}path,line{fill:none;stroke:#57606a}circle{fill:#57606a}
.grid{stroke-opacity:.25}.curve{stroke-width:2}
.c0 *{stroke:#0969da}.c1 *{stroke:#bc4c00}.c2 *{stroke:#1a7f37}g text{stroke:none!important}
@media(prefers-color-scheme:dark){text{fill:#9198a1}line{stroke:#9198a1}
.c0 *{stroke:#4493f8}.c1 *{stroke:#f0883e}.c2 *{stroke:#3fb950}}
</style>
`

// plot returns the panels side by side, as SVG.
func plot(res *results) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="12">`+"\n", panelWidth*len(panels), panelHeight)
	b.WriteString(style)
	highest := ceiling(res)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d 0)">`+"\n", i*panelWidth)
		p.draw(&b, res, highest)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// ceiling returns the nanoseconds at the top of all panels: the next multiple of 500.
func ceiling(res *results) float64 {
	highest := 0.0
	for _, p := range panels {
		for _, c := range curves {
			for _, n := range p.numbers(res, c) {
				highest = max(highest, p.at(res, c, n).Hi)
			}
		}
	}
	return math.Ceil(highest/500) * 500
}

// numbers returns the numbers that a curve was measured for.
func (p panel) numbers(res *results, c curve) []int {
	var numbers []int
	for name := range res.values {
		if n, ok := strings.CutPrefix(name, p.path+"/"+c.name+"/"); ok {
			v, _ := strconv.Atoi(n)
			numbers = append(numbers, v)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// nanoseconds are a median with its confidence interval.
type nanoseconds struct{ Lo, Center, Hi float64 }

func (p panel) at(res *results, c curve, n int) nanoseconds {
	s := summarize(res.of(p.path+"/"+c.name+"/"+strconv.Itoa(n), processor))
	return nanoseconds{s.Lo * 1e9, s.Center * 1e9, s.Hi * 1e9}
}

// A scale places numbers and nanoseconds in a panel.
type scale struct{ largest, highest float64 }

func (s scale) x(n int) float64 {
	return left + (right-10-left)*math.Log(float64(n))/math.Log(s.largest)
}

func (s scale) y(ns float64) float64 {
	return panelHeight - bottom - (panelHeight-top-bottom)*ns/s.highest
}

func (p panel) draw(b *strings.Builder, res *results, highest float64) {
	numbers := p.numbers(res, curves[0])
	s := scale{float64(numbers[len(numbers)-1]), highest}
	p.drawAxes(b, s, numbers)
	legend := left
	for i, c := range curves {
		if len(p.numbers(res, c)) == 0 {
			continue
		}
		fmt.Fprintf(b, `<g class="c%d"><line class="curve" x1="%d" x2="%d" y1="36" y2="36"/>`+
			`<text x="%d" y="40">%s</text>`+"\n", i, legend, legend+14, legend+20, c.title)
		p.drawCurve(b, s, res, c)
		b.WriteString("</g>\n")
		legend += 32 + 6*len(c.title)
	}
}

func (p panel) drawAxes(b *strings.Builder, s scale, numbers []int) {
	fmt.Fprintf(b, `<text x="%d" y="20">processor time in ns</text>`+"\n", left)
	for i := range 6 {
		ns := s.highest * float64(i) / 5
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`,
			left, right, s.y(ns), s.y(ns))
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			left-8, s.y(ns)+4, ns)
	}
	for _, n := range numbers {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			s.x(n), panelHeight-bottom+18, thousands(n))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
		(left+right)/2, panelHeight-8, p.axis)
}

func (p panel) drawCurve(b *strings.Builder, s scale, res *results, c curve) {
	var points []string
	for _, n := range p.numbers(res, c) {
		v := p.at(res, c, n)
		points = append(points, fmt.Sprintf("%.1f %.1f", s.x(n), s.y(v.Center)))
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`,
			s.x(n), s.x(n), s.y(v.Lo), s.y(v.Hi))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3"/>`+"\n", s.x(n), s.y(v.Center))
	}
	fmt.Fprintf(b, `<path class="curve" d="M%s"/>`+"\n", strings.Join(points, " L"))
}

// thousands writes 1000000 as 1,000,000.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A panel shows nanoseconds by a number that grows by orders of magnitude.
type panel struct{ path, axis string }

var panels = []panel{
	{"Keys", "keys that are known"},
	{"Clients", "clients that send at once"},
}

// A curve is something that was measured for such numbers. Its place in the list is its color's.
type curve struct{ name, says string }

var curves = []curve{
	{"limit", "a rate-limited request"},
	{"replay", "a replay"},
	{"call", "a client's call"},
}

const (
	panelWidth, panelHeight = 420, 280
	left, top, bottom       = 56, 60, 44
)

// style makes the plot work on a light and on a dark page.
const style = `<style>text{fill:#57606a}path,line{fill:none;stroke:#57606a}.grid{stroke-opacity:.25}` +
	`.c0 *{stroke:#0969da}.c1 *{stroke:#bc4c00}.c2 *{stroke:#1a7f37}.curve{stroke-width:2}circle{fill:#57606a}` +
	`g text{stroke:none!important}@media(prefers-color-scheme:dark){text{fill:#9198a1}line{stroke:#9198a1}` +
	`.c0 *{stroke:#4493f8}.c1 *{stroke:#f0883e}.c2 *{stroke:#3fb950}}</style>`

// plot draws what a request, or a call, costs, as SVG.
func plot(res *results) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		panelWidth*len(panels), panelHeight)
	b.WriteString(style + "\n")
	ceiling := 0.0
	for _, p := range panels {
		for _, c := range curves {
			for _, n := range p.at(res, c) {
				ceiling = max(ceiling, math.Ceil(summarize(res.of(p.benchmark(c, n), timed)).Hi*1e9/500)*500)
			}
		}
	}
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d 0)">`+"\n", i*panelWidth)
		p.draw(&b, res, ceiling)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// at are the numbers for which there are measurements.
func (p panel) at(res *results, c curve) (at []int) {
	for benchmark := range res.values {
		if n, ok := strings.CutPrefix(benchmark, p.path+"/"+c.name+"/"); ok {
			v, _ := strconv.Atoi(n)
			at = append(at, v)
		}
	}
	slices.Sort(at)
	return at
}

func (p panel) benchmark(c curve, n int) string { return p.path + "/" + c.name + "/" + strconv.Itoa(n) }

func (p panel) draw(b *strings.Builder, res *results, ceiling float64) {
	at := p.at(res, curves[0])
	x := func(n int) float64 {
		return left + (panelWidth-left-30)*math.Log(float64(n))/math.Log(float64(at[len(at)-1]))
	}
	y := func(ns float64) float64 { return panelHeight - bottom - (panelHeight-top-bottom)*ns/ceiling }

	fmt.Fprintf(b, `<text x="%d" y="20">processor time, in ns, of</text>`+"\n", left)
	for i := range 6 {
		ns := ceiling * float64(i) / 5
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			left, panelWidth-20, y(ns), y(ns), left-8, y(ns)+4, ns)
	}
	for _, n := range at {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(n), panelHeight-bottom+18, thousands(n))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+panelWidth-20)/2, panelHeight-8, p.axis)
	legend := left
	for i, c := range curves {
		at := p.at(res, c)
		if len(at) == 0 {
			continue
		}
		fmt.Fprintf(b, `<g class="c%d"><line class="curve" x1="%d" x2="%d" y1="36" y2="36"/><text x="%d" y="40">%s</text>`+"\n",
			i, legend, legend+14, legend+20, c.says)
		legend += 32 + 6*len(c.says)
		var points []string
		for _, n := range at {
			s := summarize(res.of(p.benchmark(c, n), timed))
			points = append(points, fmt.Sprintf("%.1f %.1f", x(n), y(s.Center*1e9)))
			fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><circle cx="%.1f" cy="%.1f" r="3"/>`+"\n",
				x(n), x(n), y(s.Lo*1e9), y(s.Hi*1e9), x(n), y(s.Center*1e9))
		}
		fmt.Fprintf(b, `<path class="curve" d="M%s"/></g>`+"\n", strings.Join(points, " L"))
	}
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A panel is one curve: nanoseconds by a number that grows by orders of magnitude.
type panel struct{ path, axis string }

var panels = []panel{
	{"Keys", "keys that are known"},
	{"Clients", "clients that send at once"},
}

const (
	panelWidth, panelHeight = 420, 260
	left, top, bottom       = 56, 40, 44
)

// plot draws the cost of a request (id, tracker, recovery, rate limit) as SVG. It works on a light and on a dark page.
func plot(res *results) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		panelWidth*len(panels), panelHeight)
	b.WriteString("<style>text{fill:#57606a}path,line{stroke:#57606a;fill:none}.grid{stroke-opacity:.25}" +
		".curve{stroke:#0969da;stroke-width:2}.interval{stroke:#0969da}circle{fill:#0969da}" +
		"@media(prefers-color-scheme:dark){text{fill:#9198a1}path,line{stroke:#9198a1}.curve,.interval{stroke:#4493f8}circle{fill:#4493f8}}</style>\n")
	ceiling := 0.0
	for _, p := range panels {
		for _, n := range p.at(res) {
			ceiling = max(ceiling, math.Ceil(summarize(res.of(p.name(n), timed)).Hi*1e9/500)*500)
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
func (p panel) at(res *results) []int {
	var at []int
	for name := range res.values {
		if n, ok := strings.CutPrefix(name, p.path+"/"); ok {
			v, _ := strconv.Atoi(n)
			at = append(at, v)
		}
	}
	slices.Sort(at)
	return at
}

func (p panel) draw(b *strings.Builder, res *results, ceiling float64) {
	at := p.at(res)
	if len(at) == 0 {
		return
	}
	x := func(n int) float64 {
		return left + (panelWidth-left-30)*math.Log(float64(n))/math.Log(float64(max(at[len(at)-1], 2)))
	}
	y := func(ns float64) float64 { return panelHeight - bottom - (panelHeight-top-bottom)*ns/ceiling }

	fmt.Fprintf(b, `<text x="%d" y="20">processor time of a request, in ns</text>`+"\n", left)
	for i := range 6 {
		ns := ceiling * float64(i) / 5
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			left, panelWidth-20, y(ns), y(ns), left-8, y(ns)+4, ns)
	}
	var curve []string
	for _, n := range at {
		s := summarize(res.of(p.name(n), timed))
		curve = append(curve, fmt.Sprintf("%.1f %.1f", x(n), y(s.Center*1e9)))
		fmt.Fprintf(b, `<line class="interval" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><circle cx="%.1f" cy="%.1f" r="3.5"/>`,
			x(n), x(n), y(s.Lo*1e9), y(s.Hi*1e9), x(n), y(s.Center*1e9))
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(n), panelHeight-bottom+18, thousands(n))
	}
	fmt.Fprintf(b, `<path class="curve" d="M%s"/><text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
		strings.Join(curve, " L"), (left+panelWidth-20)/2, panelHeight-8, p.axis)
}

func (p panel) name(n int) string { return p.path + "/" + strconv.Itoa(n) }

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotWidth   = 960
	plotLeft    = 330 // the names of the faults
	plotRight   = 90  // the figures behind the bars
	plotTop     = 70
	barHeight   = 11
	barGap      = 2
	groupGap    = 10
	plotFoot    = 30
	leastShown  = 1.0     // milliseconds: the left end of the logarithmic axis
	mostShown   = 100_000 // its right end
	plotFont    = "font-family=\"sans-serif\""
	plotDecades = 5
)

// plotDaemons is the daemons in the order of their bars, with their colours.
var plotDaemons = []struct{ name, colour string }{
	{"understudy", "#1b7f5c"},
	{"keepalived", "#c0562f"},
	{"keepalived-weight", "#d9a441"},
}

// plot draws the outages at one interval: bars to the median, a line to the maximum, on a logarithmic axis.
func plot(list []summary, interval milliseconds) string {
	var body strings.Builder
	y := plotTop
	for _, row := range rowOrder() {
		top := y
		for _, d := range plotDaemons {
			if s := find(list, row, d.name, interval); s != nil && s.nothing() == "" {
				bar(&body, y, d.colour, s.Outage)
				y += barHeight + barGap
			}
		}
		if y == top {
			continue
		}
		fmt.Fprintf(&body, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" font-size=\"12\">%s</text>\n", plotLeft-8, (top+y)/2+3, html.EscapeString(rowTitle(row)))
		y += groupGap
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\" %s>\n", plotWidth, y+plotFoot, plotFont)
	b.WriteString("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n")
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"22\" font-size=\"15\">Outage in ms at an advertisement interval of %v ms: median (bar) and maximum (line)</text>\n", 16, interval)
	legend(&b)
	axis(&b, y)
	b.WriteString(body.String())
	b.WriteString("</svg>\n")
	return b.String()
}

// plotX is where a figure is on the axis.
func plotX(v milliseconds) float64 {
	f := min(max(float64(v), leastShown), mostShown)
	return plotLeft + (plotWidth-plotLeft-plotRight)*math.Log10(f/leastShown)/plotDecades
}

func bar(b *strings.Builder, y int, colour string, s spread) {
	end, most := plotX(s.Median), plotX(s.Max)
	fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", plotLeft, y, max(end-plotLeft, 1), barHeight, colour)
	fmt.Fprintf(b, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2\"/>\n", end, y+barHeight/2, most, y+barHeight/2, colour)
	fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\" font-size=\"10\">%v</text>\n", most+5, y+barHeight-2, s)
}

func legend(b *strings.Builder) {
	x := plotLeft
	for _, d := range plotDaemons {
		fmt.Fprintf(b, "<rect x=\"%d\" y=\"34\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%d\" y=\"44\" font-size=\"12\">%s</text>\n", x, d.colour, x+17, d.name)
		x += 150
	}
}

// axis draws a line for each power of ten.
func axis(b *strings.Builder, bottom int) {
	for v := leastShown; v <= mostShown; v *= 10 {
		x := plotX(milliseconds(v))
		fmt.Fprintf(b, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#ddd\"/>\n", x, plotTop-8, x, bottom)
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\" font-size=\"10\" text-anchor=\"middle\">%.0f</text>\n", x, bottom+14, v)
	}
}

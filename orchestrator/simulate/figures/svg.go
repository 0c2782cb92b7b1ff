package figures

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
)

// Geometry of the SVG, in pixels.
const (
	svgWidth  = 900
	svgLabels = 330 // of the scenario, its traffic and the method
	svgBar    = 14
	svgGap    = 5  // between the methods of a scenario
	svgSpace  = 12 // between scenarios
	svgTop    = 64
)

// colors tell the parts apart also where red and green look alike.
var colors = [3]string{"#d1495b", "#c9cdd3", "#2a7f9e"}

// WriteSVG charts the rows as bars: those of one scenario stand together.
func WriteSVG(w io.Writer, title string, rows []Row) error {
	var b bytes.Buffer
	y := svgTop
	for i, r := range rows {
		if i > 0 && sameScenario(rows[i-1], r) {
			y += svgBar + svgGap
		} else if i > 0 {
			y += svgBar + svgSpace
		}
		svgRow(&b, r, y, i > 0 && sameScenario(rows[i-1], r))
	}
	height := y + svgBar + 34
	axis(&b, height)
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#1c2530">
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="16" y="26" font-size="16" font-weight="600">%s</text>
%s%s</svg>
`, svgWidth, height, svgWidth, height, escaped(title), legend(), b.String())
	return err
}

func sameScenario(a, b Row) bool { return a.Scenario == b.Scenario && a.Rate == b.Rate }

func legend() string {
	var b bytes.Buffer
	x := svgLabels
	for i, part := range parts {
		fmt.Fprintf(&b, `<rect x="%d" y="40" width="12" height="12" fill="%s"/><text x="%d" y="50">%s</text>`+"\n", x, colors[i], x+18, part)
		x += 120
	}
	return b.String()
}

// svgRow draws one bar; a further one of a scenario does not name it again.
func svgRow(b *bytes.Buffer, r Row, y int, further bool) {
	text := y + svgBar - 3
	if !further {
		fmt.Fprintf(b, `<text x="16" y="%d">%s</text><text x="225" y="%d" text-anchor="end">%s/min</text>`+"\n", text, escaped(r.Scenario), text, Count(r.Rate))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end" fill="#5b6672">%s</text>`, svgLabels-10, text, escaped(string(r.Method)))
	x := float64(svgLabels)
	for i, share := range r.shares() {
		if share == 0 {
			continue
		}
		width := share * barLength
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s %s %%</title></rect>`, x, y, width, svgBar, colors[i], parts[i], Percent(share))
		x += width
	}
	if r.RolledBack > 0 {
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="#5b6672">@ %s</text>`, svgLabels+barLength+8, text, minute(r.RolledBack, r.RollbackMinute))
	}
	b.WriteByte('\n')
}

const barLength = svgWidth - svgLabels - 60

// axis marks the quarters, and says what stands behind the bars.
func axis(b *bytes.Buffer, height int) {
	for quarter := range 5 {
		x := svgLabels + barLength*quarter/4
		fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#1c2530" stroke-opacity="0.15"/>`, x, svgTop-4, x, height-28)
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle" fill="#5b6672">%d %%</text>`+"\n", x, height-12, 25*quarter)
	}
	fmt.Fprintf(b, `<text x="16" y="%d" fill="#5b6672">@ median minute of the rollback</text>`+"\n", height-12)
}

func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}

package report

import (
	"fmt"
	"strings"
)

// Summary is a Markdown page for $GITHUB_STEP_SUMMARY: where the rollout stands,
// what changed meanwhile, and both arms' numbers.
func Summary(s Status, changes []Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s, %s\n\n", cell(s.Service), PhaseTitle(s.Phase), cell(s.share()))
	fmt.Fprintf(&b, "Rollout %s. %s\n", cell(s.Rollout), cell(sentence(short(s.Reason))))
	if next := s.Next(); next != "" {
		fmt.Fprintf(&b, "\n%s\n", cell(sentence(next)))
	}
	if len(changes) > 0 {
		b.WriteString("\n| time (UTC) | change | percentage | reason |\n|---|---|---|---|\n")
		for _, c := range changes {
			fmt.Fprintf(&b, "| %s | %s |\n", c.Time.UTC().Format("15:04:05"), changeCells(c))
		}
	}
	if s.Verdict != nil && len(s.Verdict.Metrics) > 0 {
		fmt.Fprintf(&b, "\n%s", metricsTable(*s.Verdict, s.measuredAt()))
	}
	return b.String() + "\n"
}

// changeCells are a change's action, percentages and reason.
func changeCells(c Status) string {
	from := c.Percentage
	if c.From != nil {
		from = *c.From
	}
	return strings.Join([]string{cell(c.Action), change(from, c.Percentage), cell(short(c.Reason))}, " | ")
}

// cell escapes what would end a table's cell or begin markup.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\r", " ", "\n", " ", "<", "&lt;", "`", "'").Replace(text)
}

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// Outputs are the lines for $GITHUB_OUTPUT.
func Outputs(s Status) string {
	verdict := ""
	if s.Verdict != nil {
		verdict = string(s.Verdict.Decision)
	}
	var b strings.Builder
	for _, o := range []struct{ name, value string }{
		{"phase", s.Phase}, {"verdict", verdict}, {"percentage", s.Percentage.String()}, {"rollout", s.Rollout}, {"reason", s.Reason},
	} {
		b.WriteString(output(o.name, o.value))
	}
	return b.String()
}

// output writes one value; one of several lines stands between delimiters that
// it does not contain.
func output(name, value string) string {
	if !strings.ContainsAny(value, "\r\n") {
		return name + "=" + value + "\n"
	}
	delimiter := "END"
	for strings.Contains(value, delimiter) {
		delimiter += "_"
	}
	return name + "<<" + delimiter + "\n" + value + "\n" + delimiter + "\n"
}

package report

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"perch/orchestrator/judge"
)

// columns is what text for people is wrapped at.
const columns = 100

var versionID = regexp.MustCompile(`\b([0-9a-f]{8})[0-9a-f]{56}\b`)

// short cuts the 64-digit version ids in a text to their beginnings.
func short(text string) string { return versionID.ReplaceAllString(text, "$1…") }

var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// harmless takes out of a text what a terminal would obey: a model's log repeats
// what its users wrote.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return utf8.RuneError
		}
		return r
	}, lineBreaks.Replace(text))
}

// wrap breaks a text between its words, at width columns where they allow it.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// indented wraps a text that begins with a margin as wide as the one of all
// further lines.
func indented(first, text string) string {
	margin := utf8.RuneCountInString(first)
	return first + strings.Join(wrap(text, columns-margin), "\n"+strings.Repeat(" ", margin)) + "\n"
}

// opinion is a verdict in a sentence. That a step passed is not yet a promotion.
func opinion(v judge.Verdict) string { return decision(v) + ": " + short(v.Reason) }

func decision(v judge.Verdict) string {
	if v.Decision == judge.Promote {
		return "pass"
	}
	return string(v.Decision)
}

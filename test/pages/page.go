// Package pages writes what programs find into the pages of docs.
package pages

import (
	"fmt"
	"strings"
)

const end = "<!-- end -->"

// Replace puts a section's text between its marks, <!-- section --> and
// <!-- end -->. A page without them is an error.
func Replace(page, section, text string) (string, error) {
	begin := "<!-- " + section + " -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("page has no section %s: write %s and %s", section, strings.TrimSpace(begin), end)
	}
	return before + begin + text + end + after, nil
}

package document

import "perch/shared/lean"

const percentageRange = "give 0 to 100 with at most two decimals"

// ParsePercentage reads a percentage, 0 to 100 with at most two decimals, and
// returns it in basis points.
func ParsePercentage(text string) (int, error) {
	refused := lean.Error("percentage " + quote(text) + " is not allowed: " + percentageRange)
	whole, decimals, point := lean.Cut(text, '.')
	if whole == "" || len(whole) > 3 || point && (decimals == "" || len(decimals) > 2) {
		return 0, refused
	}
	n, ok := parseDigits(whole + (decimals + "00")[:2])
	if !ok || n > 10_000 {
		return 0, refused
	}
	return int(n), nil
}

// FormatPercentage writes basis points as a percentage, such as "5" or "12.5".
func FormatPercentage(basisPoints int) string {
	text := lean.Int(int64(basisPoints / 100))
	switch rest := basisPoints % 100; {
	case rest == 0:
		return text
	case rest%10 == 0:
		return text + "." + lean.Int(int64(rest/10))
	default:
		return text + "." + lean.Int(int64(100 + rest))[1:]
	}
}

// parseDigits reads a whole number of at most 18 digits. strconv.ParseInt would
// link its quoting of errors, 12 KB, into the worker.
func parseDigits(text string) (n int64, ok bool) {
	if text == "" || len(text) > 18 {
		return 0, false
	}
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(text[i]-'0')
	}
	return n, true
}

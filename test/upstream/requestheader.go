package upstream

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// preferredWait reads Prefer: wait (60 s) or wait=1..60. Other preferences, and other numbers, are ignored: 0.
func preferredWait(h http.Header) time.Duration {
	for _, preference := range strings.Split(strings.Join(h.Values("Prefer"), ","), ",") {
		name, value, valued := strings.Cut(strings.TrimSpace(preference), "=")
		if name != "wait" {
			continue
		}
		if !valued {
			return time.Minute
		}
		if n, err := strconv.Atoi(value); err == nil && n >= 1 && n <= 60 {
			return time.Duration(n) * time.Second
		}
	}
	return 0
}

var durationPattern = regexp.MustCompile(`^(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s?)?$`)

// cancelAfter reads Cancel-After: 90, 30s, 5m, 1h30m45s. Zero without the header.
func cancelAfter(h http.Header) (time.Duration, *problem) {
	text := h.Get("Cancel-After")
	if text == "" {
		return 0, nil
	}
	match := durationPattern.FindStringSubmatch(text)
	if match == nil {
		return 0, invalidInput("- Cancel-After: " + strconv.Quote(text) + " is not a duration such as 30s, 5m or 1h30m45s")
	}
	total := time.Duration(0)
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(match[i+1]) // an absent group counts 0
		total += time.Duration(n) * unit
	}
	if total < 5*time.Second {
		return 0, invalidInput("- Cancel-After: the minimum is 5 seconds")
	}
	return total, nil
}

// token is what Authorization carries after Bearer, or Token as older clients write.
func token(h http.Header) string {
	scheme, value, _ := strings.Cut(h.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token") {
		return strings.TrimSpace(value)
	}
	return ""
}

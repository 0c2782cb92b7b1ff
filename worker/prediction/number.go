package prediction

// maxMS is the longest time that is said, in milliseconds: what a host's number
// holds without loss.
const maxMS = 1 << 53

// milliseconds reads a JSON number of seconds and rounds it, halves up. What is
// negative or out of range is 0. (strconv's ParseFloat would be a tenth of the
// module.)
func milliseconds(number []byte) int64 {
	var (
		mantissa int64
		exponent = 3 // of the mantissa, for milliseconds
		point    bool
	)
	for i, c := range number {
		switch {
		case c == '-':
			return 0
		case c == '.':
			point = true
		case c == 'e' || c == 'E':
			return scale(mantissa, exponent+small(number[i+1:]))
		case mantissa < 1e17:
			mantissa = 10*mantissa + int64(c-'0')
			if point {
				exponent--
			}
		case !point:
			exponent++
		}
	}
	return scale(mantissa, exponent)
}

// small reads an exponent, and makes much of what is too much.
func small(text []byte) int {
	n, sign := 0, 1
	for _, c := range text {
		switch {
		case c == '-':
			sign = -1
		case c != '+' && n < 1e6:
			n = 10*n + int(c-'0')
		}
	}
	return sign * n
}

// scale returns n × 10^exponent, rounded; 0 where that is out of range.
func scale(n int64, exponent int) int64 {
	for ; exponent > 0 && n > 0 && n <= maxMS; exponent-- {
		n *= 10
	}
	var last int64
	for ; exponent < 0 && (n > 0 || last > 0); exponent++ {
		n, last = n/10, n%10
	}
	if last >= 5 {
		n++
	}
	if n > maxMS {
		return 0
	}
	return n
}

// epochMS reads a time of RFC 3339, upper-case letters only, as epoch
// milliseconds; 0 if it is none, or lies before 1970.
func epochMS(text []byte) int64 {
	c := clock{rest: text}
	year := c.digits(4, 0, 9999)
	c.skip('-')
	month := c.digits(2, 1, 12)
	c.skip('-')
	day := c.digits(2, 1, daysIn(year, month))
	c.skip('T')
	seconds := c.digits(2, 0, 23) * 3600
	c.skip(':')
	seconds += c.digits(2, 0, 59) * 60
	c.skip(':')
	seconds += c.digits(2, 0, 59)
	ms := c.fraction()
	seconds -= c.offset()
	if c.failed || len(c.rest) > 0 {
		return 0
	}
	return max(0, (daysSince1970(year, month, day)*86_400+seconds)*1000+ms)
}

// clock reads the parts of a time one after the other.
type clock struct {
	rest   []byte
	failed bool
}

// digits reads n digits that say something from least to most.
//
//go:noinline
func (c *clock) digits(n int, least, most int64) int64 {
	var value int64
	for i := range n {
		if i >= len(c.rest) || c.rest[i] < '0' || c.rest[i] > '9' {
			c.failed = true
			return least
		}
		value = 10*value + int64(c.rest[i]-'0')
	}
	c.rest = c.rest[n:]
	if value < least || value > most {
		c.failed = true
		return least
	}
	return value
}

//go:noinline
func (c *clock) next(char byte) bool {
	if len(c.rest) == 0 || c.rest[0] != char {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *clock) skip(char byte) { c.failed = !c.next(char) || c.failed }

// fraction reads the milliseconds behind a second, if there are any.
func (c *clock) fraction() int64 {
	if !c.next('.') {
		return 0
	}
	var ms int64
	n := 0
	for ; n < len(c.rest) && c.rest[n] >= '0' && c.rest[n] <= '9'; n++ {
		if n < 3 {
			ms = 10*ms + int64(c.rest[n]-'0')
		}
	}
	c.failed = c.failed || n == 0
	c.rest = c.rest[n:]
	for ; n < 3; n++ {
		ms *= 10
	}
	return ms
}

// offset reads the seconds by which the time is ahead of UTC.
func (c *clock) offset() int64 {
	if c.next('Z') {
		return 0
	}
	sign := int64(1)
	if c.next('-') {
		sign = -1
	} else {
		c.skip('+')
	}
	hours := c.digits(2, 0, 24)
	c.skip(':')
	return sign * (hours*3600 + c.digits(2, 0, 60)*60)
}

func daysIn(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts from March, so that the leap day is a year's last:
// 153 days are any five months from there, 146,097 any 400 years.
func daysSince1970(year, month, day int64) int64 {
	month -= 3
	if month < 0 {
		month += 12
		year--
	}
	return year*365 + floor(year, 4) - floor(year, 100) + floor(year, 400) + (153*month+2)/5 + day - 1 - 719_468
}

// floor divides and rounds down, for the year before 0 too.
func floor(n, by int64) int64 {
	if n < 0 {
		return (n - by + 1) / by
	}
	return n / by
}

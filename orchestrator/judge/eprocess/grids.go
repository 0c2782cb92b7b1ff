package eprocess

// Aim is what a test is to show.
type Aim int

// The aims.
const (
	Above Aim = iota // the truth is above the limit: the canary is worse
	Below            // the truth is below the limit: the canary is good
)

var (
	// rates to find when the null is 0.5 %, and when it is 1 %
	ratesAbove = []float64{.0075, .01, .015, .025, .05, .1, .2, .4, .8}
	ratesBelow = []float64{.0001, .0005, .001, .002, .004, .007}

	// multiples of the limit's ratio to find
	ratiosAbove = []float64{1.15, 1.35, 1.7, 2.5, 4, 8, 20, 60, 200}
	ratiosBelow = []float64{.2, .4, .55, .67, .8}

	// shifts of the log odds to find
	shiftsAbove = []float64{.1, .2, .4, .7, 1.1, 1.6, 2.3, 3.2}
	shiftsBelow = []float64{-.2, -.4, -.7, -1.1, -1.6, -2.3}
)

// most is how much of the way from the null to 1 an alternative rate may go.
const most = 0.95

// Rates returns the grid of alternative rates to a null, (0, 1).
func Rates(aim Aim, null float64) []float64 {
	grid, of := ratesAbove, .005
	if aim == Below {
		grid, of = ratesBelow, .01
	}
	scaled := make([]float64, len(grid))
	for j, rate := range grid {
		scaled[j] = min(rate*null/of, null+most*(1-null))
	}
	return scaled
}

// Ratios returns the grid of multiples of the ratio that is the null.
func Ratios(aim Aim) []float64 {
	if aim == Below {
		return ratiosBelow
	}
	return ratiosAbove
}

// Shifts returns the grid of shifts of log odds.
func Shifts(aim Aim) []float64 {
	if aim == Below {
		return shiftsBelow
	}
	return shiftsAbove
}

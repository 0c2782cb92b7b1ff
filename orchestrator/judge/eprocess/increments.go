package eprocess

import "math"

// Absolute bets on a rate against a null rate p₀:
// ℓ = k ln(p/p₀) + (n−k) ln((1−p)/(1−p₀)), D = 1 + c²·n·p₀.
type Absolute struct {
	null      float64
	hit, miss []float64 // log ratios of a unit with and without the event
}

// NewAbsolute returns the bet on the alternatives; all rates are within (0, 1).
func NewAbsolute(null float64, alternatives []float64) Absolute {
	a := Absolute{null, make([]float64, len(alternatives)), make([]float64, len(alternatives))}
	for j, p := range alternatives {
		a.hit[j] = math.Log(p / null)
		a.miss[j] = math.Log1p(-p) - math.Log1p(-null)
	}
	return a
}

// NewOdds returns the bet on alternatives whose log odds are shifted from the null's.
func NewOdds(null float64, shifts []float64) Absolute {
	alternatives := make([]float64, len(shifts))
	for j, shift := range shifts {
		odds := math.Exp(shift) * null / (1 - null)
		alternatives[j] = odds / (1 + odds)
	}
	return NewAbsolute(null, alternatives)
}

// Len returns the number of alternatives.
func (a Absolute) Len() int { return len(a.hit) }

// Increments sets each alternative's ℓ/D of k events among n units at a noise c.
func (a Absolute) Increments(to []float64, k, n, c float64) {
	d := 1 + c*c*n*a.null
	for j := range a.hit {
		to[j] = (k*a.hit[j] + (n-k)*a.miss[j]) / d
	}
}

// Relative bets on the canary's rate against r₀ times stable's, given how many
// events there were in all: what hits both arms cancels out (Lindon & Malek,
// arXiv 2011.03567). With a = r₀·n_c and z = (m·a + n_s)/(a + n_s):
// ℓ = k_c ln(m/z) − k_s ln z, D = 1 + 2c²(k_c+k_s)·q(1−q), q = a/(a+n_s).
type Relative struct {
	null      float64
	multiples []float64
	logs      []float64
}

// ratioLogs are the logarithms of the grids of ratios.
var ratioLogs = map[Aim][]float64{Above: logs(ratiosAbove), Below: logs(ratiosBelow)}

// RatiosTo returns the bet on an aim's grid against the null's ratio r₀ > 0.
func RatiosTo(aim Aim, null float64) Relative {
	return Relative{null, Ratios(aim), ratioLogs[aim]}
}

func logs(values []float64) []float64 {
	logs := make([]float64, len(values))
	for i, x := range values {
		logs[i] = math.Log(x)
	}
	return logs
}

// NewRelative returns the bet on multiples of the null's ratio r₀ > 0.
func NewRelative(null float64, multiples []float64) Relative {
	return Relative{null, multiples, logs(multiples)}
}

// Len returns the number of alternatives.
func (r Relative) Len() int { return len(r.multiples) }

// Increments sets each alternative's ℓ/D of the arms' events k among units n.
// Only the ratio of the n matters.
func (r Relative) Increments(to []float64, kc, nc, ks, ns, c float64) {
	a := r.null * nc
	if !(a+ns > 0) || kc+ks == 0 {
		clear(to[:len(r.multiples)])
		return
	}
	q := a / (a + ns)
	d := 1 + 2*c*c*(kc+ks)*q*(1-q)
	for j, m := range r.multiples {
		z := math.Log1p((m - 1) * q)
		to[j] = (kc*(r.logs[j]-z) - ks*z) / d
	}
}

// Shift bets that events are as likely in both arms against log odds that differ
// (Turner, Ly & Grünwald, JSPI 230, 2024): with p_c = σ(logit p_s + δ) and
// p₀ = (n_c·p_c + n_s·p_s)/(n_c+n_s), ℓ is the log-likelihood ratio of
// (p_c, p_s) to p₀ for both; D = 1 + 2c²·n_c·n_s/(n_c+n_s)·p_s(1−p_s).
type Shift struct {
	factors []float64 // of the odds
}

// The bets on the grids of shifts.
var shifts = map[Aim]Shift{Above: NewShift(shiftsAbove), Below: NewShift(shiftsBelow)}

// ShiftsTo returns the bet on an aim's grid.
func ShiftsTo(aim Aim) Shift { return shifts[aim] }

// NewShift returns the bet on shifts δ of the log odds.
func NewShift(shifts []float64) Shift {
	s := Shift{make([]float64, len(shifts))}
	for j, shift := range shifts {
		s.factors[j] = math.Exp(shift)
	}
	return s
}

// Len returns the number of alternatives.
func (s Shift) Len() int { return len(s.factors) }

// Increments sets each alternative's ℓ/D of the arms' events k among units n;
// ps, (0, 1), is the chance of an event in stable by earlier data alone.
func (s Shift) Increments(to []float64, kc, nc, ks, ns, ps, c float64) {
	if !(nc > 0) || !(ns > 0) {
		clear(to[:len(s.factors)])
		return
	}
	share := nc / (nc + ns)
	d := 1 + 2*c*c*share*ns*ps*(1-ps)
	odds := ps / (1 - ps)
	logStable, logNotStable := math.Log(ps), math.Log1p(-ps)
	for j, factor := range s.factors {
		// Both tails by themselves: 1−p would lose digits where p is near 1.
		notC := 1 / (1 + factor*odds)
		pc := factor * odds * notC
		p0, not0 := ps+share*(pc-ps), 1-ps+share*(notC-(1-ps))
		log, logNot := math.Log(p0), math.Log(not0)
		to[j] = (kc*(math.Log(pc)-log) + (nc-kc)*(math.Log(notC)-logNot) +
			ks*(logStable-log) + (ns-ks)*(logNotStable-logNot)) / d
	}
}

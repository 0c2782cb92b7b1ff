package judge

import (
	"fmt"
	"math"
	"strings"
	"time"
)

func exp(log float64) float64 { return math.Exp(log) }

// explain adds to a verdict what people read.
func (j *judging) explain() {
	v := &j.verdict
	if v.Frozen != "" {
		v.Frozen = j.frozenWords()
	}
	if v.Mismatch != "" {
		v.Mismatch = j.mismatchWords()
	}
	if v.Collapse != "" {
		v.Collapse = j.collapseWords()
	}
	number := 0
	for i := range j.assays {
		if a := &j.assays[i]; number < len(v.Metrics) && v.Metrics[number].Metric == a.metric {
			j.bound(a, &v.Metrics[number])
			number++
		}
	}
	if v.Decision != Rollback && v.Decision != Promote && !v.At.IsZero() {
		v.Missing = j.missing(v)
	}
	for i := range v.Metrics {
		v.Metrics[i].Why = v.why(&v.Metrics[i])
	}
	v.Decision, v.Reason = Decide(*v)
}

func (j *judging) frozenWords() string {
	for i := range j.assays {
		if a := &j.assays[i]; a.metric == Errors {
			limit, rate := j.freeze(a)
			text := fmt.Sprintf("stable itself has %s errors in the last %s, more than %s", FormatMetric(Errors, rate), FormatDuration(j.in.Settings.Recent), FormatMetric(Errors, limit))
			if before := j.memory.before[a.number]; before[1] > 0 {
				text += fmt.Sprintf(" (before the rollout it had %s)", FormatMetric(Errors, before[0]/before[1]))
			}
			return text
		}
	}
	return ""
}

func (j *judging) mismatchWords() string {
	c := j.memory.crowd
	return fmt.Sprintf("the canary has %.3g %% of the users instead of %.3g %% (evidence %s, 1000× is needed), so the arms are not alike",
		100*c.part(), 100*j.split(), FormatEvidence(c.check.Log()))
}

// part estimates the canary's part of the users that were seen in the step.
func (c *crowd) part() float64 {
	canaries, others := c.seen[canary].users(), c.seen[stable].users()
	return canaries / max(1, canaries+others)
}

func (j *judging) collapseWords() string {
	arm, had, expected, bySplit := j.collapse()
	name, by := "the canary", "by its own traffic before"
	if arm == stable {
		name = "stable"
	}
	if bySplit {
		by = "by the other arm's traffic and the split"
	}
	return fmt.Sprintf("%s got %s in the last %s where %s %.0f were to be expected",
		name, FormatCount(int64(had), "request"), FormatDuration(min(j.in.Settings.Recent, j.interval*time.Duration(max(1, j.memory.last+1-j.since)))), by, expected)
}

// why says in one sentence what a metric says.
func (v *Verdict) why(a *Assessment) string {
	switch {
	case a.breached(v) && a.Role == Observed:
		return v.breachWords(a) + "; it is observed only"
	case a.breached(v):
		return v.breachWords(a)
	case a.Role == Observed:
		return v.valueWords(a) + "; it is observed only"
	}
	switch v.stands(a) {
	case inBreach, absent, above, unproven, ofUsers, tooFewRows:
		return v.standWords(a)
	}
	if a.Role == Proof {
		return v.valueWords(a) + fmt.Sprintf(", within the promote limit %s%s", FormatMetric(a.Metric, a.PromoteUpTo), v.proofWords(a))
	}
	if !a.limited() && v.Step.BasisPoints >= allTraffic {
		return v.valueWords(a) + "; at 100 % there is no stable traffic to compare it with"
	}
	if !a.limited() {
		return v.valueWords(a) + "; it has no limit"
	}
	if a.measured() && a.within(v) {
		return v.valueWords(a) + ", within the promote limit " + FormatMetric(a.Metric, a.PromoteUpTo)
	}
	return v.valueWords(a) + "; too little to stand against a promotion"
}

func (v *Verdict) proofWords(a *Assessment) string {
	log, needed, ok := a.proof()
	if v.Method == Thresholds || !ok {
		return ""
	}
	return fmt.Sprintf(", with evidence %s (%s is needed) that it is below the rollback limit", FormatEvidence(log), FormatEvidence(needed))
}

// valueWords is "the error rate of the canary is 0.1 % in 750 rows and of stable 0.1 %".
func (v *Verdict) valueWords(a *Assessment) string {
	w := &a.Window
	if !a.measured() {
		return a.Metric.Title() + " of the canary is not known yet in this step"
	}
	text := fmt.Sprintf("%s of the canary is %s in %s of this step", a.Metric.Title(), FormatMetric(a.Metric, w.Canary), FormatCount(rounded(w.CanaryRows), "row"))
	if w.StableRows > 0 {
		text += " and stable's " + FormatMetric(a.Metric, w.Stable)
	}
	return text
}

func rounded(x float64) int64 { return int64(math.Round(min(x, mostUnits))) }

func (v *Verdict) breachWords(a *Assessment) string {
	r, limit, which, aim := &a.Recent, a.RollbackAbove, "the rollback limit", "rollback."
	if a.Ceiling > 0 && (limit == 0 || r.Canary > a.Ceiling && a.ceilingAlone(v)) {
		limit, which, aim = a.Ceiling, "the ceiling", kindNames[ceilingAbsolute]
	}
	where := "of the last " + FormatDuration(v.RecentWindow.Duration())
	if v.Method == Thresholds && !(r.Canary > limit) {
		r, where = &a.Window, "of this step"
		limit = a.RollbackLimit.of(r.Stable)
	}
	rows := FormatCount(rounded(r.CanaryRows), "row") + " " + where
	if r.CanarySkipped > 0 {
		rows += fmt.Sprintf(" (and %s that the breaker kept from it)", FormatCount(rounded(r.CanarySkipped), "request"))
	}
	text := fmt.Sprintf("%s of the canary, %s in %s, is above %s %s", a.Metric.Title(), FormatMetric(a.Metric, r.Canary), rows, which, FormatMetric(a.Metric, limit))
	if v.Step.BasisPoints >= allTraffic {
		text += "; at 100 % there is no stable traffic to compare with"
		if a.StableWas > 0 {
			text += ", which had " + FormatMetric(a.Metric, a.StableWas)
		}
	} else if r.StableRows > 0 {
		text += " while stable has " + FormatMetric(a.Metric, r.Stable)
	}
	if weakest, ok := a.weakest(aim); ok {
		text += fmt.Sprintf(" (the weakest evidence for it is %s, %s is needed)", FormatEvidence(weakest.Log), FormatEvidence(weakest.NeededLog))
	}
	return text
}

// ceilingAlone reports that the ceiling is breached and the rollback limit not.
func (a *Assessment) ceilingAlone(v *Verdict) bool {
	without := *a
	without.Ceiling = math.Inf(1)
	return !without.breached(v)
}

// weakest returns the test with the least to spare among those of an aim.
func (a *Assessment) weakest(aim string) (Test, bool) {
	least, found := Test{}, false
	for _, t := range a.Tests {
		if strings.HasPrefix(t.Name, aim) && (!found || t.Log-t.NeededLog < least.Log-least.NeededLog) {
			least, found = t, true
		}
	}
	return least, found
}

// standWords says what stands against a promotion.
func (v *Verdict) standWords(a *Assessment) string {
	title := a.Metric.Title()
	switch v.stands(a) {
	case inBreach:
		return v.breachWords(a) + fmt.Sprintf(", in %d intervals in a row of %d", v.Breaches, v.BreachesNeeded)
	case absent:
		return title + " of the canary is missing while stable has " + FormatMetric(a.Metric, a.Window.Stable)
	case above:
		return fmt.Sprintf("%s, above the promote limit %s", v.valueWords(a), FormatMetric(a.Metric, a.PromoteUpTo))
	case ofUsers:
		return fmt.Sprintf("%s by users, %s of %s, is above the rollback limit %s while of stable's users %s had one",
			title, FormatMetric(a.Metric, a.Window.CanaryFailing), FormatCount(rounded(a.Window.CanaryUsers), "canary user"),
			FormatMetric(a.Metric, a.UsersAbove), FormatMetric(a.Metric, a.Window.StableFailing))
	case tooFewRows:
		if lack := v.lacking(a); lack > 0 {
			return v.valueWords(a) + "; it takes " + FormatCount(int64(math.Ceil(lack)), "more row")
		}
		return fmt.Sprintf("stable has %s of the %d that %s is compared on", FormatCount(rounded(a.Window.StableRows), "row"), v.MinRequests, title)
	case unproven:
		log, needed, ok := a.proof()
		if !a.measured() || !ok {
			return v.valueWords(a)
		}
		return fmt.Sprintf("%s, but the evidence that it is below the rollback limit is %s and %s is needed", v.valueWords(a), FormatEvidence(log), FormatEvidence(needed))
	}
	return ""
}

// reason says in one sentence why the decision is what it is.
func (v *Verdict) reason(d Decision) string {
	switch d {
	case Rollback:
		for i := range v.Metrics {
			if a := &v.Metrics[i]; v.rollsBack(a) {
				text := v.breachWords(a)
				if v.Method == Thresholds && v.BreachesNeeded > 1 {
					text += fmt.Sprintf(", in %d intervals in a row", v.Breaches)
				}
				return text
			}
		}
	case Promote:
		return v.promoteWords()
	case Inconclusive:
		why := v.obstacles()
		if why == "" {
			why = "the step was within its limits, but too late"
		}
		return "the deadline " + v.Step.Deadline.UTC().Format("2006-01-02 15:04:05 UTC") + " has passed: " + why
	}
	return v.obstacles()
}

func (v *Verdict) promoteWords() string {
	var parts []string
	for i := range v.Metrics {
		if a := &v.Metrics[i]; a.Role == Proof && a.limited() {
			parts = append(parts, fmt.Sprintf("%s of the canary, %s in %s, is within %s%s", a.Metric.Title(), FormatMetric(a.Metric, a.Window.Canary),
				FormatCount(rounded(a.Window.CanaryRows), "row"), FormatMetric(a.Metric, a.PromoteUpTo), v.sureWords(a)))
		}
	}
	text := "after the bake time " + strings.Join(parts, " and ")
	if v.Step.BasisPoints >= allTraffic {
		text += "; at 100 % there is no stable traffic, so the absolute limits alone were watched"
	}
	return text
}

func (v *Verdict) sureWords(a *Assessment) string {
	log, needed, ok := a.proof()
	if v.Method == Thresholds || !ok {
		return ""
	}
	return fmt.Sprintf(" (evidence %s, %s is needed)", FormatEvidence(log), FormatEvidence(needed))
}

// obstacles says all that stands against a promotion.
func (v *Verdict) obstacles() string {
	var reasons []string
	if v.Problem != "" {
		reasons = append(reasons, "nothing could be measured: "+v.Problem)
	}
	if v.Step.BakeLeft > 0 {
		reasons = append(reasons, "the step bakes for another "+FormatDuration(v.Step.BakeLeft.Duration()))
	}
	if v.Problem == "" && v.At.IsZero() {
		reasons = append(reasons, "nothing has been measured yet")
	}
	for _, text := range []string{v.Frozen, v.Mismatch, v.Collapse} {
		if text != "" {
			reasons = append(reasons, text)
		}
	}
	proofs := 0
	for i := range v.Metrics {
		a := &v.Metrics[i]
		if a.Role == Proof {
			proofs++
		}
		if v.stands(a) != nothing {
			reasons = append(reasons, v.standWords(a))
		}
	}
	if proofs == 0 && v.Problem == "" && !v.At.IsZero() {
		reasons = append(reasons, "no traffic of this step has been seen that could prove the canary")
	}
	if text := v.missingWords(); text != "" {
		reasons = append(reasons, text)
	}
	return strings.Join(reasons, "; ")
}

func (v *Verdict) missingWords() string {
	m := v.Missing
	if m == nil {
		return ""
	}
	if m.CanaryRequests == 0 {
		return "at the present estimate more requests would not prove " + m.For.Title()
	}
	are := "are"
	if m.CanaryRequests == 1 {
		are = "is"
	}
	text := fmt.Sprintf("about %s %s needed", FormatCount(aboutCount(m.CanaryRequests), "more canary request"), are)
	if m.Duration > 0 {
		text += ", some " + FormatDuration(about(m.Duration.Duration())) + " at the present traffic"
	}
	if v.Open > 0 {
		text += fmt.Sprintf(", and how %s ended is not known yet", FormatCount(rounded(v.Open), "prediction"))
	}
	for i := range v.Metrics {
		if skipped := v.Metrics[i].Window.CanarySkipped; skipped > 0 {
			text += fmt.Sprintf("; the breaker has kept %s from it", FormatCount(rounded(skipped), "request"))
		}
	}
	return text
}

package router

import (
	"perch/shared/bucket"
	"perch/shared/document"
	"perch/shared/lean"
	"perch/shared/telemetry"
)

// State is a document together with what decides beside it.
type State struct {
	*document.Document
	// Halted is the id of the rollout that was rolled back, or "". It outranks
	// the document, which a late writer may have written over a rollback.
	Halted string
}

// Request is what a decision depends on. Absent values are "".
type Request struct {
	Identity string // verified, or ""; it outranks every other name of the user
	Header   string // value of the document's user header
	Cookie   string // the whole Cookie header
	Client   string // token or address, as the document's User.From asks
	Random   string // fresh randomness for a user who is unknown
	Override string // variant asked for by somebody who may
	// Rules holds the values of the rules' headers, in the order of the rules.
	Rules []string
}

// Decision says who answers.
type Decision struct {
	Target      int    // index into the document's targets
	Reason      string // one of telemetry's reasons
	Bucket      int    // 0 to bucket.Count−1
	Fingerprint uint64 // of the user, salted
	// New means that the user was unknown: Random is the id to set as cookie.
	New bool
}

// Decide chooses the target for a request at nowMS, in epoch milliseconds. The
// document must be valid. While a rollout is halted or unattended nothing
// reaches the canary; other targets of rules stay in force.
func Decide(r State, q *Request, nowMS int64) Decision {
	user, isNew := identify(&r.User, q)
	d := Decision{
		Bucket:      bucket.Of(r.Salt, user),
		Fingerprint: bucket.Fingerprint(r.Salt, user),
		New:         isNew,
	}
	d.Target, d.Reason = choose(r, q, d.Bucket)
	if stopped, reason := r.stopped(nowMS); stopped {
		if r.Targets[d.Target].Name == document.Canary || d.Reason == telemetry.ReasonPercentage {
			d.Target, d.Reason = r.Target(document.Stable), reason
		}
	}
	return d
}

// stopped reports whether the canary must get nothing.
func (r State) stopped(nowMS int64) (bool, string) {
	if r.Halted != "" && r.Halted == r.Rollout {
		return true, telemetry.ReasonHalted
	}
	if r.UnattendedAfterMS != 0 && nowMS >= r.UnattendedAfterMS {
		return true, telemetry.ReasonUnattended
	}
	return false, telemetry.ReasonPercentage
}

func choose(r State, q *Request, userBucket int) (target int, reason string) {
	if r.Overrides && (q.Override == document.Stable || q.Override == document.Canary) {
		if target := r.Target(q.Override); target >= 0 {
			return target, telemetry.ReasonOverride
		}
	}
	for i := range r.Rules {
		if i < len(q.Rules) && q.Rules[i] != "" && q.Rules[i] == r.Rules[i].Equals {
			return r.Target(r.Rules[i].Use), telemetry.ReasonRule
		}
	}
	if userBucket < r.BasisPoints {
		return r.Target(document.Canary), telemetry.ReasonPercentage
	}
	return r.Target(document.Stable), telemetry.ReasonPercentage
}

// identify returns the user's id, and whether it was made up for this request.
func identify(u *document.User, q *Request) (id string, isNew bool) {
	if q.Identity != "" {
		return q.Identity, false
	}
	if q.Header != "" {
		return q.Header, false
	}
	if id := cookie(q.Cookie, u.Cookie); id != "" {
		return id, false
	}
	if u.From != "" && q.Client != "" {
		return q.Client, false
	}
	return q.Random, u.From == ""
}

// cookie returns the value of the named cookie in a Cookie header, or "".
func cookie(header, name string) string {
	for header != "" {
		var pair string
		pair, header, _ = lean.Cut(header, ';')
		for pair != "" && pair[0] == ' ' {
			pair = pair[1:]
		}
		if value, found := lean.CutPrefix(pair, name); found && value != "" && value[0] == '=' {
			for value[len(value)-1] == ' ' {
				value = value[:len(value)-1]
			}
			return value[1:]
		}
	}
	return ""
}

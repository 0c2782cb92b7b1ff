package reactor

import (
	"strconv"

	"perch/shared/document"
	"perch/shared/jsonstream"
	"perch/shared/telemetry"
	"perch/worker/router"
)

// appendPlan writes what the host needs of a document, once per document: which
// headers to hand to Decide, and where each target is.
func appendPlan(dst []byte, d *document.Document) []byte {
	service := d.Service.String()
	dst = append(dst, `{"service":`...)
	dst = jsonstream.AppendString(dst, service)
	dst = appendText(dst, "rollout", d.Rollout)
	dst = append(dst, `,"generation":`...)
	dst = strconv.AppendInt(dst, d.Generation, 10)
	dst = append(dst, `,"percentage":`...)
	dst = append(dst, document.FormatPercentage(d.BasisPoints)...)
	dst = appendText(dst, "from", d.User.From)
	dst = appendText(dst, "cookie", d.User.Cookie)
	dst = append(dst, `,"overrides":`...)
	dst = strconv.AppendBool(dst, d.Overrides)
	dst = append(dst, `,"headers":[`...)
	dst = jsonstream.AppendString(dst, d.User.Header)
	for _, rule := range d.Rules {
		dst = append(dst, ',')
		dst = jsonstream.AppendString(dst, rule.Header)
	}
	dst = append(dst, `],"targets":[`...)
	for i := range d.Targets {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendTarget(dst, &d.Targets[i], service)
	}
	return append(dst, `]}`...)
}

func appendTarget(dst []byte, t *document.Target, service string) []byte {
	dst = append(dst, `{"name":`...)
	dst = jsonstream.AppendString(dst, t.Name)
	dst = appendText(dst, "index", telemetry.IndexOf(service, t.Name))
	dst = appendText(dst, "path", router.ReplicatePath(t))
	dst = appendText(dst, "url", t.URL)
	dst = appendText(dst, "version", t.Version)
	dst = append(dst, `,"credentials":`...)
	dst = strconv.AppendBool(dst, t.Credentials)
	return append(dst, '}')
}

func appendText(dst []byte, name, value string) []byte {
	dst = append(dst, ',')
	dst = jsonstream.AppendString(dst, name)
	return jsonstream.AppendString(append(dst, ':'), value)
}

func (r *Reactor) addInt(n int) {
	r.text = strconv.AppendInt(append(r.text, separator), int64(n), 10)
}

// appendHex appends n as 16 hexadecimal digits.
func appendHex(dst []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&15])
	}
	return dst
}

package measure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"perch/shared/telemetry"
)

// BenchmarkFleet asks about one minute of 300 services with 1,000 requests each,
// plain calls of which a part streams, or predictions, 5 % of them on the canary.
func BenchmarkFleet(b *testing.B) {
	const services, requests = 300, 1000
	for _, traffic := range []string{"plain", "streams", "predictions"} {
		b.Run(traffic, func(b *testing.B) {
			r := &chance{Rand: rand.New(rand.NewPCG(1, 1))}
			q := fleet(services, 1)
			e := newEngine(b)
			for i := range q.Subjects {
				q.Subjects[i].UserShare = UserShare(requests, services)
				e.write(r.minute(q.Subjects[i].Service, int(q.Through-first)*minute, requests, traffic))
			}
			_, err := e.ask("SELECT count() AS n FROM " + dataset)
			require.NoError(b, err)
			e.asked, e.rows, e.bytes = 0, 0, 0
			for b.Loop() {
				found, err := Ask(q, e.ask)
				require.NoError(b, err)
				units := 0.0
				for _, intervals := range found {
					units += intervals[0].Canary.Rows + intervals[0].Stable.Rows
				}
				require.EqualValues(b, services*requests, units)
			}
			b.ReportMetric(float64(e.asked)/float64(b.N), "statements/op")
			b.ReportMetric(float64(e.rows)/float64(b.N), "rows/op")
			b.ReportMetric(float64(e.bytes)/float64(b.N)/1e6, "MB/op")
			b.ReportMetric(float64(len(q.SQL())), "statement_B")
		})
	}
}

// minute returns the points of a service in the minute that begins in a second:
// 1 % fail, times are lognormal around 800 ms, half of a prediction's is its queue's.
func (r *chance) minute(service string, second, requests int, traffic string) []point {
	ms := func(median float64) float64 { return median * math.Exp(0.8*r.NormFloat64()) }
	var points []point
	for n := range requests {
		id := ""
		if traffic == "predictions" {
			id = fmt.Sprint(service, n)
		}
		p := made(second+r.IntN(minute), "stable", id)
		if n%20 == 0 {
			p.variant = "canary"
		}
		p.service, p.servedBy, p.firstByte = service, p.variant, ms(800)
		p.user, p.trace = fmt.Sprintf("%016x", r.Uint64()), fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
		if traffic == "streams" {
			p.firstToken = p.firstByte + ms(100)
		}
		if n%100 == 50 {
			p.outcome, p.class = telemetry.OutcomeError, telemetry.ClassHTTP
		}
		points = append(points, p)
		if id != "" {
			end := ended(0, p.variant, id, succeeded)
			end.at, end.service, end.predict = p.at, service, ms(400)
			end.total = end.predict + ms(400)
			points = append(points, end)
		}
	}
	return points
}

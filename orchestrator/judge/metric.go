package judge

// Metrics are all metrics in their order.
var Metrics = [metrics]Metric{Errors, ClientErrors, Feedback, LatencyP50, LatencyP95, TotalP50, TotalP95, FirstTokenP50, FirstTokenP95, CostP50, CostP95}

// Timing returns which kind of time a metric is a quantile of, and the quantile,
// (0, 1); false for a rate.
func (m Metric) Timing() (timing Timing, quantile float64, ok bool) {
	for i, other := range Metrics[firstTimed:] {
		if m == other {
			return Timing(i / 2), [...]float64{0.5, 0.95}[i%2], true
		}
	}
	return 0, 0, false
}

// firstTimed is the number of the first metric that is a time.
const firstTimed = 3

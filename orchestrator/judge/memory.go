package judge

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"perch/orchestrator/judge/eprocess"
	"perch/orchestrator/judge/histogram"
	"perch/orchestrator/judge/noise"
	"perch/orchestrator/judge/pack"
)

// memorySchema is raised where older memories cannot be read any more.
const memorySchema = 1

// Memory is what the judge keeps of a rollout, a few kilobytes: nothing that
// could not be had again from the intervals since Step.Began − Settings.History.
// It is a value: no judgement changes it. The zero value is a rollout's first.
type Memory struct {
	judged         bool                   // something was
	last           int64                  // interval that was judged last
	interval       time.Duration          // their length
	began          time.Time              // the rollout's
	since          time.Time              // the step's
	stepped        bool                   // an interval of the step was judged
	before, during [firstTimed][2]float64 // stable's events and units of rates, before the rollout and in it
	window         window
	previous       arm // stable in the interval before, if it was the last
	noise          [metrics]noise.Ring
	trials         []remembered
	crowd          crowd
	step           [metrics]sample              // the canary's in the step
	times          [Timings]histogram.Histogram // the canary's in the step, effective
	breaches       int                          // in a row, of method thresholds
	counted        int64                        // interval that they were counted at last
}

// metrics is the number of metrics.
const metrics = 11

// remembered is a test of a metric as it stands.
type remembered struct {
	metric  int
	kind    kind
	null    float64
	process eprocess.Process
}

// sample is what the canary's value in the step is estimated from. Counts are
// effective; tempered ones are divided by their interval's D.
type sample struct {
	n         float64 // units
	k         float64 // tempered events of a rate
	temperedN float64 // tempered units
}

// Last returns the number of the interval that was judged last, false for a
// memory of nothing.
func (m Memory) Last() (index int64, ok bool) { return m.last, m.judged }

// stored is a memory as JSON.
type stored struct {
	Schema   int           `json:"schema"`
	Last     int64         `json:"last"`
	Interval time.Duration `json:"interval_ns"`
	Began    time.Time     `json:"began"`
	Since    time.Time     `json:"since"`
	Packed   []byte        `json:"packed"`
}

// Encode returns the memory as JSON.
func (m Memory) Encode() []byte {
	if !m.judged {
		return []byte(fmt.Sprintf(`{"schema":%d}`, memorySchema))
	}
	packed := m.pack()
	packed = binary.LittleEndian.AppendUint32(packed, m.checksum(packed))
	text, err := json.Marshal(stored{memorySchema, m.last, m.interval, m.began, m.since, packed})
	if err != nil {
		panic(err) // times beyond the year 9999 alone
	}
	return text
}

// checksumBytes is the length of a checksum.
const checksumBytes = 4

// checksum is that of all of a stored memory: one with a flipped bit would judge by
// numbers that nobody measured, and losing it loses nothing.
func (m *Memory) checksum(packed []byte) uint32 {
	head := make([]byte, 0, 64)
	for _, n := range []int64{m.last, int64(m.interval), m.began.UnixNano(), m.since.UnixNano()} {
		head = pack.Int(head, n)
	}
	return crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, packed)
}

// DecodeMemory returns the memory that was encoded. It returns an error for
// anything else, and for a memory of another schema.
func DecodeMemory(text []byte) (Memory, error) {
	var s stored
	head, packed := split(text)
	if err := json.Unmarshal(head, &s); err != nil {
		return Memory{}, fmt.Errorf("read the judge's memory: %w", err)
	}
	if packed != nil {
		s.Packed = packed
	}
	if s.Schema != memorySchema {
		return Memory{}, fmt.Errorf("read the judge's memory: its schema is %d, not %d", s.Schema, memorySchema)
	}
	if s.Packed == nil {
		return Memory{}, nil
	}
	m := Memory{judged: true, last: s.Last, interval: s.Interval, began: s.Began, since: s.Since}
	body := s.Packed[:max(0, len(s.Packed)-checksumBytes)]
	if len(body) == 0 || binary.LittleEndian.Uint32(s.Packed[len(body):]) != m.checksum(body) {
		return Memory{}, fmt.Errorf("read the judge's memory: %w", pack.ErrDamaged)
	}
	reader := pack.NewReader(body)
	m.unpack(reader)
	if err := reader.Done(); err != nil {
		return Memory{}, fmt.Errorf("read the judge's memory: %w", err)
	}
	return m, nil
}

// split returns a memory's JSON without the packed part, and that part. Where the
// text is not as Encode writes it, it returns all of it and nil: reading kilobytes
// as a JSON string takes longer than judging.
func split(text []byte) (head, packed []byte) {
	const key, end = `,"packed":"`, `"}`
	at := bytes.Index(text, []byte(key))
	if at < 0 || !bytes.HasSuffix(text, []byte(end)) {
		return text, nil
	}
	packed, err := base64.StdEncoding.AppendDecode(nil, text[at+len(key):len(text)-len(end)])
	if err != nil {
		return text, nil
	}
	return append(bytes.Clone(text[:at]), '}'), packed
}

func (m *Memory) pack() []byte {
	to := make([]byte, 0, 8192)
	to = pack.Int(to, boolInt(m.stepped))
	to = pack.Int(pack.Int(to, int64(m.breaches)), m.last-m.counted)
	for i := range m.before {
		for _, x := range []float64{m.before[i][0], m.before[i][1], m.during[i][0], m.during[i][1]} {
			to = pack.Float(to, x)
		}
	}
	to = m.previous.append(to)
	to = pack.Int(to, int64(len(m.window)))
	for i := range m.window {
		b := &m.window[i]
		to = pack.Int(pack.Int(pack.Int(to, m.last-b.first), m.last-b.last), boolInt(b.cold))
		to = b.arms[stable].append(b.arms[canary].append(to))
	}
	for i := range m.noise {
		to = m.noise[i].Append(to)
	}
	to = pack.Int(to, int64(len(m.trials)))
	for _, t := range m.trials {
		to = pack.Int(pack.Int(to, int64(t.metric)), int64(t.kind))
		to = pack.Int(pack.Float(to, t.null), t.process.Intervals)
		to = packWeights(to, t.process.Weights)
	}
	to = m.crowd.append(to)
	for _, s := range m.step {
		to = pack.Float(pack.Float(pack.Float(to, s.n), s.k), s.temperedN)
	}
	for _, times := range m.times {
		to = times.Append(to)
	}
	return to
}

func (m *Memory) unpack(from *pack.Reader) {
	m.stepped = from.Int() != 0
	m.breaches, m.counted = int(from.Int()), m.last-from.Int()
	for i := range m.before {
		m.before[i] = [2]float64{from.Float(), from.Float()}
		m.during[i] = [2]float64{from.Float(), from.Float()}
	}
	m.previous = readArm(from)
	if n := from.Len(3); n > 0 {
		m.window = make(window, n)
	}
	for i := range m.window {
		b := &m.window[i]
		b.first, b.last, b.cold = m.last-from.Int(), m.last-from.Int(), from.Int() != 0
		b.arms = [arms]arm{readArm(from), readArm(from)}
	}
	for i := range m.noise {
		m.noise[i] = noise.Read(from)
	}
	if n := from.Len(6); n > 0 {
		m.trials = make([]remembered, n)
	}
	for i := range m.trials {
		t := &m.trials[i]
		t.metric, t.kind, t.null = int(from.Int()), kind(from.Int()), from.Float()
		t.process.Intervals = from.Int()
		t.process.Weights = readWeights(from)
	}
	m.crowd = readCrowd(from)
	for i := range m.step {
		m.step[i] = sample{from.Float(), from.Float(), from.Float()}
	}
	for i := range m.times {
		m.times[i] = histogram.Read(from)
	}
}

// packWeights packs log weights; those of a test that has seen nothing are alike.
func packWeights(to []byte, weights []float64) []byte {
	written := weights
	if !slices.ContainsFunc(weights, func(weight float64) bool { return weight != weights[0] }) {
		written = weights[:min(1, len(weights))]
	}
	to = pack.Int(pack.Int(to, int64(len(weights))), int64(len(written)))
	for _, weight := range written {
		to = pack.Bits(to, weight)
	}
	return to
}

// mostWeights is more than any grid has.
const mostWeights = 64

func readWeights(from *pack.Reader) []float64 {
	n := from.Int()
	written := from.Len(8)
	if n < 0 || n > mostWeights || written != 1 && int64(written) != n {
		from.Fail()
		return nil
	}
	weights := from.Floats(int(n))
	for j := range weights {
		if j < written {
			weights[j] = from.Bits()
		} else {
			weights[j] = weights[0]
		}
	}
	return weights
}

// append packs an arm: which fields are not 0, and those.
func (a *arm) append(to []byte) []byte {
	fields := a.fields()
	mask := int64(0)
	for i, field := range fields {
		if *field != 0 {
			mask |= 1 << i
		}
	}
	for i := range a.times {
		if len(a.times[i].Counts) > 0 {
			mask |= 1 << (len(fields) + i)
		}
	}
	to = pack.Int(to, mask)
	for _, field := range fields {
		if *field != 0 {
			to = pack.Float(to, *field)
		}
	}
	for i := range a.times {
		if len(a.times[i].Counts) > 0 {
			to = a.times[i].Append(to)
		}
	}
	return to
}

func readArm(from *pack.Reader) arm {
	var a arm
	fields := a.fields()
	mask := from.Int()
	for i, field := range fields {
		if mask&(1<<i) != 0 {
			*field = from.Float()
		}
	}
	for i := range a.times {
		if mask&(1<<(len(fields)+i)) != 0 {
			a.times[i] = histogram.Read(from)
		}
	}
	return a
}

func (a *arm) fields() [9]*float64 {
	return [9]*float64{&a.rows, &a.weight, &a.squared, &a.errors, &a.clientErrors, &a.good, &a.bad, &a.open, &a.skipped}
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// clone returns a memory whose parts may be changed in place.
func (m Memory) clone() Memory {
	m.window = append(make(window, 0, len(m.window)+4), m.window...)
	size := 0
	for i := range m.trials {
		size += len(m.trials[i].process.Weights)
	}
	weights := make([]float64, 0, size)
	m.trials = slices.Clone(m.trials)
	for i := range m.trials {
		from := len(weights)
		weights = append(weights, m.trials[i].process.Weights...)
		m.trials[i].process.Weights = weights[from:len(weights):len(weights)]
	}
	return m
}

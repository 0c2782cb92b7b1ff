package histogram

import (
	"encoding/base64"

	"perch/orchestrator/judge/pack"
)

// Append packs the histogram behind other bytes.
func (h Histogram) Append(to []byte) []byte {
	to = pack.Int(to, int64(len(h.Counts)))
	if len(h.Counts) == 0 {
		return to
	}
	to = pack.Int(to, int64(h.First))
	for _, count := range h.Counts {
		to = pack.Float(to, count)
	}
	return to
}

// Read reads what Append packed.
func Read(from *pack.Reader) Histogram {
	n := from.Len(1)
	if n == 0 {
		return Histogram{}
	}
	h := Histogram{int(from.Int()), from.Floats(n)}
	for i := range h.Counts {
		h.Counts[i] = from.Float()
	}
	return h
}

// MarshalText packs the histogram into base64.
func (h Histogram) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h.Append(nil)), nil
}

// UnmarshalText reads what MarshalText packed. It returns an error for any other text.
func (h *Histogram) UnmarshalText(text []byte) error {
	packed, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	reader := pack.NewReader(packed)
	read := Read(reader)
	if err := reader.Done(); err != nil {
		return err
	}
	*h = read
	return nil
}

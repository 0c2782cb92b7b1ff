package upstream

// streamBreak is the fault of one stream.
type streamBreak struct {
	fault Fault
	at    int // number of the event that it hits; -1 without a fault
}

// streamBreak hits the event with the given number, or the first to be sent if that is later.
func (x *exchange) streamBreak(at, first int) streamBreak {
	for _, f := range x.faults {
		if f.kind() == inStream || f.Name == FaultResetBody {
			return streamBreak{f, max(at, first)}
		}
	}
	return streamBreak{at: -1}
}

// junk is no event: a line without a colon, bytes that are not UTF-8, JSON cut short.
var junk = []byte("ev\xfe\xffent output\ndata {\"broken\n\n")

// hit has the fault befall the event whose bytes are due. It returns false when nothing is to follow.
func (b streamBreak) hit(s *Server, x *exchange, raw []byte) bool {
	switch b.fault.Name {
	case FaultStreamCut:
		_ = x.w.send(raw[:len(raw)/2]) // nothing follows either way
	case FaultStreamStall:
		s.stall(x)
	case FaultStreamMalformed:
		return x.w.send(junk) == nil
	case FaultResetBody:
		x.reset()
	}
	return false
}

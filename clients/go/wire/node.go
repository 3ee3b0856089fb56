package wire

// AppendEmpty writes a request without a body: PING or STATS.
func AppendEmpty(b []byte, op Op, id uint64) []byte {
	return AppendHeader(b, Header{Op: op, ID: id})
}

// Pong is the answer to PING.
type Pong struct {
	TimeUs  uint64 // the node's time, microseconds since 1970
	Catalog uint64 // catalog version
}

// AppendPong writes the answer to a PING.
func AppendPong(b []byte, id uint64, p Pong) []byte {
	start := len(b)
	b = AppendHeader(b, Header{Op: OpPing | AnswerBit, ID: id})
	b, part := beginFixed(b, pongLen)
	le.PutUint64(part[8:], p.TimeUs)
	le.PutUint64(part[16:], p.Catalog)
	return Finish(b, start)
}

// ParsePong reads the body of an answer to PING.
func ParsePong(body []byte) (Pong, error) {
	part, rest, err := fixed(body, pongLen)
	if err != nil {
		return Pong{}, err
	}
	return Pong{le.Uint64(part[8:]), le.Uint64(part[16:])}, eachField(rest, unknownField)
}

// Stats is the answer to STATS.
type Stats struct {
	Behind       bool   // the node is behind in writing to disk
	UptimeS      uint64 // seconds since the node started
	Connections  uint64 // open, of this protocol
	Frames       uint64 // answered
	Decisions    uint64
	Denied       uint64 // of the decisions
	Applications uint64
	Catalog      uint64 // catalog version
	FlushUs      uint64 // microseconds since the last flush to disk was begun
}

// AppendStats writes the answer to a STATS.
func AppendStats(b []byte, id uint64, s Stats) []byte {
	start := len(b)
	b = AppendHeader(b, Header{Op: OpStats | AnswerBit, ID: id})
	b, part := beginFixed(b, statsLen)
	if s.Behind {
		part[2] = 1
	}
	for i, n := range [...]uint64{
		s.UptimeS, s.Connections, s.Frames, s.Decisions, s.Denied, s.Applications, s.Catalog, s.FlushUs,
	} {
		le.PutUint64(part[8+8*i:], n)
	}
	return Finish(b, start)
}

// ParseStats reads the body of an answer to STATS.
func ParseStats(body []byte) (Stats, error) {
	part, rest, err := fixed(body, statsLen)
	if err != nil {
		return Stats{}, err
	}
	s := Stats{
		Behind:       part[2] == 1,
		UptimeS:      le.Uint64(part[8:]),
		Connections:  le.Uint64(part[16:]),
		Frames:       le.Uint64(part[24:]),
		Decisions:    le.Uint64(part[32:]),
		Denied:       le.Uint64(part[40:]),
		Applications: le.Uint64(part[48:]),
		Catalog:      le.Uint64(part[56:]),
		FlushUs:      le.Uint64(part[64:]),
	}
	return s, eachField(rest, unknownField)
}

// GoAway is what a node says before it closes a connection.
type GoAway struct {
	Reason  Closing
	GraceMs uint32 // until it closes
	Message string // a sentence for people
}

// AppendGoAway writes a GOAWAY.
func AppendGoAway(b []byte, g GoAway) ([]byte, error) {
	start := len(b)
	b = AppendHeader(b, Header{Op: OpGoAway | AnswerBit})
	b, part := beginFixed(b, goAwayLen)
	le.PutUint16(part[2:], uint16(g.Reason))
	le.PutUint32(part[4:], g.GraceMs)
	b, err := appendText(b, TagMessage, g.Message)
	if err != nil {
		return b[:start], err
	}
	return Finish(b, start), nil
}

// ParseGoAway reads the body of a GOAWAY.
func ParseGoAway(body []byte) (GoAway, error) {
	part, rest, err := fixed(body, goAwayLen)
	if err != nil {
		return GoAway{}, err
	}
	g := GoAway{Reason: Closing(le.Uint16(part[2:])), GraceMs: le.Uint32(part[4:])}
	err = eachField(rest, takeMessage(&g.Message))
	return g, err
}

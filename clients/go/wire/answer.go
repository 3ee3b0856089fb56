package wire

const (
	failureLen  = 8
	decisionLen = 72
	receiptLen  = 16
	boundLen    = 24
	pongLen     = 24
	statsLen    = 72
	goAwayLen   = 8
)

// Marks are the marks of a decision or a receipt.
type Marks uint8

const (
	// MarkCounted: the usage was counted, or is held. On a receipt the same bit is MarkOnDisk.
	MarkCounted Marks = 0x01
	// MarkOnDisk: the change is on disk.
	MarkOnDisk Marks = 0x01
	// MarkShadow: something in shadow would have said no.
	MarkShadow Marks = 0x02
	// MarkLimit: the numbers of the binding limit mean something.
	MarkLimit Marks = 0x04
	// MarkBehind: the node is behind in writing to disk.
	MarkBehind Marks = 0x08
)

// Failure is the body of an answer whose status is not of ClassDone.
type Failure struct {
	RetryMs uint32 // milliseconds after which the request may be sent again; 0 if that says nothing
	Message string // a sentence for people
}

// AppendFailure writes an answer that says no more than its status.
func AppendFailure(b []byte, op Op, status Status, id uint64, f Failure) ([]byte, error) {
	start := len(b)
	b = AppendHeader(b, Header{Op: op | AnswerBit, Status: status, ID: id})
	b, part := beginFixed(b, failureLen)
	le.PutUint32(part[4:], f.RetryMs)
	b, err := appendText(b, TagMessage, f.Message)
	if err != nil {
		return b[:start], err
	}
	return Finish(b, start), nil
}

// ParseFailure reads the body of an answer whose status is not of ClassDone.
func ParseFailure(body []byte) (Failure, error) {
	part, rest, err := fixed(body, failureLen)
	if err != nil {
		return Failure{}, err
	}
	f := Failure{RetryMs: le.Uint32(part[4:])}
	err = eachField(rest, takeMessage(&f.Message))
	return f, err
}

func takeMessage(into *string) func(Tag, []byte) (bool, error) {
	return func(tag Tag, value []byte) (bool, error) {
		if tag != TagMessage {
			return false, nil
		}
		*into = text(value)
		return true, nil
	}
}

// Decision is the answer to AUTHORIZE, AUTHREP, CHECK and RESERVE.
type Decision struct {
	Yes          bool
	Marks        Marks
	Reason       Reason // of a no
	Shadow       Reason // of what is in shadow
	LimitID      uint64 // of the binding limit, as the four after it; with MarkLimit
	Max          uint64
	Count        uint64
	Remaining    uint64 // how often the same call could still be made; Never without bound
	ResetMs      uint64 // until its window ends; Never for eternity
	RetryAfterMs uint64 // after a no because of limits; Never if waiting does not help
	Catalog      uint64 // catalog version
	Reservation  uint64 // of a RESERVE that said yes
	Limits       []LimitRow
}

// AppendDecision writes the answer to a call of op.
func AppendDecision(b []byte, op Op, id uint64, d *Decision) []byte {
	start := len(b)
	b = AppendHeader(b, Header{Op: op | AnswerBit, ID: id})
	return Finish(AppendDecisionBody(b, d), start)
}

// AppendDecisionBody writes a decision without a header, as it is in an answer to BATCH.
func AppendDecisionBody(b []byte, d *Decision) []byte {
	b, part := beginFixed(b, decisionLen)
	if d.Yes {
		part[2] = 1
	}
	part[3] = byte(d.Marks)
	le.PutUint16(part[4:], uint16(d.Reason))
	le.PutUint16(part[6:], uint16(d.Shadow))
	for i, n := range [...]uint64{
		d.LimitID, d.Max, d.Count, d.Remaining, d.ResetMs, d.RetryAfterMs, d.Catalog, d.Reservation,
	} {
		le.PutUint64(part[8+8*i:], n)
	}
	for i := range d.Limits {
		b = le.AppendUint16(b, uint16(TagLimit))
		b = le.AppendUint16(b, limitRowLen)
		b = appendLimitRow(b, &d.Limits[i])
	}
	return b
}

// ParseDecision reads the body of a decision.
func ParseDecision(body []byte) (Decision, error) {
	part, rest, err := fixed(body, decisionLen)
	if err != nil {
		return Decision{}, err
	}
	d := Decision{
		Yes:          part[2] == 1,
		Marks:        Marks(part[3]),
		Reason:       Reason(le.Uint16(part[4:])),
		Shadow:       Reason(le.Uint16(part[6:])),
		LimitID:      le.Uint64(part[8:]),
		Max:          le.Uint64(part[16:]),
		Count:        le.Uint64(part[24:]),
		Remaining:    le.Uint64(part[32:]),
		ResetMs:      le.Uint64(part[40:]),
		RetryAfterMs: le.Uint64(part[48:]),
		Catalog:      le.Uint64(part[56:]),
		Reservation:  le.Uint64(part[64:]),
	}
	if len(rest) == 0 {
		return d, nil
	}
	var limits []LimitRow
	err = eachField(rest, func(tag Tag, value []byte) (bool, error) {
		if tag != TagLimit {
			return false, nil
		}
		if len(value) < limitRowLen {
			return true, ErrMalformed
		}
		limits = append(limits, parseLimitRow(value))
		return true, nil
	})
	d.Limits = limits
	return d, err
}

// Outcome is what a COMMIT or CANCEL found.
type Outcome uint8

const (
	// Done as asked.
	Done Outcome = 0
	// Overrun: some metric got more than was held; it was counted in full.
	Overrun Outcome = 1
	// Expired: it came after the time to live; a COMMIT was counted all the same.
	Expired Outcome = 2
)

// Receipt is the answer to REPORT, COMMIT and CANCEL.
type Receipt struct {
	Outcome Outcome
	Marks   Marks
	Catalog uint64 // catalog version
}

// AppendReceipt writes the answer to a call of op.
func AppendReceipt(b []byte, op Op, id uint64, r Receipt) []byte {
	start := len(b)
	b = AppendHeader(b, Header{Op: op | AnswerBit, ID: id})
	return Finish(AppendReceiptBody(b, r), start)
}

// AppendReceiptBody writes a receipt without a header, as it is in an answer to BATCH.
func AppendReceiptBody(b []byte, r Receipt) []byte {
	b, part := beginFixed(b, receiptLen)
	part[2], part[3] = byte(r.Outcome), byte(r.Marks)
	le.PutUint64(part[8:], r.Catalog)
	return b
}

// ParseReceipt reads the body of a receipt.
func ParseReceipt(body []byte) (Receipt, error) {
	part, rest, err := fixed(body, receiptLen)
	if err != nil {
		return Receipt{}, err
	}
	r := Receipt{Outcome(part[2]), Marks(part[3]), le.Uint64(part[8:])}
	return r, eachField(rest, unknownField)
}

// Bound is the answer to BIND.
type Bound struct {
	Yes     bool
	Reason  Reason // of a no
	Handle  uint64
	Catalog uint64   // catalog version
	Metrics []uint32 // numbers of the metrics asked for, in their order
}

// AppendBound writes the answer to a BIND.
func AppendBound(b []byte, id uint64, bound *Bound) ([]byte, error) {
	if len(bound.Metrics) > TextMax {
		return b, ErrTooManyMetrics
	}
	start := len(b)
	b = AppendHeader(b, Header{Op: OpBind | AnswerBit, ID: id})
	b, part := beginFixed(b, boundLen)
	if bound.Yes {
		part[2] = 1
	}
	le.PutUint16(part[4:], uint16(bound.Reason))
	le.PutUint16(part[6:], uint16(len(bound.Metrics)))
	le.PutUint64(part[8:], bound.Handle)
	le.PutUint64(part[16:], bound.Catalog)
	for _, number := range bound.Metrics {
		b = le.AppendUint32(b, number)
	}
	return Finish(b, start), nil
}

// ParseBound reads the body of an answer to BIND.
func ParseBound(body []byte) (Bound, error) {
	part, rest, err := fixed(body, boundLen)
	if err != nil {
		return Bound{}, err
	}
	bound := Bound{
		Yes:     part[2] == 1,
		Reason:  Reason(le.Uint16(part[4:])),
		Handle:  le.Uint64(part[8:]),
		Catalog: le.Uint64(part[16:]),
	}
	n := int(le.Uint16(part[6:]))
	if n*4 > len(rest) {
		return Bound{}, ErrMalformed
	}
	if n > 0 {
		bound.Metrics = make([]uint32, n)
	}
	for i := range bound.Metrics {
		bound.Metrics[i] = le.Uint32(rest[4*i:])
	}
	return bound, eachField(rest[4*n:], unknownField)
}

package wire

const (
	batchLen     = 8
	batchItemLen = 8
	// What an item's answer takes at most, and a batch's answer beside its items.
	batchAnswerItemMax = 80
	batchAnswerRest    = 24
)

// BatchMax is how many items a BATCH may have on a connection with that frame maximum.
func BatchMax(frameMax uint32) int {
	if frameMax < batchAnswerRest {
		return 0
	}
	n := int((frameMax - batchAnswerRest) / batchAnswerItemMax)
	if n > TextMax {
		return TextMax
	}
	return n
}

// Item is a request within a BATCH; its body is that of the operation's own request, which ParseCall reads.
type Item struct {
	Op    Op
	Flags Flags
	Body  []byte // within what was parsed
}

// AppendBatch writes the head of a BATCH frame with that many items; AppendItem writes each, Finish the frame.
func AppendBatch(b []byte, flags Flags, id uint64, items int) ([]byte, error) {
	if items < 1 || items > TextMax {
		return b, ErrTooManyItems
	}
	b = AppendHeader(b, Header{Op: OpBatch, Flags: flags, ID: id})
	b, part := beginFixed(b, batchLen)
	le.PutUint16(part[2:], uint16(items))
	return b, nil
}

// SetItems sets the number of items of the BATCH that b begins with, for who learns only later how many fit.
func SetItems(b []byte, items int) {
	if len(b) >= HeaderLen+batchLen {
		le.PutUint16(b[HeaderLen+2:], uint16(items))
	}
}

// AppendItem writes an item of a BATCH.
func AppendItem(b []byte, op Op, flags Flags, c *Call) ([]byte, error) {
	start := len(b)
	b, part := beginFixed(b, batchItemLen)
	part[2], part[3] = byte(op), byte(flags)
	b, err := appendCallBody(b, op, c)
	if err == nil && len(b)-start > TextMax {
		err = ErrTooManyItems
	}
	if err != nil {
		return b[:start], err
	}
	le.PutUint16(b[start:], uint16(len(b)-start))
	return b, nil
}

// ParseBatch reads the body of a BATCH; nodes and proxies do that, clients do not.
func ParseBatch(body []byte) ([]Item, error) {
	part, rest, err := fixed(body, batchLen)
	if err != nil {
		return nil, err
	}
	n := int(le.Uint16(part[2:]))
	if n < 1 || n*batchItemLen > len(rest) {
		return nil, ErrMalformed
	}
	items := make([]Item, n)
	for i := range items {
		var item []byte
		if item, rest, err = fixed(rest, batchItemLen); err != nil {
			return nil, err
		}
		items[i] = Item{Op(item[2]), Flags(item[3]), item[batchItemLen:]}
	}
	return items, eachField(rest, unknownField)
}

// ItemAnswer is the answer to an item of a BATCH; its body is that of the operation's own answer.
type ItemAnswer struct {
	Op     Op // without AnswerBit
	Status Status
	Body   []byte // within what was parsed
}

// BatchAnswer is the answer to a BATCH.
type BatchAnswer struct {
	Done  bool // with FlagAll: all are done; otherwise true
	Items []ItemAnswer
}

// AppendBatchAnswer writes the answer to a BATCH.
func AppendBatchAnswer(b []byte, id uint64, a *BatchAnswer) ([]byte, error) {
	if len(a.Items) > TextMax {
		return b, ErrTooManyItems
	}
	start := len(b)
	b = AppendHeader(b, Header{Op: OpBatch | AnswerBit, ID: id})
	b, part := beginFixed(b, batchLen)
	le.PutUint16(part[2:], uint16(len(a.Items)))
	if a.Done {
		part[4] = 1
	}
	for _, item := range a.Items {
		if len(item.Body) > TextMax-batchItemLen {
			return b[:start], ErrTooManyItems
		}
		b, part = beginFixed(b, batchItemLen)
		le.PutUint16(part, uint16(batchItemLen+len(item.Body)))
		part[2] = byte(item.Op | AnswerBit)
		le.PutUint16(part[4:], uint16(item.Status))
		b = append(b, item.Body...)
	}
	return Finish(b, start), nil
}

// ParseBatchAnswer reads the body of an answer to a BATCH.
func ParseBatchAnswer(body []byte) (BatchAnswer, error) {
	part, rest, err := fixed(body, batchLen)
	if err != nil {
		return BatchAnswer{}, err
	}
	a := BatchAnswer{Done: part[4] == 1}
	n := int(le.Uint16(part[2:]))
	if n*batchItemLen > len(rest) {
		return BatchAnswer{}, ErrMalformed
	}
	a.Items = make([]ItemAnswer, n)
	for i := range a.Items {
		var item []byte
		if item, rest, err = fixed(rest, batchItemLen); err != nil {
			return BatchAnswer{}, err
		}
		a.Items[i] = ItemAnswer{Op(item[2]) &^ AnswerBit, Status(le.Uint16(item[4:])), item[batchItemLen:]}
	}
	return a, eachField(rest, unknownField)
}

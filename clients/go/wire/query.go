package wire

const (
	queryLen    = 24
	limitRowLen = 48
	usageRowLen = 64
)

// LimitRow is a limit of a plan and how far it is used.
type LimitRow struct {
	ID      uint64
	Metric  uint32
	Period  Period
	Shadow  bool // it denies nothing
	Max     uint64
	Count   uint64
	Held    uint64 // by reservations
	ResetMs uint64 // until its window ends; Never for eternity
}

// UsageRow is what was counted of a metric in the current window of each period, by Period.
type UsageRow struct {
	Metric uint32
	Counts [Periods]uint64
}

// MetricName tells the name of a metric number.
type MetricName struct {
	Metric uint32
	Name   string
}

// Query is the answer to QUERY.
type Query struct {
	Active       bool   // the application's state is active
	Reservations uint8  // open
	Catalog      uint64 // catalog version
	TimeUs       uint64 // the node's time, microseconds since 1970
	Limits       []LimitRow
	Usage        []UsageRow
	Metrics      []MetricName
}

func appendLimitRow(b []byte, r *LimitRow) []byte {
	b = le.AppendUint64(b, r.ID)
	b = le.AppendUint32(b, r.Metric)
	var marks byte
	if r.Shadow {
		marks = 1
	}
	b = append(b, byte(r.Period), marks, 0, 0)
	b = le.AppendUint64(b, r.Max)
	b = le.AppendUint64(b, r.Count)
	b = le.AppendUint64(b, r.Held)
	return le.AppendUint64(b, r.ResetMs)
}

// parseLimitRow reads a row of at least limitRowLen bytes.
func parseLimitRow(b []byte) LimitRow {
	return LimitRow{
		ID:      le.Uint64(b),
		Metric:  le.Uint32(b[8:]),
		Period:  Period(b[12]),
		Shadow:  b[13]&1 != 0,
		Max:     le.Uint64(b[16:]),
		Count:   le.Uint64(b[24:]),
		Held:    le.Uint64(b[32:]),
		ResetMs: le.Uint64(b[40:]),
	}
}

// AppendQuery writes the answer to a QUERY.
func AppendQuery(b []byte, id uint64, q *Query) ([]byte, error) {
	if len(q.Limits) > TextMax || len(q.Usage) > TextMax {
		return b, ErrTooManyMetrics
	}
	start := len(b)
	b = AppendHeader(b, Header{Op: OpQuery | AnswerBit, ID: id})
	b, part := beginFixed(b, queryLen)
	if q.Active {
		part[2] = 1
	}
	part[3] = q.Reservations
	le.PutUint16(part[4:], uint16(len(q.Limits)))
	le.PutUint16(part[6:], uint16(len(q.Usage)))
	le.PutUint64(part[8:], q.Catalog)
	le.PutUint64(part[16:], q.TimeUs)
	for i := range q.Limits {
		b = appendLimitRow(b, &q.Limits[i])
	}
	for i := range q.Usage {
		b = le.AppendUint32(b, q.Usage[i].Metric)
		b = le.AppendUint32(b, 0)
		for _, n := range q.Usage[i].Counts {
			b = le.AppendUint64(b, n)
		}
	}
	for _, metric := range q.Metrics {
		if len(metric.Name)+4 > TextMax {
			return b[:start], ErrTextTooLong
		}
		b = le.AppendUint16(b, uint16(TagMetric))
		b = le.AppendUint16(b, uint16(len(metric.Name)+4))
		b = le.AppendUint32(b, metric.Metric)
		b = append(b, metric.Name...)
	}
	return Finish(b, start), nil
}

// ParseQuery reads the body of an answer to QUERY.
func ParseQuery(body []byte) (Query, error) {
	part, rest, err := fixed(body, queryLen)
	if err != nil {
		return Query{}, err
	}
	q := Query{
		Active:       part[2] == 1,
		Reservations: part[3],
		Catalog:      le.Uint64(part[8:]),
		TimeUs:       le.Uint64(part[16:]),
	}
	limits, usage := int(le.Uint16(part[4:])), int(le.Uint16(part[6:]))
	if limits*limitRowLen+usage*usageRowLen > len(rest) {
		return Query{}, ErrMalformed
	}
	for ; limits > 0; limits-- {
		q.Limits = append(q.Limits, parseLimitRow(rest))
		rest = rest[limitRowLen:]
	}
	for ; usage > 0; usage-- {
		row := UsageRow{Metric: le.Uint32(rest)}
		for i := range row.Counts {
			row.Counts[i] = le.Uint64(rest[8+8*i:])
		}
		q.Usage = append(q.Usage, row)
		rest = rest[usageRowLen:]
	}
	err = eachField(rest, func(tag Tag, value []byte) (bool, error) {
		if tag != TagMetric {
			return false, nil
		}
		if len(value) < 4 {
			return true, ErrMalformed
		}
		q.Metrics = append(q.Metrics, MetricName{le.Uint32(value), text(value[4:])})
		return true, nil
	})
	return q, err
}

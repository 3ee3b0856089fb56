package wire

// Usage is an amount of one metric, by its name.
type Usage struct {
	Metric string
	Amount uint64 // in the metric's unit
	Set    bool   // the amount replaces the count instead of adding to it
}

// Row is an amount of one metric, by the number that BIND or QUERY answered.
type Row struct {
	Metric uint32
	Amount uint64 // in the metric's unit
	Set    bool   // the amount replaces the count instead of adding to it
}

const setBit = 0x80000000

// Call is the body of AUTHORIZE, AUTHREP, CHECK, REPORT, RESERVE, COMMIT, CANCEL, QUERY and BIND: an application, named
// by a handle or by fields, and usage. An empty text is an absent one, but for AppKey with HasAppKey.
type Call struct {
	Handle uint64 // 0 if fields name the application; not in BIND
	Rows   []Row  // not in BIND

	Service     string
	UserKey     string
	AppID       string
	AppKey      string
	HasAppKey   bool // AppKey is sent although it is empty
	Referrer    string
	Usage       []Usage
	Timestamp   int64 // REPORT: seconds since 1970; sent if HasTime
	HasTime     bool
	LogCode     string
	Idempotency string // what the request is known by: 1 to 64 bytes, which need not be text
	Producer    string // who numbers the request, instead of Idempotency: 1 to 64 bytes, which need not be text
	Sequence    uint64 // its number, at least 1; sent with Producer
	RedirectURI string
	RedirectURL string
	Metrics     []string // BIND: names to get numbers for; QUERY: restricts the answer

	TTL         uint32 // RESERVE: time to live in seconds
	Reservation uint64 // COMMIT, CANCEL
}

const (
	callLen        = 16
	reserveLen     = 24
	bindRequestLen = 8
)

func callFixedLen(op Op) int {
	switch op {
	case OpReserve, OpCommit, OpCancel:
		return reserveLen
	case OpBind:
		return bindRequestLen
	}
	return callLen
}

// AppendCall writes a whole request frame.
func AppendCall(b []byte, op Op, flags Flags, id uint64, c *Call) ([]byte, error) {
	start := len(b)
	b = AppendHeader(b, Header{Op: op, Flags: flags, ID: id})
	b, err := appendCallBody(b, op, c)
	if err != nil {
		return b[:start], err
	}
	return Finish(b, start), nil
}

func appendCallBody(b []byte, op Op, c *Call) ([]byte, error) {
	if len(c.Rows)+len(c.Usage) > MetricsMax || len(c.Metrics) > TextMax {
		return b, ErrTooManyMetrics
	}
	n := callFixedLen(op)
	b, part := beginFixed(b, n)
	if op != OpBind {
		part[2] = byte(len(c.Rows))
		le.PutUint64(part[8:], c.Handle)
		switch op {
		case OpReserve:
			le.PutUint32(part[16:], c.TTL)
		case OpCommit, OpCancel:
			le.PutUint64(part[16:], c.Reservation)
		}
		for _, row := range c.Rows {
			number := row.Metric
			if row.Set {
				number |= setBit
			}
			b = le.AppendUint32(b, number)
			b = le.AppendUint64(b, row.Amount)
		}
	}
	return appendCallFields(b, c)
}

// appendCallFields writes what is there, in the order of the tags.
func appendCallFields(b []byte, c *Call) ([]byte, error) {
	var err error
	text := func(tag Tag, value string) {
		if err == nil {
			b, err = appendText(b, tag, value)
		}
	}
	text(TagService, c.Service)
	text(TagUserKey, c.UserKey)
	text(TagAppID, c.AppID)
	if err == nil && (c.HasAppKey || c.AppKey != "") {
		b, err = appendField(b, TagAppKey, c.AppKey)
	}
	text(TagReferrer, c.Referrer)
	for i := range c.Usage {
		if err == nil {
			b, err = appendUsage(b, &c.Usage[i])
		}
	}
	if c.HasTime {
		b = le.AppendUint16(b, uint16(TagTimestamp))
		b = le.AppendUint16(b, 8)
		b = le.AppendUint64(b, uint64(c.Timestamp))
	}
	text(TagLogCode, c.LogCode)
	if err == nil && (len(c.Idempotency) > IDMax || len(c.Producer) > IDMax) {
		err = ErrIDTooLong
	}
	text(TagIdempotency, c.Idempotency)
	if err == nil && c.Producer != "" {
		b = appendProducer(b, c.Producer, c.Sequence)
	}
	text(TagRedirectURI, c.RedirectURI)
	text(TagRedirectURL, c.RedirectURL)
	for _, metric := range c.Metrics {
		if err == nil {
			b, err = appendField(b, TagMetric, metric)
		}
	}
	return b, err
}

func appendProducer(b []byte, name string, sequence uint64) []byte {
	b = le.AppendUint16(b, uint16(TagProducer))
	b = le.AppendUint16(b, uint16(len(name)+8))
	b = le.AppendUint64(b, sequence)
	return append(b, name...)
}

func appendUsage(b []byte, u *Usage) ([]byte, error) {
	if len(u.Metric)+9 > TextMax {
		return b, ErrTextTooLong
	}
	b = le.AppendUint16(b, uint16(TagUsage))
	b = le.AppendUint16(b, uint16(len(u.Metric)+9))
	var kind byte
	if u.Set {
		kind = 1
	}
	b = append(b, kind)
	b = le.AppendUint64(b, u.Amount)
	return append(b, u.Metric...), nil
}

// ParseCall reads the body of a request of op; nodes and proxies do that, clients do not. It looks at shape alone: what
// is no UTF-8, say, is left as it is.
func ParseCall(op Op, body []byte) (Call, error) {
	part, rest, err := fixed(body, callFixedLen(op))
	if err != nil {
		return Call{}, err
	}
	var c Call
	if op != OpBind {
		c.Handle = le.Uint64(part[8:])
		switch op {
		case OpReserve:
			c.TTL = le.Uint32(part[16:])
		case OpCommit, OpCancel:
			c.Reservation = le.Uint64(part[16:])
		}
		n := int(part[2])
		if n*12 > len(rest) {
			return Call{}, ErrMalformed
		}
		for ; n > 0; n-- {
			number := le.Uint32(rest)
			c.Rows = append(c.Rows, Row{number &^ setBit, le.Uint64(rest[4:]), number&setBit != 0})
			rest = rest[12:]
		}
	}
	err = eachField(rest, func(tag Tag, value []byte) (bool, error) { return c.takeField(tag, value) })
	if err == nil && len(c.Rows)+len(c.Usage) > MetricsMax {
		err = ErrMalformed
	}
	return c, err
}

func (c *Call) takeField(tag Tag, value []byte) (known bool, err error) {
	switch tag {
	case TagService:
		c.Service = string(value)
	case TagUserKey:
		c.UserKey = string(value)
	case TagAppID:
		c.AppID = string(value)
	case TagAppKey:
		c.AppKey, c.HasAppKey = string(value), true
	case TagReferrer:
		c.Referrer = string(value)
	case TagUsage:
		if len(value) < 9 || value[0] > 1 {
			return true, ErrMalformed
		}
		c.Usage = append(c.Usage, Usage{string(value[9:]), le.Uint64(value[1:]), value[0] == 1})
	case TagTimestamp:
		if len(value) != 8 {
			return true, ErrMalformed
		}
		c.Timestamp, c.HasTime = int64(le.Uint64(value)), true
	case TagLogCode:
		c.LogCode = string(value)
	case TagIdempotency:
		if len(value) < 1 || len(value) > IDMax {
			return true, ErrMalformed
		}
		c.Idempotency = string(value)
	case TagProducer:
		if len(value) < 9 || len(value) > 8+IDMax || le.Uint64(value) == 0 {
			return true, ErrMalformed
		}
		c.Producer, c.Sequence = string(value[8:]), le.Uint64(value)
	case TagRedirectURI:
		c.RedirectURI = string(value)
	case TagRedirectURL:
		c.RedirectURL = string(value)
	case TagMetric:
		c.Metrics = append(c.Metrics, string(value))
	default:
		return false, nil
	}
	return true, nil
}

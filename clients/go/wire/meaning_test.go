package wire

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
)

// meaning is what a golden frame means, as frames.json writes it.
type meaning struct {
	Operation string
	Answer    bool
	Flags     []string
	Status    string
	ID        number
	Fixed     fields
	Rows      []fields
	Items     []meaning
	Fields    []struct {
		Tag   any
		Value json.RawMessage
	}
}

// number is written as a number, as decimal text beyond 2^53, or as "never".
type number uint64

func (n *number) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "never" {
		*n = math.MaxUint64
		return nil
	}
	value, err := strconv.ParseUint(text, 10, 64)
	*n = number(value)
	return err
}

// fields are the members of a fixed part or a row.
type fields map[string]json.RawMessage

func (f fields) number(t testing.TB, name string) uint64 {
	t.Helper()
	raw, ok := f[name]
	if !ok {
		t.Fatalf("%v has no %s", f, name)
	}
	var n number
	decode(t, raw, &n)
	return uint64(n)
}

func (f fields) bool(t testing.TB, name string) bool {
	t.Helper()
	var b bool
	decode(t, f[name], &b)
	return b
}

func (f fields) bytes(t testing.TB, name string) (b [NonceLen]byte) {
	t.Helper()
	copy(b[:], unhex(t, f.text(t, name)))
	return b
}

func (f fields) text(t testing.TB, name string) string {
	t.Helper()
	var text *string
	decode(t, f[name], &text)
	if text == nil {
		return ""
	}
	return *text
}

// word is a member that the specification numbers.
func (f fields) word(t testing.TB, name string) int {
	t.Helper()
	list := name
	if name == "shadow_reason" {
		list = "reason"
	}
	return word(t, list, f.text(t, name))
}

func (f fields) bits(t testing.TB, name string, list map[string]uint64) uint64 {
	t.Helper()
	var names []string
	decode(t, f[name], &names)
	return bits(t, names, list)
}

func decode(t testing.TB, raw json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
}

func bits(t testing.TB, names []string, list map[string]uint64) (n uint64) {
	t.Helper()
	for _, name := range names {
		bit, ok := list[name]
		if !ok {
			t.Fatalf("no bit %s", name)
		}
		n |= bit
	}
	return n
}

var words = map[string][]string{
	"method":  {"none", "node secret", "service token"},
	"reason":  reasons[:],
	"outcome": {"done", "overrun", "expired"},
	"period":  periods[:],
	"why":     {"", "stops", "another takes over", "protocol", "idle", "does not read", "handshake", "no room"},
}

func word(t testing.TB, list, text string) int {
	t.Helper()
	for i, it := range words[list] {
		if it == text {
			return i
		}
	}
	t.Fatalf("no %s %q", list, text)
	return 0
}

var (
	flagBits = map[string]uint64{
		"FLAT": uint64(FlagFlat), "LIMITS": uint64(FlagLimits), "DURABLE": uint64(FlagDurable),
		"INTERVAL": uint64(FlagInterval), "OAUTH": uint64(FlagOAuth), "ALL": uint64(FlagAll),
	}
	featureBits = map[string]uint64{
		"DURABLE": uint64(FeatureDurable), "IDEMPOTENCY": uint64(FeatureIdempotency),
		"RESERVE": uint64(FeatureReserve), "ALL": uint64(FeatureAll), "PRODUCER": uint64(FeatureProducer),
	}
	decisionBits = map[string]uint64{
		"COUNTED": uint64(MarkCounted), "SHADOW": uint64(MarkShadow), "LIMIT": uint64(MarkLimit),
		"BEHIND": uint64(MarkBehind),
	}
	receiptBits = map[string]uint64{"ON_DISK": uint64(MarkOnDisk), "BEHIND": uint64(MarkBehind)}
	limitBits   = map[string]uint64{"SHADOW": 1}
	operations  = map[string]Op{
		"HELLO": OpHello, "PROOF": OpProof, "PING": OpPing, "STATS": OpStats, "GOAWAY": OpGoAway,
		"AUTHORIZE": OpAuthorize, "AUTHREP": OpAuthrep, "REPORT": OpReport, "CHECK": OpCheck, "BIND": OpBind,
		"BATCH": OpBatch, "RESERVE": OpReserve, "COMMIT": OpCommit, "CANCEL": OpCancel, "QUERY": OpQuery,
	}
)

func (m *meaning) op(t testing.TB) Op {
	t.Helper()
	if op, ok := operations[m.Operation]; ok {
		return op
	}
	n, err := strconv.ParseUint(m.Operation, 0, 8)
	if err != nil {
		t.Fatal(err)
	}
	return Op(n)
}

func (m *meaning) status(t testing.TB) Status {
	t.Helper()
	for status, name := range statuses {
		if name == m.Status {
			return status
		}
	}
	n, err := strconv.ParseUint(m.Status, 0, 16)
	if err != nil {
		t.Fatal(err)
	}
	return Status(n)
}

func (m *meaning) header(t testing.TB, length int) Header {
	h := Header{
		Length: uint32(length), Op: m.op(t), Flags: Flags(bits(t, m.Flags, flagBits)), Status: m.status(t),
		ID: uint64(m.ID),
	}
	if m.Answer {
		h.Op |= AnswerBit
	}
	return h
}

// value is the meaning as this package's types say it.
func (m *meaning) value(t testing.TB) any {
	t.Helper()
	op, f := m.op(t), m.Fixed
	if !m.Answer {
		return m.request(t, op)
	}
	if !m.status(t).Done() {
		return Failure{uint32(f.number(t, "retry_ms")), m.textField(t, "MESSAGE")}
	}
	switch op {
	case OpHello, OpProof:
		if m.Status == "CHALLENGE" {
			return f.bytes(t, "nonce")
		}
		return Welcome{
			Version: uint16(f.number(t, "version")), FrameMax: uint32(f.number(t, "frame_max")),
			Window: uint32(f.number(t, "window")), IdleMs: uint32(f.number(t, "idle_ms")),
			Features: Features(f.bits(t, "features", featureBits)), Session: f.number(t, "session"),
			Node: f.number(t, "node"), TimeUs: f.number(t, "time_us"), Catalog: f.number(t, "catalog"),
			Proof: f.bytes(t, "mac"), NodeNamed: m.textField(t, "NODE"),
		}
	case OpPing:
		return Pong{f.number(t, "time_us"), f.number(t, "catalog")}
	case OpStats:
		return Stats{
			Behind: f.bool(t, "behind"), UptimeS: f.number(t, "uptime_s"), Connections: f.number(t, "connections"),
			Frames: f.number(t, "frames"), Decisions: f.number(t, "decisions"), Denied: f.number(t, "denied"),
			Applications: f.number(t, "applications"), Catalog: f.number(t, "catalog"),
			FlushUs: f.number(t, "unflushed_us"),
		}
	case OpGoAway:
		return GoAway{Closing(f.word(t, "why")), uint32(f.number(t, "close_ms")), m.textField(t, "MESSAGE")}
	case OpAuthorize, OpAuthrep, OpCheck, OpReserve:
		return m.decision(t)
	case OpReport, OpCommit, OpCancel:
		return Receipt{
			Outcome(f.word(t, "outcome")), Marks(f.bits(t, "marks", receiptBits)), f.number(t, "catalog"),
		}
	case OpBind:
		bound := Bound{
			Yes: f.bool(t, "bound"), Reason: Reason(f.word(t, "reason")), Handle: f.number(t, "handle"),
			Catalog: f.number(t, "catalog"),
		}
		for _, row := range m.Rows {
			bound.Metrics = append(bound.Metrics, uint32(row.number(t, "metric")))
		}
		return bound
	case OpQuery:
		return m.query(t)
	case OpBatch:
		return batch{f.bool(t, "done"), m.items(t)}
	}
	return opaque{}
}

func (m *meaning) decision(t testing.TB) Decision {
	f := m.Fixed
	d := Decision{
		Yes: f.bool(t, "yes"), Marks: Marks(f.bits(t, "marks", decisionBits)), Reason: Reason(f.word(t, "reason")),
		Shadow: Reason(f.word(t, "shadow_reason")), LimitID: f.number(t, "limit"), Max: f.number(t, "maximum"),
		Count: f.number(t, "count"), Remaining: f.number(t, "remaining"), ResetMs: f.number(t, "reset_ms"),
		RetryAfterMs: f.number(t, "retry_ms"), Catalog: f.number(t, "catalog"),
		Reservation: f.number(t, "reservation"),
	}
	for _, field := range m.Fields {
		if field.Tag == "LIMIT" {
			var row fields
			decode(t, field.Value, &row)
			d.Limits = append(d.Limits, row.limit(t))
		}
	}
	return d
}

func (f fields) limit(t testing.TB) LimitRow {
	return LimitRow{
		ID: f.number(t, "limit"), Metric: uint32(f.number(t, "metric")), Period: Period(f.word(t, "period")),
		Shadow: f.bits(t, "marks", limitBits) != 0, Max: f.number(t, "maximum"), Count: f.number(t, "count"),
		Held: f.number(t, "held"), ResetMs: f.number(t, "reset_ms"),
	}
}

func (m *meaning) query(t testing.TB) Query {
	f := m.Fixed
	q := Query{
		Active: f.bool(t, "active"), Reservations: uint8(f.number(t, "reservations")),
		Catalog: f.number(t, "catalog"), TimeUs: f.number(t, "time_us"),
	}
	for _, row := range m.Rows {
		if _, ok := row["period"]; ok {
			q.Limits = append(q.Limits, row.limit(t))
			continue
		}
		usage := UsageRow{Metric: uint32(row.number(t, "metric"))}
		for i, period := range periods {
			usage.Counts[i] = row.number(t, period)
		}
		q.Usage = append(q.Usage, usage)
	}
	for _, field := range m.Fields {
		var value fields
		decode(t, field.Value, &value)
		q.Metrics = append(q.Metrics, MetricName{uint32(value.number(t, "metric")), value.text(t, "name")})
	}
	return q
}

func (m *meaning) items(t testing.TB) (items []batchItem) {
	for i := range m.Items {
		it := &m.Items[i]
		items = append(items, batchItem{
			op: it.op(t), flags: Flags(bits(t, it.Flags, flagBits)), status: it.status(t), value: it.value(t),
		})
	}
	return items
}

func (m *meaning) request(t testing.TB, op Op) any {
	f := m.Fixed
	switch op {
	case OpHello:
		return Hello{
			Method: Method(f.word(t, "method")), Lowest: uint16(f.number(t, "lowest")),
			Highest: uint16(f.number(t, "highest")), FrameMax: uint32(f.number(t, "frame_max")),
			Window: uint32(f.number(t, "window")), Features: Features(f.bits(t, "features", featureBits)),
			Nonce: f.bytes(t, "nonce"), Client: m.textField(t, "CLIENT"), Service: m.textField(t, "SERVICE"),
		}
	case OpProof:
		return f.bytes(t, "mac")
	case OpBatch:
		return batch{items: m.items(t)}
	case OpPing, OpStats, OpGoAway:
		return opaque{}
	}
	if _, known := operations[m.Operation]; !known {
		return opaque{}
	}
	return m.call(t, op)
}

func (m *meaning) call(t testing.TB, op Op) Call {
	var c Call
	if op != OpBind {
		c.Handle = m.Fixed.number(t, "handle")
	}
	switch op {
	case OpReserve:
		c.TTL = uint32(m.Fixed.number(t, "ttl_s"))
	case OpCommit, OpCancel:
		c.Reservation = m.Fixed.number(t, "reservation")
	}
	for _, row := range m.Rows {
		c.Rows = append(c.Rows, Row{
			uint32(row.number(t, "metric")), row.number(t, "amount"), row.text(t, "kind") == "sets",
		})
	}
	texts := map[string]*string{
		"SERVICE": &c.Service, "USER_KEY": &c.UserKey, "APP_ID": &c.AppID, "APP_KEY": &c.AppKey,
		"REFERRER": &c.Referrer, "LOG_CODE": &c.LogCode, "REDIRECT_URI": &c.RedirectURI,
		"REDIRECT_URL": &c.RedirectURL,
	}
	for _, field := range m.Fields {
		name, _ := field.Tag.(string)
		if text := texts[name]; text != nil {
			decode(t, field.Value, text)
			c.HasAppKey = c.HasAppKey || name == "APP_KEY"
			continue
		}
		var value fields
		switch name {
		case "USAGE":
			decode(t, field.Value, &value)
			c.Usage = append(c.Usage, Usage{
				value.text(t, "name"), value.number(t, "amount"), value.text(t, "kind") == "sets",
			})
		case "TIMESTAMP":
			decode(t, field.Value, &c.Timestamp)
			c.HasTime = true
		case "IDEMPOTENCY":
			decode(t, field.Value, &value)
			c.Idempotency = string(unhex(t, value.text(t, "hex")))
		case "PRODUCER":
			decode(t, field.Value, &value)
			c.Producer, c.Sequence = string(unhex(t, value.text(t, "hex"))), value.number(t, "sequence")
		case "METRIC":
			var metric string
			decode(t, field.Value, &metric)
			c.Metrics = append(c.Metrics, metric)
		}
	}
	return c
}

func (m *meaning) textField(t testing.TB, tag string) (text string) {
	for _, field := range m.Fields {
		if field.Tag == tag {
			decode(t, field.Value, &text)
		}
	}
	return text
}

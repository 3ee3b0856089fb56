// Package wire is the Tollgate protocol, version 1, as bytes: frames, bodies and fields, nothing else.
//
// It does no I/O and keeps no state. Functions named Append write to the end of a buffer and return it, functions
// named Parse read; no bytes, however wrong, make one of them panic, and none allocates more than a small multiple of
// what it reads. The page that it follows is proto/README.md of Tollgate; names are the same but for Go's spelling.
//
// Programs use package tollgate; this one is for those who build something else on the protocol.
package wire

import "math"

const (
	// Opening is what a client sends before its first frame.
	Opening = "\xF7TGATE\r\n"
	// ALPN is the name of the protocol within TLS.
	ALPN = "tollgate/1"
	// Version is the version of the protocol that this package speaks.
	Version = 1

	// FrameMaxInitial bounds a frame in bytes, in both directions, until WELCOME says otherwise.
	FrameMaxInitial = 65536
	// FrameMaxLowest and FrameMaxHighest bound what HELLO may ask for, in bytes.
	FrameMaxLowest  = 4096
	FrameMaxHighest = 1 << 20

	// MetricsMax is how many metrics, in rows and USAGE fields together, one call may name.
	MetricsMax = 255
	// ClientMax is the most bytes of a CLIENT field.
	ClientMax = 64
	// IDMax is the most bytes of an id, and of a producer's name.
	IDMax = 64
	// TextMax is the most bytes that fit a field.
	TextMax = math.MaxUint16

	// Never stands for "never" or "without bound" where a number of milliseconds or calls is expected.
	Never = math.MaxUint64
)

// Op is the operation of a frame.
type Op uint8

// The operations. An answer has that of its request with AnswerBit set.
const (
	OpHello     Op = 0x01
	OpProof     Op = 0x02
	OpPing      Op = 0x05
	OpStats     Op = 0x06
	OpGoAway    Op = 0x07
	OpAuthorize Op = 0x10
	OpAuthrep   Op = 0x11
	OpReport    Op = 0x12
	OpCheck     Op = 0x13
	OpBind      Op = 0x14
	OpBatch     Op = 0x16
	OpReserve   Op = 0x17
	OpCommit    Op = 0x18
	OpCancel    Op = 0x19
	OpQuery     Op = 0x1A

	AnswerBit Op = 0x80
)

// Flags are the flags of a request.
type Flags uint8

const (
	// FlagFlat counts usage for the metrics named, not for their ancestors.
	FlagFlat Flags = 0x01
	// FlagLimits asks for all limits of the plan in the answer.
	FlagLimits Flags = 0x02
	// FlagDurable asks for the answer when the change is on disk.
	FlagDurable Flags = 0x04
	// FlagInterval asks for the answer at once; the change is on disk a moment later.
	FlagInterval Flags = 0x08
	// FlagOAuth says that the call is one of an OAuth client.
	FlagOAuth Flags = 0x10
	// FlagAll makes all items of a BATCH happen, or none.
	FlagAll Flags = 0x20
)

// Features are what a node offers, and what a client insists on, as bits.
type Features uint64

const (
	// FeatureDurable: FlagDurable is served.
	FeatureDurable Features = 1 << 0
	// FeatureIdempotency: the field IDEMPOTENCY is served.
	FeatureIdempotency Features = 1 << 1
	// FeatureReserve: RESERVE, COMMIT and CANCEL are served.
	FeatureReserve Features = 1 << 2
	// FeatureAll: FlagAll is served.
	FeatureAll Features = 1 << 3
	// FeatureProducer: the field PRODUCER is served.
	FeatureProducer Features = 1 << 4
)

// Tag names a field.
type Tag uint16

// The fields. Who does not know a field whose tag has TagMust set must not go on as if it were not there.
const (
	TagService     Tag = 1
	TagUserKey     Tag = 2
	TagAppID       Tag = 3
	TagAppKey      Tag = 4
	TagReferrer    Tag = 5
	TagUsage       Tag = 6
	TagTimestamp   Tag = 7
	TagLogCode     Tag = 8
	TagIdempotency Tag = 0x8009
	TagRedirectURI Tag = 10
	TagRedirectURL Tag = 11
	TagMetric      Tag = 12
	TagClient      Tag = 13
	TagProducer    Tag = 0x800E
	TagMessage     Tag = 64
	TagLimit       Tag = 65
	TagNode        Tag = 66

	TagMust Tag = 0x8000
)

// Method is a way of proving who one is.
type Method uint8

const (
	// MethodNone proves nothing: for Unix sockets, where the node knows the user on the other side.
	MethodNone Method = 0
	// MethodSecret proves to know the node's secret; it opens all services.
	MethodSecret Method = 1
	// MethodToken proves to know a service token; it opens that service.
	MethodToken Method = 2
)

// Reason is why a decision is a no.
type Reason uint16

// The reasons of a no; String gives 3scale's code. NoReason belongs to a yes.
const (
	NoReason              Reason = 0
	LimitsExceeded        Reason = 1
	ApplicationKeyInvalid Reason = 2
	ReferrerNotAllowed    Reason = 3
	ApplicationNotActive  Reason = 4
	ServiceNotActive      Reason = 5
	OAuthNotEnabled       Reason = 6
	RedirectURIInvalid    Reason = 7
	RedirectURLInvalid    Reason = 8
)

var reasons = [...]string{
	"", "limits_exceeded", "application_key_invalid", "referrer_not_allowed", "application_not_active",
	"service_not_active", "oauth_not_enabled", "redirect_uri_invalid", "redirect_url_invalid",
}

// String returns 3scale's code of the reason, "" for NoReason and "unknown" for one that this package does not know.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown"
}

// Period is the calendar period (UTC; weeks begin on Monday) of a limit or a count.
type Period uint8

// The periods, in the order of Usage counts in an answer to QUERY.
const (
	Eternity Period = 0
	Year     Period = 1
	Month    Period = 2
	Week     Period = 3
	Day      Period = 4
	Hour     Period = 5
	Minute   Period = 6

	// Periods is how many there are.
	Periods = 7
)

var periods = [Periods]string{"eternity", "year", "month", "week", "day", "hour", "minute"}

// String returns the period's English name, "unknown" for one that this package does not know.
func (p Period) String() string {
	if int(p) < len(periods) {
		return periods[p]
	}
	return "unknown"
}

// Closing is why a node says GOAWAY.
type Closing uint16

// The reasons of a GOAWAY. After the first two the node still answers what it gets.
const (
	NodeStops        Closing = 1
	NodeIsReplaced   Closing = 2
	ProtocolBroken   Closing = 3
	ConnectionIdle   Closing = 4
	AnswersNotRead   Closing = 5
	HandshakeTooSlow Closing = 6
	NodeIsFull       Closing = 7
)

var closings = [...]string{
	"no reason", "the node stops", "another process takes over", "the client broke the protocol", "idle",
	"the client does not read its answers", "the handshake took too long",
	"the node has no room for more connections",
}

// String returns the reason as words.
func (c Closing) String() string {
	if int(c) < len(closings) {
		return closings[c]
	}
	return "an unknown reason"
}

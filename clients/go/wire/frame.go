package wire

import (
	"encoding/binary"
	"errors"
)

// HeaderLen is the length in bytes of a frame's header.
const HeaderLen = 16

// What Parse functions return when bytes are not what the protocol prescribes.
var (
	// ErrMalformed: a body is shorter than its operation prescribes, or goes beyond its frame.
	ErrMalformed = errors.New("tollgate: malformed frame")
	// ErrFieldUnknown: a field that must be understood is not.
	ErrFieldUnknown = errors.New("tollgate: a field that must be understood is unknown")
	// ErrFrameLength: a frame is shorter than its header or longer than the frame maximum.
	ErrFrameLength = errors.New("tollgate: frame length out of bounds")
)

// What Append functions return when a value does not fit the protocol.
var (
	// ErrTextTooLong: a text has more than TextMax bytes (CLIENT: ClientMax).
	ErrTextTooLong = errors.New("tollgate: text too long for a field")
	// ErrIDTooLong: an id, or a producer's name, has more than IDMax bytes.
	ErrIDTooLong = errors.New("tollgate: an id or a producer's name has more than 64 bytes")
	// ErrTooManyMetrics: more than MetricsMax in one call, or more than 65,535 to bind.
	ErrTooManyMetrics = errors.New("tollgate: too many metrics in one call")
	// ErrTooManyItems: a batch without items, with more than 65,535, or with one longer than 65,535 bytes.
	ErrTooManyItems = errors.New("tollgate: no items, or more than a batch can hold")
)

// Header is the first 16 bytes of a frame.
type Header struct {
	Length uint32 // of the whole frame, header included, in bytes
	Op     Op
	Flags  Flags
	Status Status
	ID     uint64
}

// ParseHeader reads a header; frameMax is the connection's frame maximum in bytes.
func ParseHeader(b []byte, frameMax uint32) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, ErrMalformed
	}
	h := Header{
		Length: le.Uint32(b),
		Op:     Op(b[4]),
		Flags:  Flags(b[5]),
		Status: Status(le.Uint16(b[6:])),
		ID:     le.Uint64(b[8:]),
	}
	if h.Length < HeaderLen || h.Length > frameMax {
		return h, ErrFrameLength
	}
	return h, nil
}

// AppendHeader writes a header whose length is that of an empty body; Finish sets what it became.
func AppendHeader(b []byte, h Header) []byte {
	b = le.AppendUint32(b, HeaderLen)
	b = append(b, byte(h.Op), byte(h.Flags))
	b = le.AppendUint16(b, uint16(h.Status))
	return le.AppendUint64(b, h.ID)
}

// Finish sets the length of the frame that begins at start and ends with b.
func Finish(b []byte, start int) []byte {
	le.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// SetID sets the id of the frame that b begins with; shorter ones stay as they are.
func SetID(b []byte, id uint64) {
	if len(b) >= HeaderLen {
		le.PutUint64(b[8:], id)
	}
}

var le = binary.LittleEndian

// fixed splits a body into its fixed part, of at least min bytes, and what follows it.
func fixed(body []byte, min int) (part, rest []byte, err error) {
	if len(body) < 2 {
		return nil, nil, ErrMalformed
	}
	n := int(le.Uint16(body))
	if n < min || n > len(body) {
		return nil, nil, ErrMalformed
	}
	return body[:n], body[n:], nil
}

// beginFixed appends a fixed part of n bytes, its length set, all else zero.
func beginFixed(b []byte, n int) (whole, part []byte) {
	start := len(b)
	var zeros [96]byte
	b = append(b, zeros[:n]...)
	part = b[start:]
	le.PutUint16(part, uint16(n))
	return b, part
}

// takeField reads the field that b begins with.
func takeField(b []byte) (tag Tag, value, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, nil, ErrMalformed
	}
	tag = Tag(le.Uint16(b))
	n := int(le.Uint16(b[2:]))
	if n > len(b)-4 {
		return 0, nil, nil, ErrMalformed
	}
	return tag, b[4 : 4+n], b[4+n:], nil
}

// eachField calls take for every field of b. take tells whether it knows the tag. Those of several may come again,
// others once.
func eachField(b []byte, take func(tag Tag, value []byte) (known bool, err error)) error {
	var seen [2]uint64 // the tags known are different in their low seven bits
	for len(b) > 0 {
		tag, value, rest, err := takeField(b)
		if err != nil {
			return err
		}
		b = rest
		known, err := take(tag, value)
		if err != nil {
			return err
		}
		if !known {
			if tag&TagMust != 0 {
				return ErrFieldUnknown
			}
			continue
		}
		if tag == TagUsage || tag == TagMetric || tag == TagLimit {
			continue
		}
		word, bit := &seen[tag>>6&1], uint64(1)<<(tag&63)
		if *word&bit != 0 {
			return ErrMalformed
		}
		*word |= bit
	}
	return nil
}

func appendField(b []byte, tag Tag, value string) ([]byte, error) {
	if len(value) > TextMax {
		return b, ErrTextTooLong
	}
	b = le.AppendUint16(b, uint16(tag))
	b = le.AppendUint16(b, uint16(len(value)))
	return append(b, value...), nil
}

// appendText writes a text, unless it is empty: an empty text is an absent one.
func appendText(b []byte, tag Tag, value string) ([]byte, error) {
	if value == "" {
		return b, nil
	}
	return appendField(b, tag, value)
}

package wire

import (
	"reflect"
	"testing"
)

// FuzzFrame holds that no bytes make a parser panic, and that what was read is written so that it is read as the same.
// The golden frames are its seeds.
//
//	go test ./wire -fuzz FuzzFrame -fuzztime 1m
func FuzzFrame(f *testing.F) {
	var all []goldenFrame
	readGolden(f, "frames.json", &all)
	for _, it := range all {
		f.Add(unhex(f, it.Hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := splitFrame(b)
		if err != nil {
			return
		}
		// As every operation, not only that of the header.
		for _, op := range allOps {
			parseAs(t, Header{Op: op, Flags: h.Flags, ID: h.ID}, body)
			parseAs(t, Header{Op: op | AnswerBit, Status: h.Status, ID: h.ID}, body)
			parseAs(t, Header{Op: op | AnswerBit, ID: h.ID}, body)
		}
	})
}

var allOps = []Op{
	OpHello, OpProof, OpPing, OpStats, OpGoAway, OpAuthorize, OpAuthrep, OpReport, OpCheck, OpBind, OpBatch,
	OpReserve, OpCommit, OpCancel, OpQuery,
}

func parseAs(t *testing.T, h Header, body []byte) {
	value, err := parseAny(h, body)
	if err != nil || !written(h, value) {
		return
	}
	b, err := appendAny(nil, h, value)
	switch err {
	case nil:
	case ErrTextTooLong, ErrTooManyItems, ErrTooManyMetrics: // read from a frame whose fields are as long as can be
		return
	default:
		t.Fatal(err)
	}
	again, body, err := splitFrame(b)
	if err == ErrFrameLength {
		return
	}
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	if again.Op != h.Op {
		t.Fatalf("%+v became %+v", h, again)
	}
	read, err := parseAny(again, body)
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	if !reflect.DeepEqual(value, read) {
		t.Fatalf("%+v became %+v", value, read)
	}
}

// written tells whether anybody would write that: a batch holds calls, and a challenge answers a HELLO.
func written(h Header, value any) bool {
	all, isBatch := value.(batch)
	if !isBatch {
		return h.Status != StatusChallenge || h.Op == OpHello|AnswerBit
	}
	for _, item := range all.items {
		switch item.value.(type) {
		case Call:
			if h.Op != OpBatch {
				return false
			}
		case Decision, Receipt, Failure:
			if h.Op == OpBatch {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func TestEveryPrefixOfAFrameIsRefusedOrRead(t *testing.T) {
	var all []goldenFrame
	readGolden(t, "frames.json", &all)
	for _, it := range all {
		b := unhex(t, it.Hex)
		h, body, err := splitFrame(b)
		if err != nil {
			continue
		}
		for n := range body {
			_, _ = parseAny(h, body[:n])
			broken := append([]byte(nil), body...)
			broken[n] ^= 0xFF
			_, _ = parseAny(h, broken)
		}
	}
}

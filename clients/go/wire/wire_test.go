package wire

import (
	"strings"
	"testing"
)

func TestAFrameIsAsLongAsItMayBe(t *testing.T) {
	for _, it := range []struct {
		length uint32
		err    error
	}{{0, ErrFrameLength}, {15, ErrFrameLength}, {16, nil}, {4096, nil}, {4097, ErrFrameLength}} {
		b := AppendEmpty(nil, OpPing, 1)
		le.PutUint32(b, it.length)
		if _, err := ParseHeader(b, 4096); err != it.err {
			t.Errorf("a length of %d: %v", it.length, err)
		}
	}
	if _, err := ParseHeader(make([]byte, 15), 4096); err != ErrMalformed {
		t.Errorf("half a header: %v", err)
	}
}

func TestACallNames255Metrics(t *testing.T) {
	call := Call{Handle: 1, Rows: make([]Row, 200), Usage: make([]Usage, 55)}
	b, err := AppendCall(nil, OpAuthrep, 0, 1, &call)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCall(OpAuthrep, b[HeaderLen:])
	if err != nil || len(got.Rows) != 200 || len(got.Usage) != 55 {
		t.Fatalf("%d rows, %d fields: %v", len(got.Rows), len(got.Usage), err)
	}
	call.Usage = append(call.Usage, Usage{})
	if _, err := AppendCall(nil, OpAuthrep, 0, 1, &call); err != ErrTooManyMetrics {
		t.Errorf("256: %v", err)
	}
}

func TestATextFitsAField(t *testing.T) {
	call := Call{UserKey: strings.Repeat("k", TextMax)}
	b, err := AppendCall(nil, OpAuthrep, 0, 1, &call)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseCall(OpAuthrep, b[HeaderLen:]); err != nil || got.UserKey != call.UserKey {
		t.Fatalf("%d bytes: %v", len(got.UserKey), err)
	}
	for name, call := range map[string]Call{
		"text":   {UserKey: strings.Repeat("k", TextMax+1)},
		"usage":  {Usage: []Usage{{Metric: strings.Repeat("m", TextMax-8)}}},
		"metric": {Metrics: []string{strings.Repeat("m", TextMax+1)}},
	} {
		call := call
		before := []byte("before")
		b, err := AppendCall(before, OpQuery, 0, 1, &call)
		if err != ErrTextTooLong || string(b) != "before" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	hello := Hello{Client: strings.Repeat("c", ClientMax)}
	if _, err := AppendHello(nil, 1, hello); err != nil {
		t.Error(err)
	}
	hello.Client += "c"
	if _, err := AppendHello(nil, 1, hello); err != ErrTextTooLong {
		t.Errorf("a client of 65 bytes: %v", err)
	}
}

func TestABatchFillsItsAnswer(t *testing.T) {
	for frameMax, items := range map[uint32]int{0: 0, 24: 0, 103: 0, 104: 1, 4096: 50, 65536: 818, 1 << 20: 13106} {
		if got := BatchMax(frameMax); got != items {
			t.Errorf("%d items in %d bytes, not %d", got, frameMax, items)
		}
	}
	if _, err := AppendBatch(nil, 0, 1, 0); err != ErrTooManyItems {
		t.Errorf("no items: %v", err)
	}
	long := Call{UserKey: strings.Repeat("k", TextMax-16-8-4)}
	if _, err := AppendItem(nil, OpAuthrep, 0, &long); err != nil {
		t.Errorf("an item of 65,535 bytes: %v", err)
	}
	long.UserKey += "k"
	if _, err := AppendItem(nil, OpAuthrep, 0, &long); err != ErrTooManyItems {
		t.Errorf("an item of 65,536 bytes: %v", err)
	}
}

func TestNumbersWithoutANameKeepTheirClass(t *testing.T) {
	status := Status(0x02FE)
	if status.Class() != ClassRefused || status.Done() || status.String() != "status 0x02FE" {
		t.Errorf("%v, %v", status, status.Class())
	}
	if !Status(0x00FE).Done() {
		t.Error("an unknown status of class 0 is done")
	}
	if Reason(99).String() != "unknown" || Period(7).String() != "unknown" || Closing(99).String() != "an unknown reason" {
		t.Error("names of what is unknown")
	}
	if LimitsExceeded.String() != "limits_exceeded" || RedirectURLInvalid.String() != "redirect_url_invalid" {
		t.Error("3scale's codes")
	}
}

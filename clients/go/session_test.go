package tollgate_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tollgate/wire"
)

// step is one of session.json; the README of the golden frames says what its members mean.
type step struct {
	Name    string
	Connect *struct {
		Method   string
		Service  string
		Secret   string
		Window   uint32
		FrameMax uint32 `json:"frame_max"`
	}
	Open   bool
	Send   string
	Expect []string
	Closed bool
	Call   []any
	WaitMs int `json:"wait_ms"`
	Stop   bool
}

// TestSession replays the golden conversation with a live node.
func TestSession(t *testing.T) {
	content, err := os.ReadFile("../../proto/golden/session.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Setup [][]any
		Steps []step
	}
	if err := json.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Steps) < 100 {
		t.Fatalf("%d steps", len(all.Steps))
	}
	n := startNode(t)
	for _, call := range all.Setup {
		n.internal(call[0].(string), call[1].(string), call[2])
	}
	s := &session{t: t, node: n, kept: map[string][]byte{}}
	defer func() { s.replace(nil) }()
	for i := range all.Steps {
		it := &all.Steps[i]
		s.name = fmt.Sprintf("step %d, %s", i, it.Name)
		s.take(it)
	}
}

// session is a conversation under way.
type session struct {
	t    *testing.T
	node *node
	nc   net.Conn
	name string
	kept map[string][]byte
}

func (s *session) take(it *step) {
	switch {
	case it.Connect != nil:
		s.connect(it)
	case it.Open:
		s.replace(s.dial())
	case it.Call != nil:
		s.node.internal(it.Call[0].(string), it.Call[1].(string), it.Call[2])
	case it.WaitMs > 0:
		time.Sleep(time.Duration(it.WaitMs) * time.Millisecond)
	case it.Stop:
		s.node.terminate()
		s.expect(it.Expect)
	default:
		s.write(s.bytes(it.Send))
		s.expect(it.Expect)
		if it.Closed {
			if n, err := s.nc.Read(make([]byte, 1)); err != io.EOF {
				s.t.Errorf("%s: instead of the end: %d bytes, %v", s.name, n, err)
			}
		}
	}
}

func (s *session) dial() net.Conn {
	nc, err := net.Dial("tcp", s.node.tcp)
	if err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	return nc
}

// replace makes nc the connection, in place of that before.
func (s *session) replace(nc net.Conn) {
	if s.nc != nil {
		_ = s.nc.Close()
	}
	s.nc = nc
}

func (s *session) write(b []byte) {
	if _, err := s.nc.Write(b); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
}

func (s *session) connect(it *step) {
	s.replace(s.dial())
	c := it.Connect
	hello := wire.Hello{
		Lowest: 1, Highest: 1, Window: c.Window, FrameMax: c.FrameMax, Service: c.Service, Client: "session",
	}
	if hello.Window == 0 {
		hello.Window = 256
	}
	if hello.FrameMax == 0 {
		hello.FrameMax = 65536
	}
	secret := c.Secret
	switch c.Method {
	case "service token":
		hello.Method = wire.MethodToken
	case "node secret":
		hello.Method, secret = wire.MethodSecret, s.node.secret()
	default:
		s.t.Fatalf("%s: method %q", s.name, c.Method)
	}
	if _, err := rand.Read(hello.Nonce[:]); err != nil {
		s.t.Fatal(err)
	}
	out, err := wire.AppendHello([]byte(wire.Opening), 1, hello)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(out)
	nonce, err := wire.ParseChallenge(s.frame()[wire.HeaderLen:])
	if err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	s.write(wire.AppendProof(nil, 2, wire.ClientProof(secret, hello.Nonce, nonce, hello.Method, hello.Service)))
	welcome, err := wire.ParseWelcome(s.frame()[wire.HeaderLen:])
	if err != nil || welcome.Proof != wire.ServerProof(secret, hello.Nonce, nonce) {
		s.t.Fatalf("%s: welcome %+v, %v", s.name, welcome, err)
	}
	if welcome.Window > hello.Window || welcome.FrameMax > hello.FrameMax {
		s.t.Errorf("%s: asked for %+v, got %+v", s.name, hello, welcome)
	}
}

// frame reads a whole frame.
func (s *session) frame() []byte {
	s.t.Helper()
	_ = s.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, wire.HeaderLen)
	if _, err := io.ReadFull(s.nc, b); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	h, err := wire.ParseHeader(b, wire.FrameMaxHighest)
	if err != nil {
		s.t.Fatalf("%s: %x: %v", s.name, b, err)
	}
	b = append(b, make([]byte, int(h.Length)-len(b))...)
	if _, err := io.ReadFull(s.nc, b[wire.HeaderLen:]); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	return b
}

// expect reads as many frames as there are patterns and holds each against that with its id.
func (s *session) expect(patterns []string) {
	var frames [][]byte
	for range patterns {
		frames = append(frames, s.frame())
	}
	for _, pattern := range patterns {
		parts := split(pattern)
		at := 0
		for i, frame := range frames {
			if s.match(parts, frame, true) == "" {
				at = i
				break
			}
		}
		if wrong := s.match(parts, frames[at], false); wrong != "" {
			s.t.Errorf("%s: %s\n  expected %s\n  got      %x", s.name, wrong, pattern, frames[at])
		}
		frames = append(frames[:at], frames[at+1:]...)
	}
}

// piece is a byte of a pattern, or several with a name; nothing of it for any byte.
type piece struct {
	any   bool
	rest  bool
	value byte
	name  string
	n     int
}

var named = regexp.MustCompile(`^<([^:>]+):(\d+)>`)

func split(pattern string) (pieces []piece) {
	for pattern != "" {
		found := named.FindStringSubmatch(pattern)
		switch {
		case found != nil:
			n, _ := strconv.Atoi(found[2])
			pieces = append(pieces, piece{name: found[1], n: n})
			pattern = pattern[len(found[0]):]
		case pattern[0] == '*':
			pieces = append(pieces, piece{rest: true})
			pattern = pattern[1:]
		case strings.HasPrefix(pattern, "??"):
			pieces = append(pieces, piece{any: true, n: 1})
			pattern = pattern[2:]
		default:
			value, err := strconv.ParseUint(pattern[:2], 16, 8)
			if err != nil {
				panic("no pattern: " + pattern)
			}
			pieces = append(pieces, piece{value: byte(value), n: 1})
			pattern = pattern[2:]
		}
	}
	return pieces
}

// match says where a frame is not like the pattern; "" if it is. onlyID looks at the id alone and keeps nothing.
func (s *session) match(pieces []piece, frame []byte, onlyID bool) string {
	at := 0
	for _, it := range pieces {
		if it.rest {
			return ""
		}
		if at+it.n > len(frame) {
			return fmt.Sprintf("%d bytes are too few", len(frame))
		}
		got := frame[at : at+it.n]
		looked := !onlyID || at >= 8 && at < 16
		switch {
		case !looked || it.any:
		case it.name == "" && got[0] != it.value:
			return fmt.Sprintf("byte %d is %02x, not %02x", at, got[0], it.value)
		case it.name != "":
			kept, ok := s.kept[it.name]
			if !ok && !onlyID {
				s.kept[it.name] = append([]byte(nil), got...)
			} else if ok && string(kept) != string(got) {
				return fmt.Sprintf("byte %d: %s is %x, not %x", at, it.name, got, kept)
			}
		}
		at += it.n
	}
	if at != len(frame) && !onlyID {
		return fmt.Sprintf("%d bytes, not %d", len(frame), at)
	}
	return ""
}

// bytes is what to send, with what was kept put in place.
func (s *session) bytes(text string) []byte {
	var out []byte
	for text != "" {
		if found := named.FindStringSubmatch(text); found != nil {
			kept, ok := s.kept[found[1]]
			if !ok {
				s.t.Fatalf("%s: %s is not known", s.name, found[1])
			}
			out = append(out, kept...)
			text = text[len(found[0]):]
			continue
		}
		b, err := hex.DecodeString(text[:2])
		if err != nil {
			s.t.Fatalf("%s: %v", s.name, err)
		}
		out = append(out, b...)
		text = text[2:]
	}
	return out
}

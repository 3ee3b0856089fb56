package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
)

// NonceLen is the length in bytes of a nonce and of a proof.
const NonceLen = 32

const (
	helloLen     = 56
	challengeLen = 40
	proofLen     = 40
	welcomeLen   = 88
)

// Hello is the body of a HELLO: who the client is and what it would like.
type Hello struct {
	Method   Method
	Lowest   uint16   // lowest version of the protocol that the client speaks
	Highest  uint16   // highest version
	FrameMax uint32   // bytes
	Window   uint32   // requests unanswered at a time
	Features Features // without which the client cannot go on
	Nonce    [NonceLen]byte
	Client   string // name and version of the client
	Service  string // for MethodToken
}

// AppendHello writes a HELLO frame.
func AppendHello(b []byte, id uint64, h Hello) ([]byte, error) {
	if len(h.Client) > ClientMax {
		return b, ErrTextTooLong
	}
	start := len(b)
	b = AppendHeader(b, Header{Op: OpHello, ID: id})
	b, part := beginFixed(b, helloLen)
	part[2] = byte(h.Method)
	le.PutUint16(part[4:], h.Lowest)
	le.PutUint16(part[6:], h.Highest)
	le.PutUint32(part[8:], h.FrameMax)
	le.PutUint32(part[12:], h.Window)
	le.PutUint64(part[16:], uint64(h.Features))
	copy(part[24:], h.Nonce[:])
	b, err := appendText(b, TagClient, h.Client)
	if err != nil {
		return b[:start], err
	}
	b, err = appendText(b, TagService, h.Service)
	if err != nil {
		return b[:start], err
	}
	return Finish(b, start), nil
}

// ParseHello reads the body of a HELLO.
func ParseHello(body []byte) (Hello, error) {
	part, rest, err := fixed(body, helloLen)
	if err != nil {
		return Hello{}, err
	}
	h := Hello{
		Method:   Method(part[2]),
		Lowest:   le.Uint16(part[4:]),
		Highest:  le.Uint16(part[6:]),
		FrameMax: le.Uint32(part[8:]),
		Window:   le.Uint32(part[12:]),
		Features: Features(le.Uint64(part[16:])),
	}
	copy(h.Nonce[:], part[24:])
	err = eachField(rest, func(tag Tag, value []byte) (bool, error) {
		switch tag {
		case TagService:
			h.Service = string(value)
		case TagClient:
			h.Client = string(value)
		default:
			return false, nil
		}
		return true, nil
	})
	return h, err
}

// AppendChallenge writes the answer to a HELLO that asks for a proof.
func AppendChallenge(b []byte, id uint64, nonce [NonceLen]byte) []byte {
	start := len(b)
	b = AppendHeader(b, Header{Op: OpHello | AnswerBit, Status: StatusChallenge, ID: id})
	b, part := beginFixed(b, challengeLen)
	copy(part[8:], nonce[:])
	return Finish(b, start)
}

// ParseChallenge reads the body of a CHALLENGE: the node's nonce.
func ParseChallenge(body []byte) (nonce [NonceLen]byte, err error) {
	part, rest, err := fixed(body, challengeLen)
	if err != nil {
		return nonce, err
	}
	copy(nonce[:], part[8:])
	return nonce, eachField(rest, unknownField)
}

// AppendProof writes a PROOF frame.
func AppendProof(b []byte, id uint64, proof [NonceLen]byte) []byte {
	start := len(b)
	b = AppendHeader(b, Header{Op: OpProof, ID: id})
	b, part := beginFixed(b, proofLen)
	copy(part[8:], proof[:])
	return Finish(b, start)
}

// ParseProof reads the body of a PROOF.
func ParseProof(body []byte) (proof [NonceLen]byte, err error) {
	part, rest, err := fixed(body, proofLen)
	if err != nil {
		return proof, err
	}
	copy(proof[:], part[8:])
	return proof, eachField(rest, unknownField)
}

// ClientProof is what a client proves itself with: HMAC-SHA-256 of both nonces, with the secret or token as key.
// service is that of HELLO for MethodToken; for MethodSecret it plays no part.
func ClientProof(secret string, client, node [NonceLen]byte, method Method, service string) [NonceLen]byte {
	if method != MethodToken {
		service = ""
	}
	return mac(secret, "tollgate proof 1", client[:], node[:], []byte{byte(method)}, []byte(service))
}

// ServerProof is what a node proves itself with in WELCOME.
func ServerProof(secret string, client, node [NonceLen]byte) [NonceLen]byte {
	return mac(secret, "tollgate server1", node[:], client[:])
}

func mac(secret, label string, parts ...[]byte) (sum [NonceLen]byte) {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(label))
	for _, part := range parts {
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

// Welcome is what a node says when the connection is open.
type Welcome struct {
	Version   uint16
	FrameMax  uint32 // bytes, in both directions
	Window    uint32 // requests that may be unanswered at a time
	IdleMs    uint32 // after which the node closes a connection that says nothing
	Features  Features
	Session   uint64 // a number for logs
	Node      uint64 // drawn at the node's start: handles are good on connections with the same one
	TimeUs    uint64 // the node's time, microseconds since 1970
	Catalog   uint64 // catalog version
	Proof     [NonceLen]byte
	NodeNamed string // name and version of the node
}

// AppendWelcome writes the answer to a PROOF (or, for MethodNone, to a HELLO), as op says.
func AppendWelcome(b []byte, op Op, id uint64, w Welcome) ([]byte, error) {
	start := len(b)
	b = AppendHeader(b, Header{Op: op | AnswerBit, ID: id})
	b, part := beginFixed(b, welcomeLen)
	le.PutUint16(part[2:], w.Version)
	le.PutUint32(part[4:], w.FrameMax)
	le.PutUint32(part[8:], w.Window)
	le.PutUint32(part[12:], w.IdleMs)
	le.PutUint64(part[16:], uint64(w.Features))
	le.PutUint64(part[24:], w.Session)
	le.PutUint64(part[32:], w.Node)
	le.PutUint64(part[40:], w.TimeUs)
	le.PutUint64(part[48:], w.Catalog)
	copy(part[56:], w.Proof[:])
	b, err := appendText(b, TagNode, w.NodeNamed)
	if err != nil {
		return b[:start], err
	}
	return Finish(b, start), nil
}

// ParseWelcome reads the body of a WELCOME.
func ParseWelcome(body []byte) (Welcome, error) {
	part, rest, err := fixed(body, welcomeLen)
	if err != nil {
		return Welcome{}, err
	}
	w := Welcome{
		Version:  le.Uint16(part[2:]),
		FrameMax: le.Uint32(part[4:]),
		Window:   le.Uint32(part[8:]),
		IdleMs:   le.Uint32(part[12:]),
		Features: Features(le.Uint64(part[16:])),
		Session:  le.Uint64(part[24:]),
		Node:     le.Uint64(part[32:]),
		TimeUs:   le.Uint64(part[40:]),
		Catalog:  le.Uint64(part[48:]),
	}
	copy(w.Proof[:], part[56:])
	err = eachField(rest, func(tag Tag, value []byte) (bool, error) {
		if tag != TagNode {
			return false, nil
		}
		w.NodeNamed = text(value)
		return true, nil
	})
	return w, err
}

func unknownField(Tag, []byte) (bool, error) { return false, nil }

// text is a text of an answer; what is no UTF-8 shows as such.
func text(value []byte) string { return strings.ToValidUTF8(string(value), "\uFFFD") }

package tollgate

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"tollgate/wire"
)

// dial makes a connection: socket, TLS, HELLO up to WELCOME.
func dial(ctx context.Context, config *Config, known *bindings) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	network, address := config.network()
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	// Whatever blocks below ends with the context.
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			_ = nc.SetDeadline(time.Unix(1, 0))
		case <-stop:
		}
	}()
	cn, err := open(ctx, nc, config)
	close(stop)
	<-stopped
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("tollgate: connecting: %w", ctx.Err())
		}
		return nil, err
	}
	cn.bindings = known
	cn.start(config)
	return cn, nil
}

// open does the handshakes.
func open(ctx context.Context, nc net.Conn, config *Config) (*conn, error) {
	if settings := config.tlsConfig(); settings != nil {
		secured := tls.Client(nc, settings)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		if secured.ConnectionState().NegotiatedProtocol != wire.ALPN {
			return nil, fmt.Errorf("%w: it does not speak %s", ErrProtocol, wire.ALPN)
		}
		nc = secured
	}
	method, secret, err := config.identity()
	if err != nil {
		return nil, err
	}
	hello := wire.Hello{
		Method: method, Lowest: wire.Version, Highest: wire.Version, FrameMax: uint32(config.FrameMax),
		Window: uint32(config.Window), Features: config.Require, Client: config.Name,
	}
	if method == wire.MethodToken {
		hello.Service = config.Service
	}
	if _, err := rand.Read(hello.Nonce[:]); err != nil {
		return nil, err
	}
	welcome, rest, err := shake(nc, hello, secret)
	if err != nil {
		return nil, err
	}
	return newConn(nc, welcome, config.Window, rest), nil
}

// shake says HELLO and proves what is asked. rest is what the node sent after WELCOME.
func shake(nc io.ReadWriter, hello wire.Hello, secret string) (w wire.Welcome, rest []byte, err error) {
	out, err := wire.AppendHello([]byte(wire.Opening), 1, hello)
	if err != nil {
		return w, nil, err
	}
	if _, err := nc.Write(out); err != nil {
		return w, nil, err
	}
	in := &inbox{from: nc}
	op, id := wire.OpHello, uint64(1)
	var body []byte
	if hello.Method != wire.MethodNone {
		body, err = in.answer(op, id, wire.StatusChallenge)
		if err != nil {
			return w, nil, err
		}
		nonce, err := wire.ParseChallenge(body)
		if err != nil {
			return w, nil, &withCause{ErrProtocol, err}
		}
		op, id = wire.OpProof, 2
		proof := wire.ClientProof(secret, hello.Nonce, nonce, hello.Method, hello.Service)
		if _, err := nc.Write(wire.AppendProof(nil, id, proof)); err != nil {
			return w, nil, err
		}
		if body, err = in.answer(op, id, wire.StatusOK); err != nil {
			return w, nil, err
		}
		if w, err = parseWelcome(body, &hello); err != nil {
			return w, nil, err
		}
		expected := wire.ServerProof(secret, hello.Nonce, nonce)
		if !hmac.Equal(expected[:], w.Proof[:]) {
			return w, nil, ErrNodeProof
		}
		return w, in.unread, nil
	}
	if body, err = in.answer(op, id, wire.StatusOK); err != nil {
		return w, nil, err
	}
	w, err = parseWelcome(body, &hello)
	return w, in.unread, err
}

func parseWelcome(body []byte, hello *wire.Hello) (wire.Welcome, error) {
	w, err := wire.ParseWelcome(body)
	switch {
	case err != nil:
	case w.Version != wire.Version:
		err = fmt.Errorf("it speaks version %d", w.Version)
	case w.FrameMax < wire.FrameMaxLowest || w.FrameMax > wire.FrameMaxHighest:
		err = fmt.Errorf("a frame maximum of %d bytes", w.FrameMax)
	case w.Window < 1:
		err = errors.New("a window of 0")
	case w.Features&hello.Features != hello.Features:
		err = errors.New("a feature that is required is missing")
	default:
		return w, nil
	}
	return w, &withCause{ErrProtocol, err}
}

// inbox reads the frames of a handshake.
type inbox struct {
	from   io.Reader
	unread []byte
}

// answer returns the body of the answer to a request, which must have the status wanted.
func (in *inbox) answer(op wire.Op, id uint64, wanted wire.Status) ([]byte, error) {
	for {
		h, body, err := in.frame()
		switch {
		case err != nil:
			return nil, err
		case h.ID == 0 && h.Op == wire.OpGoAway|wire.AnswerBit:
			g, err := wire.ParseGoAway(body)
			if err != nil {
				return nil, &withCause{ErrProtocol, err}
			}
			return nil, &goneAway{g}
		case h.ID != id || h.Op != op|wire.AnswerBit: // not known, or not asked for
		case !h.Status.Done():
			return nil, failure(h.Status, body)
		case h.Status != wanted:
			return nil, fmt.Errorf("%w: %v in the handshake", ErrProtocol, h.Status)
		default:
			return body, nil
		}
	}
}

func (in *inbox) frame() (wire.Header, []byte, error) {
	for {
		if len(in.unread) >= wire.HeaderLen {
			h, err := wire.ParseHeader(in.unread, wire.FrameMaxInitial)
			if err != nil {
				return h, nil, &withCause{ErrProtocol, err}
			}
			if n := int(h.Length); n <= len(in.unread) {
				body := in.unread[wire.HeaderLen:n]
				in.unread = in.unread[n:]
				return h, body, nil
			}
		}
		var more [4096]byte
		n, err := in.from.Read(more[:])
		in.unread = append(in.unread[:len(in.unread):len(in.unread)], more[:n]...)
		if err != nil && n == 0 {
			return wire.Header{}, nil, err
		}
	}
}

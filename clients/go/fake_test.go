package tollgate

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/wire"
)

const secret = "0123456789abcdef0123456789abcdef"

// fakeNode speaks enough of the protocol to do what a real node does only in trouble. Each connection is served by
// answer, which is called for frame after frame.
type fakeNode struct {
	t        *testing.T
	listener net.Listener
	welcome  wire.Welcome
	secret   string // of the proofs; none: clients need no proof
	liar     bool   // its own proof is wrong
	// answer returns what to send for a frame; nil closes the connection.
	answer func(c *fakeConn, h wire.Header, body []byte) []byte

	accepted atomic.Int64
	mu       sync.Mutex
	conns    map[*fakeConn]bool
	ended    sync.WaitGroup
}

// fakeConn is a connection that the fake node serves.
type fakeConn struct {
	net.Conn
	node  *fakeNode
	hello wire.Hello
}

func newFake(t *testing.T) *fakeNode {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeNode{
		t: t, listener: listener, secret: secret, conns: make(map[*fakeConn]bool),
		welcome: wire.Welcome{
			Version: 1, FrameMax: 65536, Window: 256, IdleMs: 60000, Node: 7,
			Features: wire.FeatureDurable | wire.FeatureReserve | wire.FeatureAll, NodeNamed: "fake 1",
		},
		answer: func(_ *fakeConn, h wire.Header, body []byte) []byte { return yes(h, body) },
	}
	t.Cleanup(f.close)
	return f
}

// serve begins to accept; settings are made before.
func (f *fakeNode) serve() *fakeNode {
	listener := f.listener
	f.ended.Add(1)
	go func() {
		defer f.ended.Done()
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			f.accepted.Add(1)
			f.ended.Add(1)
			go f.serveConn(nc)
		}
	}()
	return f
}

func (f *fakeNode) address() string {
	if f.listener.Addr().Network() == "unix" {
		return "unix:" + f.listener.Addr().String()
	}
	return f.listener.Addr().String()
}

// onUnix replaces the listener by a Unix socket.
func (f *fakeNode) onUnix() *fakeNode {
	_ = f.listener.Close()
	listener, err := net.Listen("unix", filepath.Join(f.t.TempDir(), "node"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.listener = listener
	return f
}

func (f *fakeNode) onTLS(config *tls.Config) *fakeNode {
	f.listener = tls.NewListener(f.listener, config)
	return f
}

func (f *fakeNode) close() {
	_ = f.listener.Close()
	f.dropAll()
	f.ended.Wait()
}

// serving is how many connections are open.
func (f *fakeNode) serving() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// dropAll closes all connections.
func (f *fakeNode) dropAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
}

// sendAll sends a frame over all connections.
func (f *fakeNode) sendAll(frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_, _ = c.Write(frame)
	}
}

func (f *fakeNode) serveConn(nc net.Conn) {
	defer f.ended.Done()
	defer nc.Close()
	c := &fakeConn{Conn: nc, node: f}
	in := &inbox{from: nc}
	if !f.shake(c, in) {
		return
	}
	f.mu.Lock()
	f.conns[c] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
	}()
	for {
		h, body, err := in.frame()
		if err != nil {
			return
		}
		out := f.answer(c, h, body)
		if out == nil {
			return
		}
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

func (f *fakeNode) shake(c *fakeConn, in *inbox) bool {
	opening := make([]byte, 8)
	if _, err := io.ReadFull(c, opening); err != nil || string(opening) != wire.Opening {
		return false
	}
	h, body, err := in.frame()
	if err != nil || h.Op != wire.OpHello {
		return false
	}
	if c.hello, err = wire.ParseHello(body); err != nil {
		return false
	}
	f.mu.Lock()
	w := f.welcome
	f.mu.Unlock()
	if c.hello.Method != wire.MethodNone {
		nonce := [wire.NonceLen]byte{1, 2, 3}
		_, _ = c.Write(wire.AppendChallenge(nil, h.ID, nonce))
		if h, body, err = in.frame(); err != nil || h.Op != wire.OpProof {
			return false
		}
		proof, err := wire.ParseProof(body)
		if err != nil || proof != wire.ClientProof(f.secret, c.hello.Nonce, nonce, c.hello.Method, c.hello.Service) {
			_, _ = c.Write(refusal(h, wire.StatusProofInvalid, 0))
			return false
		}
		w.Proof = wire.ServerProof(f.secret, c.hello.Nonce, nonce)
		if f.liar {
			w.Proof[5] ^= 1
		}
	}
	out, err := wire.AppendWelcome(nil, h.Op, h.ID, w)
	if err != nil {
		return false
	}
	_, err = c.Write(out)
	return err == nil
}

// yes answers any request with success.
func yes(h wire.Header, body []byte) []byte {
	switch h.Op {
	case wire.OpPing:
		return wire.AppendPong(nil, h.ID, wire.Pong{TimeUs: 1})
	case wire.OpStats:
		return wire.AppendStats(nil, h.ID, wire.Stats{UptimeS: 3})
	case wire.OpReport, wire.OpCommit, wire.OpCancel:
		return wire.AppendReceipt(nil, h.Op, h.ID, wire.Receipt{Marks: wire.MarkOnDisk})
	case wire.OpBind:
		call, _ := wire.ParseCall(h.Op, body)
		bound := wire.Bound{Yes: true, Handle: 99, Metrics: make([]uint32, len(call.Metrics))}
		for i := range bound.Metrics {
			bound.Metrics[i] = uint32(i + 1)
		}
		out, _ := wire.AppendBound(nil, h.ID, &bound)
		return out
	case wire.OpQuery:
		out, _ := wire.AppendQuery(nil, h.ID, &wire.Query{Active: true})
		return out
	case wire.OpBatch:
		return yesToAll(h, body)
	}
	d := wire.Decision{Yes: true, Marks: wire.MarkCounted, Remaining: wire.Never}
	if h.Op == wire.OpReserve {
		d.Reservation = 5
	}
	return wire.AppendDecision(nil, h.Op, h.ID, &d)
}

func yesToAll(h wire.Header, body []byte) []byte {
	items, err := wire.ParseBatch(body)
	if err != nil {
		return refusal(h, wire.StatusMalformed, 0)
	}
	a := wire.BatchAnswer{Done: true}
	for _, item := range items {
		whole := yes(wire.Header{Op: item.Op}, item.Body)
		a.Items = append(a.Items, wire.ItemAnswer{Op: item.Op, Body: whole[wire.HeaderLen:]})
	}
	out, _ := wire.AppendBatchAnswer(nil, h.ID, &a)
	return out
}

func refusal(h wire.Header, status wire.Status, retryMs uint32) []byte {
	out, _ := wire.AppendFailure(nil, h.Op, status, h.ID, wire.Failure{RetryMs: retryMs, Message: "no"})
	return out
}

func goAway(reason wire.Closing, graceMs uint32) []byte {
	out, _ := wire.AppendGoAway(nil, wire.GoAway{Reason: reason, GraceMs: graceMs})
	return out
}

// connect makes a client with a fake node's secret and waits for its connections.
func connect(t *testing.T, f *fakeNode, config Config) *Client {
	t.Helper()
	config.Address = f.address()
	if config.Token == "" && config.SecretFile == "" && f.secret != "" {
		config.Secret = f.secret
	}
	if config.Connections == 0 {
		config.Connections = 1
	}
	if config.ReconnectMin == 0 {
		config.ReconnectMin, config.ReconnectMax = 5*time.Millisecond, 50*time.Millisecond
	}
	client, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Ready(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	return client
}

// within is a context for a part of a test.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for what is true soon.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func oneHit(key string) Call {
	return Call{App: App{UserKey: key}, Usage: []Usage{{Metric: "hits", Amount: 1}}}
}

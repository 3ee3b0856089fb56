package tollgate

import (
	"context"
	"errors"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/wire"
)

// errNotSent: the connection takes no more requests, and certainly did not carry this one. Another may.
var errNotSent = errors.New("tollgate: not sent")

const (
	// outMax is about how many bytes wait for the socket before callers wait too, so that a node that stops reading
	// costs little memory.
	outMax = 256 << 10
	// readLen is how much is read at a time, as far as frames are no longer.
	readLen = 64 << 10
)

// conn is an open connection. Callers put frames into out; the write loop writes all there is at once; the read loop
// gives answers to those who wait, by id.
type conn struct {
	nc      net.Conn
	rest    []byte // read after WELCOME, for the read loop
	welcome wire.Welcome
	// bindings are the client's.
	bindings *bindings
	// slots holds an element for each request that is unanswered, up to the window.
	slots chan struct{}
	// leaving is closed when the connection takes no more requests; done, when it is closed.
	leaving chan struct{}
	done    chan struct{}
	wake    chan struct{}
	reads   atomic.Uint64 // frames read, to see whether the node lives

	mu       sync.Mutex
	out      []byte            // frames to be written
	roomy    chan struct{}     // closed when out is taken; nil if nobody waits for that
	waiting  map[uint64]*reply // by id; nil for a request that nobody waits for any more
	lastID   uint64
	handed   uint64 // the last id that the socket was given
	left     bool   // leaving is closed
	err      error  // why it was closed
	finished bool   // done is closed
}

// reply is an answer on its way to who waits for it.
type reply struct {
	got    chan struct{} // one element when status, body and err are set
	op     wire.Op       // of the request
	status wire.Status
	body   []byte
	err    error
	conn   *conn
	resent bool // the request may have been done before
}

var replies = sync.Pool{New: func() any { return &reply{got: make(chan struct{}, 1)} }}

func newReply(cn *conn, op wire.Op) *reply {
	r := replies.Get().(*reply)
	r.conn, r.op, r.err, r.resent = cn, op, nil, false
	return r
}

func (r *reply) free() {
	r.conn = nil
	replies.Put(r)
}

// newConn takes over a connection whose handshake is done; start begins its work. rest is what was read after WELCOME.
func newConn(nc net.Conn, welcome wire.Welcome, window int, rest []byte) *conn {
	if uint64(welcome.Window) < uint64(window) {
		window = int(welcome.Window)
	}
	if window > 1 {
		window-- // the PING that keeps the connection alive counts too
	}
	return &conn{
		nc: nc, rest: rest, welcome: welcome, slots: make(chan struct{}, window), leaving: make(chan struct{}),
		done: make(chan struct{}), wake: make(chan struct{}, 1), waiting: make(map[uint64]*reply),
	}
}

func (cn *conn) start(config *Config) {
	go cn.read()
	go cn.write(config.Timeout)
	go cn.keepAlive(config.KeepAlive)
}

// exchange sends a frame of op and waits for its answer. The caller has taken a slot, which goes back with the answer.
func (cn *conn) exchange(ctx context.Context, op wire.Op, frame []byte) (*reply, error) {
	r := newReply(cn, op)
	id, err := cn.enqueue(ctx, r, frame)
	if err != nil {
		<-cn.slots
		r.free()
		return nil, err
	}
	select {
	case <-r.got:
	case <-ctx.Done():
		if cn.abandon(id) {
			r.free()
			return nil, ctx.Err()
		}
		<-r.got
	}
	if err := r.err; err != nil {
		r.free()
		return nil, err
	}
	return r, nil
}

// enqueue gives the frame an id and puts it among what will be written.
func (cn *conn) enqueue(ctx context.Context, r *reply, frame []byte) (uint64, error) {
	cn.mu.Lock()
	for !cn.left && len(cn.out) >= outMax {
		if cn.roomy == nil {
			cn.roomy = make(chan struct{})
		}
		roomy := cn.roomy
		cn.mu.Unlock()
		select {
		case <-roomy:
		case <-cn.done:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		cn.mu.Lock()
	}
	if cn.left {
		cn.mu.Unlock()
		return 0, errNotSent
	}
	id := cn.put(r, frame)
	cn.mu.Unlock()
	cn.rouse()
	return id, nil
}

// put is enqueue once there is room; the caller holds the lock.
func (cn *conn) put(r *reply, frame []byte) uint64 {
	cn.lastID++
	start := len(cn.out)
	cn.out = append(cn.out, frame...)
	wire.SetID(cn.out[start:], cn.lastID)
	cn.waiting[cn.lastID] = r
	return cn.lastID
}

func (cn *conn) rouse() {
	select {
	case cn.wake <- struct{}{}:
	default:
	}
}

// abandon gives up waiting for an answer, which still takes a slot until it comes. False if it is just coming.
func (cn *conn) abandon(id uint64) bool {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.waiting[id] == nil {
		return false
	}
	cn.waiting[id] = nil
	return true
}

// write writes what callers put into out. timeout bounds a write: a node that takes nothing for so long is given up.
func (cn *conn) write(timeout time.Duration) {
	var buf []byte
	for {
		select {
		case <-cn.wake:
		case <-cn.done:
			return
		}
		// Whoever is about to ask may do so first: then all of it goes in one write.
		runtime.Gosched()
		cn.mu.Lock()
		buf, cn.out = cn.out, buf[:0]
		cn.handed = cn.lastID
		if cn.roomy != nil {
			close(cn.roomy)
			cn.roomy = nil
		}
		cn.mu.Unlock()
		if len(buf) == 0 {
			continue
		}
		err := cn.nc.SetWriteDeadline(time.Now().Add(timeout))
		if err == nil {
			_, err = cn.nc.Write(buf)
		}
		if err != nil {
			cn.close(err)
			return
		}
		if cap(buf) > 2*outMax {
			buf = nil
		}
	}
}

// read gives answers to those who wait until the connection ends.
func (cn *conn) read() {
	buf := make([]byte, readLen+len(cn.rest))
	filled := copy(buf, cn.rest)
	for {
		used, need, err := cn.take(buf[:filled])
		if err != nil {
			cn.close(err)
			return
		}
		filled = copy(buf, buf[used:filled])
		if need > len(buf) {
			larger := make([]byte, need)
			copy(larger, buf[:filled])
			buf = larger
		}
		n, err := cn.nc.Read(buf[filled:])
		filled += n
		if err != nil && n == 0 {
			cn.close(err)
			return
		}
	}
}

// take deals with the whole frames of b; it returns how many bytes they are, and how long the frame after them is.
func (cn *conn) take(b []byte) (used, need int, err error) {
	for len(b)-used >= wire.HeaderLen {
		h, err := wire.ParseHeader(b[used:], cn.welcome.FrameMax)
		if err != nil {
			return used, 0, &withCause{ErrProtocol, err}
		}
		if int(h.Length) > len(b)-used {
			return used, int(h.Length), nil
		}
		body := b[used+wire.HeaderLen : used+int(h.Length)]
		used += int(h.Length)
		cn.reads.Add(1)
		if h.ID == 0 {
			if err := cn.unasked(h, body); err != nil {
				return used, 0, err
			}
		} else {
			cn.answer(h, body)
		}
	}
	return used, wire.HeaderLen, nil
}

// unasked deals with what the node says of its own accord; what is not known is skipped.
func (cn *conn) unasked(h wire.Header, body []byte) error {
	if h.Op != wire.OpGoAway|wire.AnswerBit {
		return nil
	}
	g, err := wire.ParseGoAway(body)
	if err != nil {
		return &withCause{ErrProtocol, err}
	}
	if g.Reason == wire.NodeStops || g.Reason == wire.NodeIsReplaced {
		cn.leave()
		return nil
	}
	return &goneAway{g}
}

// goneAway is a GOAWAY after which the node closes at once.
type goneAway struct{ wire.GoAway }

func (g *goneAway) Error() string {
	if g.Message == "" {
		return "tollgate: the node closed the connection: " + g.Reason.String()
	}
	return "tollgate: the node closed the connection: " + g.Reason.String() + ": " + g.Message
}

// answer gives a frame to who waits for it. An answer to nothing is skipped.
func (cn *conn) answer(h wire.Header, body []byte) {
	cn.mu.Lock()
	r, asked := cn.waiting[h.ID]
	delete(cn.waiting, h.ID)
	last := cn.left && len(cn.waiting) == 0
	cn.mu.Unlock()
	if !asked {
		return
	}
	if r != nil {
		r.status = h.Status
		r.body = append(r.body[:0], body...)
		if h.Op != r.op|wire.AnswerBit {
			r.err = ErrProtocol
		}
		r.got <- struct{}{}
	}
	<-cn.slots
	if last {
		cn.close(errNotSent)
	}
}

// pingID is that of the PINGs of keepAlive, one at a time, for which nobody waits and which take no slot.
const pingID = math.MaxUint64

// errSilent: the node does not answer a PING.
var errSilent = errors.New("tollgate: the node is silent")

// keepAlive sends a PING when nothing was read for the time of every, and ends the connection if that is not answered
// in the same time. It keeps the node from taking the connection for idle, too.
func (cn *conn) keepAlive(every time.Duration) {
	if idle := time.Duration(cn.welcome.IdleMs) * time.Millisecond / 3; idle > 0 && idle < every {
		every = idle
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	pinged, seen := false, cn.reads.Load()
	for {
		select {
		case <-ticker.C:
		case <-cn.done:
			return
		}
		reads := cn.reads.Load()
		switch {
		case reads != seen:
			pinged = false
		case pinged:
			cn.close(errSilent)
			return
		default:
			cn.mu.Lock()
			cn.out = wire.AppendEmpty(cn.out, wire.OpPing, pingID)
			cn.mu.Unlock()
			cn.rouse()
			pinged = true
		}
		seen = reads
	}
}

// leave lets the connection take no more requests; it is closed when the last answer is there.
func (cn *conn) leave() {
	cn.mu.Lock()
	if !cn.left {
		cn.left = true
		close(cn.leaving)
	}
	idle := len(cn.waiting) == 0
	cn.mu.Unlock()
	if idle {
		cn.close(errNotSent)
	}
}

// close ends the connection because of err, and tells all who wait.
func (cn *conn) close(err error) {
	cn.mu.Lock()
	if cn.finished {
		cn.mu.Unlock()
		return
	}
	cn.finished, cn.err = true, err
	if !cn.left {
		cn.left = true
		close(cn.leaving)
	}
	close(cn.done)
	waiting, handed := cn.waiting, cn.handed
	cn.waiting = nil
	cn.mu.Unlock()
	_ = cn.nc.Close()
	for id, r := range waiting {
		if r == nil {
			continue
		}
		switch {
		case errors.Is(err, ErrClosed):
			r.err = ErrClosed
		case id > handed:
			r.err = errNotSent
		default:
			r.err = &withCause{ErrLost, err}
		}
		r.got <- struct{}{}
	}
}

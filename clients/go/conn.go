package tollgate

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"tollgate/wire"
)

// errNotSent: the connection takes no more requests, and certainly did not carry this one. Another may.
var errNotSent = errors.New("tollgate: not sent")

// outMax is about how many bytes wait for the socket before callers wait too, so that a node that stops reading costs
// little memory.
const outMax = 256 << 10

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
	if cap(r.body) <= keptMax {
		replies.Put(r)
	}
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

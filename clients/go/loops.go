package tollgate

import (
	"errors"
	"math"
	"runtime"
	"time"

	"tollgate/wire"
)

// readLen is how much is read at a time, as far as frames are no longer.
const readLen = 64 << 10

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
	// Before whoever waits goes on: they find the window as it is.
	<-cn.slots
	if r != nil {
		r.status = h.Status
		r.body = append(r.body[:0], body...)
		if h.Op != r.op|wire.AnswerBit {
			r.err = ErrProtocol
		}
		r.got <- struct{}{}
	}
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

package tollgate

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"

	"tollgate/wire"
)

// Client asks a node. It is safe for use by any number of goroutines; a process needs one for each node.
type Client struct {
	config   Config
	links    []*link
	bindings *bindings
	end      context.CancelFunc
	running  sync.WaitGroup
	closing  atomic.Bool  // no more calls
	closed   atomic.Bool  // nor connections
	calls    atomic.Int64 // under way

	mu        sync.Mutex
	changed   chan struct{} // closed at the next change of connections
	lastErr   error         // of connecting; nil since the last success
	awaySince time.Time     // when the last connection was lost
}

// New makes a client. It does not wait for a connection (Ready does): a gateway may start before its node.
func New(config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	c := &Client{
		config: config, end: end, bindings: newBindings(config.Bindings), changed: make(chan struct{}),
		awaySince: time.Now(),
	}
	for i := 0; i < config.Connections; i++ {
		c.links = append(c.links, &link{client: c, random: rand.New(rand.NewSource(seed()))})
	}
	for _, l := range c.links {
		l := l
		c.running.Add(1)
		go func() {
			defer c.running.Done()
			l.run(ctx)
		}()
	}
	return c, nil
}

// seed differs from process to process, which Go 1.19's own does not.
func seed() int64 {
	var b [8]byte
	if _, err := crand.Read(b[:]); err != nil {
		return time.Now().UnixNano()
	}
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// Close ends the client at once: calls under way return ErrClosed.
func (c *Client) Close() error {
	if c.closing.Swap(true) && c.closed.Load() {
		return nil
	}
	c.shut()
	return nil
}

func (c *Client) shut() {
	c.closed.Store(true)
	c.end()
	c.mu.Lock()
	c.tell()
	c.mu.Unlock()
	c.running.Wait()
}

// Shutdown lets calls under way end, takes no more, and closes the client. If the context ends before them it closes at
// once and returns the context's error.
func (c *Client) Shutdown(ctx context.Context) error {
	if c.closing.Swap(true) {
		return nil
	}
	defer c.shut()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for c.calls.Load() > 0 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// message is something to send over whatever connection there is.
type message interface {
	operation() wire.Op
	// appendTo writes the frame as it is for that connection.
	appendTo(b []byte, cn *conn) ([]byte, error)
	// repeatable tells whether doing it twice is as good as once.
	repeatable() bool
}

// attempts is how often a message is sent because of answers that ask for it, or repeated because its answer was lost.
const attempts = 4

var frames = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// keptMax is how long a buffer may have become to be used again.
const keptMax = 16 << 10

// send sends a message and returns its answer, whatever its status; the caller frees it.
func (c *Client) send(ctx context.Context, m message) (*reply, error) {
	c.calls.Add(1)
	defer c.calls.Add(-1)
	if c.closing.Load() {
		return nil, ErrClosed
	}
	within, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	resent := false
	for tries := 1; ; {
		r, err := c.sendOnce(within, m)
		switch {
		case err == nil && r.status == wire.StatusOverloaded && tries < attempts:
			err = c.rest(within, r, tries)
		case err == nil && r.status == wire.StatusDraining && tries < attempts:
			r.conn.leave()
		case err == nil:
			r.resent = resent
			return r, nil
		case errors.Is(err, errNotSent):
			continue // another connection, as long as there is time
		case errors.Is(err, ErrLost) && m.repeatable() && tries < attempts:
			resent, err = true, nil
		}
		if r != nil {
			r.free()
		}
		if err != nil {
			return nil, timely(ctx, err)
		}
		tries++
	}
}

// timely turns the end of the client's own time into ErrTimeout; the caller's context speaks for itself.
func timely(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ErrTimeout
	}
	return err
}

func (c *Client) sendOnce(ctx context.Context, m message) (*reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cn, err := c.pick(ctx)
	if err != nil {
		return nil, err
	}
	buf := frames.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= keptMax {
			frames.Put(buf)
		}
	}()
	frame, err := m.appendTo((*buf)[:0], cn)
	if err == nil && uint32(len(frame)) > cn.welcome.FrameMax {
		err = ErrTooLarge
	}
	if err != nil {
		<-cn.slots
		return nil, err
	}
	*buf = frame
	return cn.exchange(ctx, m.operation(), frame)
}

// rest waits as long as an overloaded node asks for, or a little if it does not say; some more or less of it, so that
// not all come back at once.
func (c *Client) rest(ctx context.Context, r *reply, tries int) error {
	pause := time.Millisecond << tries
	if f, err := wire.ParseFailure(r.body); err == nil && f.RetryMs > 0 {
		pause = time.Duration(f.RetryMs) * time.Millisecond
	}
	pause += time.Duration(rand.Int63n(int64(pause/2) + 1))
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
		return failure(r.status, r.body)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

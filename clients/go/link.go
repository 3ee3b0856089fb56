package tollgate

import (
	"context"
	"errors"
	"math/rand"
	"sync/atomic"
	"time"

	"tollgate/wire"
)

// link is one of a client's connections through all its lives.
type link struct {
	client *Client
	open   atomic.Pointer[conn] // nil while there is none
	random *rand.Rand
}

// steady is how long a connection must have lasted for the next attempt to be made without a pause.
const steady = time.Second

// run keeps the link connected until the context ends.
func (l *link) run(ctx context.Context) {
	c := l.client
	pause := c.config.ReconnectMin
	for ctx.Err() == nil {
		cn, err := dial(ctx, &c.config, c.bindings)
		if cn != nil {
			go cn.closeWith(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if c.config.OnConnect != nil {
			c.config.OnConnect(err)
		}
		if err != nil {
			c.failed(err)
			l.sleep(ctx, pauseAfter(err, pause))
			pause = l.longer(pause)
			continue
		}
		since := time.Now()
		l.open.Store(cn)
		c.connected(cn)
		select {
		case <-cn.leaving:
		case <-ctx.Done():
		}
		l.open.Store(nil)
		c.disconnected()
		// A connection that leaves still gets its answers, while the next one is made.
		if time.Since(since) >= steady {
			pause = c.config.ReconnectMin
			continue
		}
		l.sleep(ctx, pause)
		pause = l.longer(pause)
	}
}

// closeWith closes the connection when the context ends, if it is open so long.
func (cn *conn) closeWith(ctx context.Context) {
	select {
	case <-cn.done:
	case <-ctx.Done():
		cn.close(ErrClosed)
	}
}

// pauseAfter is at least what the node asked for.
func pauseAfter(err error, pause time.Duration) time.Duration {
	var status *StatusError
	if errors.As(err, &status) && status.RetryAfter > pause {
		return status.RetryAfter
	}
	return pause
}

// sleep waits between half of d and d.
func (l *link) sleep(ctx context.Context, d time.Duration) {
	d = d/2 + time.Duration(l.random.Int63n(int64(d/2)+1))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (l *link) longer(pause time.Duration) time.Duration {
	if pause *= 2; pause > l.client.config.ReconnectMax {
		return l.client.config.ReconnectMax
	}
	return pause
}

// connected tells those who wait that there is a connection.
func (c *Client) connected(cn *conn) {
	nodes := map[uint64]bool{cn.welcome.Node: true}
	for _, l := range c.links {
		if other := l.open.Load(); other != nil {
			nodes[other.welcome.Node] = true
		}
	}
	c.bindings.keep(nodes)
	c.mu.Lock()
	c.lastErr = nil
	c.tell()
	c.mu.Unlock()
}

// disconnected starts the time that calls wait for another connection, if this was the last.
func (c *Client) disconnected() {
	for _, l := range c.links {
		if l.open.Load() != nil {
			return
		}
	}
	c.mu.Lock()
	c.awaySince = time.Now()
	c.mu.Unlock()
}

func (c *Client) failed(err error) {
	c.mu.Lock()
	c.lastErr = err
	c.tell()
	c.mu.Unlock()
}

// tell wakes all who wait for a change; the caller holds the lock.
func (c *Client) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// pick returns a connection, and takes one of its slots. It waits for a slot as long as the context allows, for a
// connection no longer than Config.AwayWait after there was the last.
func (c *Client) pick(ctx context.Context) (*conn, error) {
	for {
		if c.closed.Load() {
			return nil, ErrClosed
		}
		if cn := c.leastBusy(); cn != nil {
			select {
			case cn.slots <- struct{}{}:
				return cn, nil
			default:
			}
			select {
			case cn.slots <- struct{}{}:
				return cn, nil
			case <-cn.leaving:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		if err := c.await(ctx); err != nil {
			return nil, err
		}
	}
}

// sharedBy is how many requests a connection has open before another is taken too: what goes over the same connection
// at a time is cheaper than what goes over two.
const sharedBy = 16

func (c *Client) leastBusy() *conn {
	var best *conn
	least := 0
	for _, l := range c.links {
		cn := l.open.Load()
		if cn == nil || cn.isLeaving() {
			continue
		}
		if busy := len(cn.slots) / sharedBy; best == nil || busy < least {
			best, least = cn, busy
		}
	}
	return best
}

func (cn *conn) isLeaving() bool {
	select {
	case <-cn.leaving:
		return true
	default:
		return false
	}
}

// await waits for a change while there is no connection.
func (c *Client) await(ctx context.Context) error {
	c.mu.Lock()
	changed, lastErr := c.changed, c.lastErr
	left := time.Until(c.awaySince.Add(c.config.AwayWait))
	c.mu.Unlock()
	if c.leastBusy() != nil { // it came while we looked
		return nil
	}
	if left <= 0 || c.config.AwayWait < 0 {
		return &withCause{ErrUnavailable, lastErr}
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		return &withCause{ErrUnavailable, lastErr}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready waits until there is a connection. If the context ends before, it returns why the last attempt failed.
func (c *Client) Ready(ctx context.Context) error {
	for {
		c.mu.Lock()
		changed, lastErr := c.changed, c.lastErr
		c.mu.Unlock()
		if c.closed.Load() {
			return ErrClosed
		}
		if c.leastBusy() != nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if lastErr != nil {
				return &withCause{ErrUnavailable, lastErr}
			}
			return ctx.Err()
		}
	}
}

// Node returns what the node said of itself when the first of the connections that are open was made: its name, the
// catalog's version, its features. False if there is none.
func (c *Client) Node() (wire.Welcome, bool) {
	if cn := c.leastBusy(); cn != nil {
		return cn.welcome, true
	}
	return wire.Welcome{}, false
}

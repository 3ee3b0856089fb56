package tollgate

import (
	"context"
	"errors"
	"time"

	"tollgate/wire"
)

// Authrep decides whether the call may be made and, if so, counts its usage: one step, exact under any concurrency.
//
// Should the node answer StatusNotDurable (a call with Durable, and the disk fails), the call is admitted and counted:
// the Decision says so, beside the error.
func (c *Client) Authrep(ctx context.Context, call Call) (Decision, error) {
	return c.decide(ctx, wire.OpAuthrep, &call)
}

// Authorize decides as Authrep does, and counts nothing. Limits are looked at as they would be with the usage.
func (c *Client) Authorize(ctx context.Context, call Call) (Decision, error) {
	return c.decide(ctx, wire.OpAuthorize, &call)
}

// Check looks at limits alone: would this usage fit? Neither keys nor referrer nor states matter; it counts nothing.
func (c *Client) Check(ctx context.Context, call Call) (Decision, error) {
	return c.decide(ctx, wire.OpCheck, &call)
}

func (c *Client) decide(ctx context.Context, op wire.Op, call *Call) (Decision, error) {
	d, _, err := c.ask(ctx, c.request(op, call))
	if err != nil {
		return c.orPolicy(ctx, d, err)
	}
	return d, nil
}

// ask sends a request that is answered with a decision; it returns a reservation too.
func (c *Client) ask(ctx context.Context, r *request) (Decision, uint64, error) {
	answer, err := c.do(ctx, r)
	if err != nil {
		if r.op == wire.OpAuthrep && errors.Is(err, StatusNotDurable) {
			return Decision{Allowed: true, Counted: true, Remaining: Unbounded}, 0, err
		}
		return Decision{}, 0, err
	}
	defer answer.free()
	w, err := wire.ParseDecision(answer.body)
	if err != nil {
		return Decision{}, 0, &withCause{ErrProtocol, err}
	}
	d := decisionOf(&w)
	d.Limits = limitsOf(w.Limits, c.bindings.namesAt(boundAt{answer.conn.welcome.Node, r.app}))
	return d, w.Reservation, nil
}

// orPolicy is what Config.Away makes of a decision that did not come. A context that its owner cancelled speaks for
// itself.
func (c *Client) orPolicy(ctx context.Context, d Decision, err error) (Decision, error) {
	if c.config.Away == Fail || errors.Is(ctx.Err(), context.Canceled) || !nodeIsAway(err) {
		return d, err
	}
	return Decision{Allowed: c.config.Away == Allow, Policy: true}, nil
}

// Report counts what already happened, whatever limits, keys and states say.
func (c *Client) Report(ctx context.Context, call Call) (Receipt, error) {
	return c.receipt(ctx, c.request(wire.OpReport, &call))
}

// receipt sends a request that is answered with a receipt.
func (c *Client) receipt(ctx context.Context, r *request) (Receipt, error) {
	answer, err := c.do(ctx, r)
	if errors.Is(err, errDoneBefore) {
		return Receipt{Repeated: true}, nil
	}
	if err != nil {
		return Receipt{}, err
	}
	defer answer.free()
	w, err := wire.ParseReceipt(answer.body)
	if err != nil {
		return Receipt{}, &withCause{ErrProtocol, err}
	}
	return receiptOf(w), nil
}

// Pong is what Ping returns.
type Pong struct {
	// Time is the node's, to the microsecond.
	Time time.Time
	// CatalogVersion is the version of the node's catalog.
	CatalogVersion uint64
}

// Ping asks the node for its time.
func (c *Client) Ping(ctx context.Context) (Pong, error) {
	var pong Pong
	err := c.plain(ctx, wire.OpPing, func(body []byte) error {
		w, err := wire.ParsePong(body)
		pong = Pong{timeUs(w.TimeUs), w.Catalog}
		return err
	})
	return pong, err
}

// Stats are the node's.
type Stats struct {
	// Behind: the node is behind in writing to disk.
	Behind bool
	// Uptime is the time since the node started, to the second.
	Uptime time.Duration
	// Connections of this protocol that are open.
	Connections uint64
	// Frames answered since the start.
	Frames uint64
	// Decisions made since the start, and those of them that were a no.
	Decisions uint64
	Denied    uint64
	// Applications in the catalog.
	Applications uint64
	// CatalogVersion is the version of the node's catalog.
	CatalogVersion uint64
	// FlushAge is the time since the last flush to disk was begun: the most that a crash can take.
	FlushAge time.Duration
}

// Stats asks how the node does. It is for clients with the node's secret; others get StatusMethodNotAllowed.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	var stats Stats
	err := c.plain(ctx, wire.OpStats, func(body []byte) error {
		w, err := wire.ParseStats(body)
		stats = Stats{
			Behind: w.Behind, Uptime: times(w.UptimeS, time.Second), Connections: w.Connections, Frames: w.Frames,
			Decisions: w.Decisions, Denied: w.Denied, Applications: w.Applications, CatalogVersion: w.Catalog,
			FlushAge: times(w.FlushUs, time.Microsecond),
		}
		return err
	})
	return stats, err
}

// empty is a request without a body.
type empty wire.Op

func (e empty) operation() wire.Op { return wire.Op(e) }

func (e empty) repeatable() bool { return true }

func (e empty) appendTo(b []byte, _ *conn) ([]byte, error) {
	return wire.AppendEmpty(b, wire.Op(e), 0), nil
}

func (c *Client) plain(ctx context.Context, op wire.Op, parse func(body []byte) error) error {
	answer, err := c.send(ctx, empty(op))
	if err != nil {
		return err
	}
	defer answer.free()
	if !answer.status.Done() {
		return failure(answer.status, answer.body)
	}
	if err := parse(answer.body); err != nil {
		return &withCause{ErrProtocol, err}
	}
	return nil
}

package tollgate

import (
	"context"
	"time"

	"tollgate/wire"
)

// request is a call as it is sent: by handle where the client knows one for the connection, otherwise by fields.
type request struct {
	op       wire.Op
	flags    wire.Flags
	call     wire.Call // by fields
	app      App       // its service filled in
	again    bool      // doing it twice is as good as once
	byFields bool      // always: what it needs beside the application does not go by handle
	stale    bool      // its handle has ended
	used     *binding  // of the last sending; nil if it was by fields
	rows     [8]wire.Row
}

// flagsOf are the flags of op that the call asks for.
func flagsOf(op wire.Op, call *Call) wire.Flags {
	var flags wire.Flags
	decides := op == wire.OpAuthorize || op == wire.OpAuthrep || op == wire.OpCheck || op == wire.OpReserve
	if call.Flat && (decides || op == wire.OpReport || op == wire.OpCommit) {
		flags |= wire.FlagFlat
	}
	if call.AllLimits && decides {
		flags |= wire.FlagLimits
	}
	if call.OAuth && (op == wire.OpAuthorize || op == wire.OpAuthrep) {
		flags |= wire.FlagOAuth
	}
	if op != wire.OpAuthorize && op != wire.OpCheck && op != wire.OpQuery {
		flags |= call.Durability.flags()
	}
	return flags
}

func (d Durability) flags() wire.Flags {
	switch d {
	case Durable:
		return wire.FlagDurable
	case Interval:
		return wire.FlagInterval
	}
	return 0
}

func (c *Client) request(op wire.Op, call *Call) *request {
	r := &request{op: op, flags: flagsOf(op, call), app: c.at(call.App)}
	switch op {
	case wire.OpAuthorize, wire.OpCheck, wire.OpQuery, wire.OpCommit, wire.OpCancel:
		r.again = true
	}
	r.call = wire.Call{
		Service: c.serviceField(r.app), UserKey: r.app.UserKey, AppID: r.app.AppID, AppKey: r.app.AppKey,
		Referrer: call.Referrer, Usage: call.Usage, LogCode: call.LogCode,
		RedirectURI: call.RedirectURI, RedirectURL: call.RedirectURL,
	}
	switch op {
	case wire.OpAuthrep, wire.OpReserve, wire.OpReport:
		r.again = call.ID != "" || call.Producer != ""
		r.call.Idempotency, r.call.Producer, r.call.Sequence = call.ID, call.Producer, call.Sequence
	}
	if !call.Time.IsZero() {
		r.call.Timestamp, r.call.HasTime = call.Time.Unix(), true
	}
	// What an OAuth client's call needs beside the application goes by fields.
	r.byFields = call.OAuth || call.RedirectURI != "" || call.RedirectURL != ""
	return r
}

// at fills in the service that calls are for if they name none.
func (c *Client) at(app App) App {
	if app.Service == "" {
		app.Service = c.config.Service
	}
	return app
}

// serviceField is the field SERVICE; a connection by token is for its service alone.
func (c *Client) serviceField(app App) string {
	if c.config.Token != "" && app.Service == c.config.Service {
		return ""
	}
	return app.Service
}

func (r *request) operation() wire.Op { return r.op }

func (r *request) repeatable() bool { return r.again }

func (r *request) appendTo(b []byte, cn *conn) ([]byte, error) {
	return wire.AppendCall(b, r.op, r.flags, 0, r.on(cn))
}

// on is the call as it is for a connection.
func (r *request) on(cn *conn) *wire.Call {
	r.used = nil
	if r.byFields || r.stale {
		return &r.call
	}
	bound := cn.bindings.find(boundAt{cn.welcome.Node, r.app})
	if bound == nil || bound.handle == 0 {
		return &r.call
	}
	rows, all := bound.rows(r.rows[:0], r.call.Usage)
	if !all {
		return &r.call
	}
	r.used = bound
	return &wire.Call{
		Handle: bound.handle, Rows: rows, Referrer: r.call.Referrer, Timestamp: r.call.Timestamp,
		HasTime: r.call.HasTime, LogCode: r.call.LogCode, Metrics: r.call.Metrics,
		TTL: r.call.TTL, Reservation: r.call.Reservation, Idempotency: r.call.Idempotency,
		Producer: r.call.Producer, Sequence: r.call.Sequence,
	}
}

// do sends a request; an answer that it returns is of class 0, for the caller to free. A handle that has ended costs
// another sending, by fields.
func (c *Client) do(ctx context.Context, r *request) (*reply, error) {
	for {
		answer, err := c.send(ctx, r)
		if err != nil {
			return nil, err
		}
		switch {
		case answer.status == wire.StatusStaleHandle && r.used != nil:
			c.bindings.drop(r.used)
			r.stale = true
			answer.free()
			continue
		case !answer.status.Done():
			err := failure(answer.status, answer.body)
			if answer.resent && answer.status == wire.StatusReservationUnknown {
				err = &withCause{errDoneBefore, err}
			}
			answer.free()
			return nil, err
		case r.used == nil && !r.byFields:
			c.bindSoon(answer.conn, r)
		}
		return answer, nil
	}
}

// bindSoon gets a handle for the next such call, unless the client knows already that there is none.
func (c *Client) bindSoon(cn *conn, r *request) {
	at := boundAt{cn.welcome.Node, r.app}
	before := c.bindings.find(at)
	if before != nil && before.handle == 0 || !c.bindings.begin(at) {
		return
	}
	usage := append([]Usage(nil), r.call.Usage...)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.config.Timeout)
		defer cancel()
		err := c.bind(ctx, at, namesFor(usage, before))
		if err != nil && before != nil && nodeRefused(err) {
			// A metric from before may be gone.
			err = c.bind(ctx, at, namesFor(usage, nil))
		}
		if err != nil && nodeRefused(err) {
			c.bindings.put(&binding{at: at})
			return
		}
		c.bindings.fail(at)
	}()
}

// nodeRefused tells whether asking again would be refused again.
func nodeRefused(err error) bool {
	switch err := err.(type) {
	case *StatusError:
		return err.Status.Class() == wire.ClassProgram || err.Status.Class() == wire.ClassRefused
	case *NotBoundError:
		return true
	}
	return false
}

// binder is a BIND.
type binder struct {
	at      boundAt
	service string // the field
	names   []string
}

func (b *binder) operation() wire.Op { return wire.OpBind }

func (b *binder) repeatable() bool { return true }

func (b *binder) appendTo(buf []byte, cn *conn) ([]byte, error) {
	app := &b.at.app
	return wire.AppendCall(buf, wire.OpBind, 0, 0, &wire.Call{
		Service: b.service, UserKey: app.UserKey, AppID: app.AppID, AppKey: app.AppKey, Metrics: b.names,
	})
}

// bind asks for a handle and remembers it for the node that answered.
func (c *Client) bind(ctx context.Context, at boundAt, names []string) error {
	answer, err := c.send(ctx, &binder{at, c.serviceField(at.app), names})
	if err != nil {
		return err
	}
	defer answer.free()
	if !answer.status.Done() {
		return failure(answer.status, answer.body)
	}
	bound, err := wire.ParseBound(answer.body)
	switch {
	case err != nil:
		return &withCause{ErrProtocol, err}
	case !bound.Yes:
		return &NotBoundError{bound.Reason}
	case bound.Handle == 0 || len(bound.Metrics) != len(names):
		return ErrProtocol
	}
	at.node = answer.conn.welcome.Node
	it := &binding{at: at, handle: bound.Handle, metrics: make([]boundMetric, len(names))}
	for i, name := range names {
		it.metrics[i] = boundMetric{name, bound.Metrics[i]}
	}
	c.bindings.put(it)
	return nil
}

// Bind checks an application's credentials and gets it a handle, by which its next calls go: cheaper for the node, and
// shorter. Calls bind of their own accord after the first; Bind does it ahead, with the metrics that will be used.
// Handles that end are replaced unseen. If the credentials are not good the error is a *NotBoundError.
func (c *Client) Bind(ctx context.Context, app App, metrics ...string) error {
	return c.bind(ctx, boundAt{app: c.at(app)}, metrics)
}

// timeUs turns the node's time into Go's.
func timeUs(us uint64) time.Time {
	if us > 1<<62 {
		us = 1 << 62
	}
	return time.UnixMicro(int64(us)).UTC()
}

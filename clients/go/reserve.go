package tollgate

import (
	"context"
	"math"
	"time"

	"tollgate/wire"
)

// Reservation is an amount that is held, if its Decision says yes, until Commit, Cancel or its time to live.
type Reservation struct {
	Decision
	// ID names the reservation: Client.Commit and Client.Cancel take it, in another process too. 0 if nothing is held.
	ID uint64

	client *Client
	call   Call
}

// Reserve decides as Authrep does; if the answer is yes the usage is held instead of counted: until it is committed,
// cancelled or expires it counts against limits. For costs that are known only afterwards. ttl is 1 second to 1 hour,
// by the node's clock; a part of a second counts as a whole one. At most 64 are open for an application.
//
// If Config.Away says yes, nothing is held, and Commit reports.
func (c *Client) Reserve(ctx context.Context, call Call, ttl time.Duration) (*Reservation, error) {
	r := c.request(wire.OpReserve, &call)
	r.call.TTL = seconds(ttl)
	d, id, err := c.ask(ctx, r)
	if err != nil {
		if d, err = c.orPolicy(ctx, d, err); err != nil {
			return nil, err
		}
	}
	return &Reservation{Decision: d, ID: id, client: c, call: call}, nil
}

// seconds rounds up to what a RESERVE can say; 0, which the node refuses, for what is not positive.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	n := (d-1)/time.Second + 1
	if n > math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(n)
}

// Commit counts what it really was, in full, in the windows of now, and releases what was held.
func (r *Reservation) Commit(ctx context.Context, usage ...Usage) (Receipt, error) {
	call := r.call
	call.Usage = usage
	switch {
	case r.Policy && r.Allowed:
		return r.client.Report(ctx, Call{App: call.App, Usage: usage, Flat: call.Flat, Durability: call.Durability})
	case r.ID == 0:
		return Receipt{}, ErrNotReserved
	}
	return r.client.Commit(ctx, call, r.ID)
}

// Cancel releases what was held.
func (r *Reservation) Cancel(ctx context.Context) (Receipt, error) {
	switch {
	case r.Policy && r.Allowed:
		return Receipt{}, nil
	case r.ID == 0:
		return Receipt{}, ErrNotReserved
	}
	return r.client.Cancel(ctx, r.call, r.ID)
}

// Commit counts the call's usage, what it really was, and releases the reservation id of its application. One that is
// not open any more gives StatusReservationUnknown, and nothing is counted.
func (c *Client) Commit(ctx context.Context, call Call, id uint64) (Receipt, error) {
	r := c.request(wire.OpCommit, &call)
	r.call.Reservation = id
	return c.receipt(ctx, r)
}

// Cancel releases the reservation id of the call's application; its usage is not looked at.
func (c *Client) Cancel(ctx context.Context, call Call, id uint64) (Receipt, error) {
	call.Usage = nil
	r := c.request(wire.OpCancel, &call)
	r.call.Reservation = id
	return c.receipt(ctx, r)
}

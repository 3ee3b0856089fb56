package tollgate

import (
	"context"
	"errors"
	"time"

	"tollgate/wire"
)

// Op is what an Item of a Batch does.
type Op = wire.Op

// The operations of items.
const (
	OpAuthorize = wire.OpAuthorize
	OpAuthrep   = wire.OpAuthrep
	OpReport    = wire.OpReport
	OpCheck     = wire.OpCheck
	OpReserve   = wire.OpReserve
	OpCommit    = wire.OpCommit
	OpCancel    = wire.OpCancel
)

// Item is one of the calls of a Batch.
type Item struct {
	Do   Op
	Call Call
	// TTL is the time to live of a reservation (OpReserve).
	TTL time.Duration
	// Reservation is the id of the reservation (OpCommit, OpCancel).
	Reservation uint64
}

// BatchOptions say how a Batch is done.
type BatchOptions struct {
	// All makes all items happen, as one step, or none: Authorize, Authrep and Check only (StatusOutOfPlace), of at most
	// 64 applications (StatusTooLarge), in one frame (ErrTooLarge).
	All bool
	// Durability of what is counted.
	Durability Durability
}

// ItemResult is what became of an Item.
type ItemResult struct {
	// Err is why there is no answer to the item: a *StatusError if the node refused it (StatusNotDone, with All, if
	// another item stood in the way).
	Err error
	// Decision, of an item that decides.
	Decision Decision
	// Reservation is the id that OpReserve gave; 0 if it was denied.
	Reservation uint64
	// Receipt, of an item that reports, commits or cancels.
	Receipt Receipt
}

// BatchResult is what Batch returns.
type BatchResult struct {
	// Done: with BatchOptions.All, all items are done; otherwise all are answered, each for itself.
	Done bool
	// Items are in the order of the items asked for.
	Items []ItemResult
}

// Batch does many calls in one frame, in order: each sees what those before it counted. What does not fit a frame goes
// in several, one after the other; not with BatchOptions.All (ErrTooLarge). An item whose handle turns out to have
// ended is done after the others.
//
// The error is that of frames which were not answered: their items have it too, but for those that Config.Away decides
// (not with BatchOptions.All). Items before and after may be done: look at each.
func (c *Client) Batch(ctx context.Context, items []Item, options BatchOptions) (BatchResult, error) {
	requests := make([]*request, len(items))
	left := make([]int, len(items))
	for i := range items {
		requests[i] = c.itemRequest(&items[i])
		left[i] = i
	}
	b := &batch{client: c, requests: requests, results: make([]ItemResult, len(items)), options: options}
	var done bool
	var err error
	if options.All && len(items) > 0 {
		done, err = b.all(ctx, left)
	} else {
		err = b.each(ctx, left)
		done = err == nil
	}
	return BatchResult{done, b.results}, err
}

func (c *Client) itemRequest(item *Item) *request {
	r := c.request(item.Do, &item.Call)
	r.flags &= wire.FlagFlat | wire.FlagOAuth
	switch item.Do {
	case wire.OpReserve:
		r.call.TTL = seconds(item.TTL)
	case wire.OpCommit, wire.OpCancel:
		r.call.Reservation = item.Reservation
		if item.Do == wire.OpCancel {
			r.call.Usage = nil
		}
	}
	return r
}

// batch is a Batch under way.
type batch struct {
	client   *Client
	requests []*request
	results  []ItemResult
	options  BatchOptions
}

// part is a frame of a batch: the items at these places, as many of them as fit.
type part struct {
	batch *batch
	at    []int
	sent  int // how many the last sending had
}

func (p *part) operation() wire.Op { return wire.OpBatch }

func (p *part) repeatable() bool {
	for _, i := range p.at {
		if !p.batch.requests[i].again {
			return false
		}
	}
	return true
}

func (p *part) appendTo(b []byte, cn *conn) ([]byte, error) {
	flags := p.batch.options.Durability.flags()
	if p.batch.options.All {
		flags |= wire.FlagAll
	}
	most := wire.BatchMax(cn.welcome.FrameMax)
	if most < len(p.at) && p.batch.options.All {
		return b, ErrTooLarge
	}
	start, room := len(b), int(cn.welcome.FrameMax)
	b, err := wire.AppendBatch(b, flags, 0, 1)
	if err != nil {
		return b, err
	}
	for p.sent = 0; p.sent < len(p.at) && p.sent < most; p.sent++ {
		r := p.batch.requests[p.at[p.sent]]
		end := len(b)
		b, err = wire.AppendItem(b, r.op, r.flags, r.on(cn))
		if err == nil && len(b)-start > room {
			b, err = b[:end], ErrTooLarge
		}
		if err != nil && (p.sent == 0 || p.batch.options.All) {
			p.sent = 0
			return b[:start], err
		}
		if err != nil { // it begins the next frame, or is the one that fails then
			break
		}
	}
	wire.SetItems(b[start:], p.sent)
	return wire.Finish(b, start), nil
}

// round sends a frame with the first of the items at these places. It returns how many went, those among them whose
// handles had ended, and the answer's word on all; an error if there is no answer.
func (b *batch) round(ctx context.Context, at []int) (sent int, stale []int, done bool, err error) {
	p := &part{batch: b, at: at}
	answer, err := b.client.send(ctx, p)
	if err != nil {
		return p.sent, nil, false, err
	}
	defer answer.free()
	if !answer.status.Done() {
		return p.sent, nil, false, failure(answer.status, answer.body)
	}
	w, err := wire.ParseBatchAnswer(answer.body)
	if err == nil && len(w.Items) != p.sent {
		err = wire.ErrMalformed
	}
	if err != nil {
		return p.sent, nil, false, &withCause{ErrProtocol, err}
	}
	for i := range w.Items {
		place := at[i]
		r, item := b.requests[place], &w.Items[i]
		if item.Status == wire.StatusStaleHandle && r.used != nil {
			b.client.bindings.drop(r.used)
			r.stale = true
			stale = append(stale, place)
			continue
		}
		b.results[place] = b.client.itemResult(r, item, answer)
		if item.Status.Done() && r.used == nil && !r.byFields {
			b.client.bindSoon(answer.conn, r)
		}
	}
	return p.sent, stale, w.Done, nil
}

func (c *Client) itemResult(r *request, item *wire.ItemAnswer, answer *reply) ItemResult {
	if !item.Status.Done() {
		if answer.resent && item.Status == wire.StatusReservationUnknown {
			return ItemResult{Receipt: Receipt{Repeated: true}}
		}
		return ItemResult{Err: failure(item.Status, item.Body)}
	}
	switch {
	case item.Op != r.op:
	case r.op == wire.OpReport || r.op == wire.OpCommit || r.op == wire.OpCancel:
		if w, err := wire.ParseReceipt(item.Body); err == nil {
			return ItemResult{Receipt: receiptOf(w)}
		}
	default:
		if w, err := wire.ParseDecision(item.Body); err == nil {
			return ItemResult{Decision: decisionOf(&w), Reservation: w.Reservation}
		}
	}
	return ItemResult{Err: ErrProtocol}
}

// each does the items at these places, each for itself. After a frame that failed it goes on if the next may do better.
func (b *batch) each(ctx context.Context, left []int) error {
	var failed error
	fail := func(at []int, err error) {
		if b.fail(ctx, at, err) && failed == nil {
			failed = err
		}
	}
	for len(left) > 0 {
		var again []int
		for len(left) > 0 {
			sent, stale, _, err := b.round(ctx, left)
			if err != nil {
				if sent == 0 { // it was about the first
					sent = 1
				}
				fail(left[:sent], err)
				if !ofTheItem(err) && !errors.Is(err, ErrLost) {
					fail(left[sent:], &withCause{ErrUnavailable, err})
					fail(again, &withCause{ErrUnavailable, err})
					return failed
				}
			}
			again = append(again, stale...)
			left = left[sent:]
		}
		left = again
	}
	return failed
}

// ofTheItem tells whether the first item of a frame is what could not be sent.
func ofTheItem(err error) bool {
	for _, it := range []error{ErrTooLarge, wire.ErrTextTooLong, wire.ErrIDTooLong, wire.ErrTooManyMetrics, wire.ErrTooManyItems} {
		if errors.Is(err, it) {
			return true
		}
	}
	return false
}

// fail gives items that got no answer the error, or what Config.Away makes of it; it tells whether any has the error.
func (b *batch) fail(ctx context.Context, at []int, err error) (any bool) {
	for _, i := range at {
		result := &b.results[i]
		switch b.requests[i].op {
		case wire.OpAuthorize, wire.OpAuthrep, wire.OpCheck, wire.OpReserve:
			result.Decision, result.Err = b.client.orPolicy(ctx, Decision{}, err)
		default:
			result.Err = err
		}
		any = any || result.Err != nil
	}
	return any
}

// all does all items or none.
func (b *batch) all(ctx context.Context, at []int) (done bool, err error) {
	for {
		var stale []int
		_, stale, done, err = b.round(ctx, at)
		if err != nil {
			break
		}
		if len(stale) == 0 {
			return done, nil
		}
		for _, r := range b.requests { // one at a time would tell of the next
			r.stale = true
		}
	}
	for i := range b.results {
		b.results[i].Err = err
	}
	return false, err
}

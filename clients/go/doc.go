// Package tollgate asks a Tollgate node whether an application may make a call, and counts it.
//
// A Client is made once per process with New, shared by all goroutines, and closed at the end. It keeps a few
// connections, over which the calls of all goroutines travel together: what several ask at the same time is written at
// once. Authrep decides and counts in one step, Authorize and Check only look, Report counts what already happened,
// Reserve holds an amount until its cost is known, Batch carries many calls in one frame, Query reads usage and limits.
//
//	client, err := tollgate.New(tollgate.Config{Address: "127.0.0.1:3001", Service: "3", Token: token})
//	...
//	decision, err := client.Authrep(ctx, tollgate.Call{
//		App:   tollgate.App{UserKey: key},
//		Usage: []tollgate.Usage{{Metric: "hits", Amount: 1}},
//	})
//	switch {
//	case err != nil: // refused (no such application, say), or no answer and Config.Away is Fail
//	case !decision.Allowed: // decision.Reason says why, decision.RetryAfter when to come again
//	}
//
// # Denials and errors
//
// A denial is no error: the Decision says no. An error is a *StatusError if the node refused the request, otherwise one
// of ErrUnavailable, ErrLost and ErrTimeout, the context's own, ErrClosed, or one about what was asked (ErrTooLarge).
// Errors are compared with errors.Is, to statuses too: errors.Is(err, tollgate.StatusUserKeyInvalid).
//
// # When the node is away
//
// Config.Away says what Authorize, Authrep, Check and Reserve answer then: an error (Fail), yes (Allow) or no (Deny).
// Decision.Policy tells such a decision from the node's. All else returns the error.
//
// # What is sent again
//
// What certainly did nothing (never written, refused as OVERLOADED, DRAINING or STALE_HANDLE), and what may safely be
// done twice (all that only reads, BIND, COMMIT, CANCEL, and calls with an ID, which the node counts once), is sent again
// within its time. Any other Authrep, Report, Reserve or Batch whose answer was lost with its connection may have been
// counted: it is not sent again, and ErrLost says so.
package tollgate

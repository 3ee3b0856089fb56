package tollgate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tollgate/wire"
)

var (
	// ErrUnavailable: there was no connection to the node. The request was not sent. Why the last attempt to connect
	// failed is wrapped beside it.
	ErrUnavailable = errors.New("tollgate: the node is not reachable")
	// ErrLost: the connection ended before the answer came. Whether the request was counted is not known.
	ErrLost = errors.New("tollgate: the connection ended before the answer")
	// ErrTimeout: no answer within Config.Timeout. Whether the request was counted is not known.
	// errors.Is(err, context.DeadlineExceeded) holds for it too.
	ErrTimeout = fmt.Errorf("tollgate: no answer in time: %w", context.DeadlineExceeded)
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("tollgate: the client is closed")
	// ErrTooLarge: the request does not fit a frame, or an all-or-nothing batch has too many items for one. It was not
	// sent.
	ErrTooLarge = errors.New("tollgate: the request does not fit a frame")
	// ErrNodeProof: what answered does not know the secret, so it is not the node. The connection was not used.
	ErrNodeProof = errors.New("tollgate: the node's proof is wrong")
	// ErrProtocol: the node sent what the protocol does not allow.
	ErrProtocol = errors.New("tollgate: the node broke the protocol")
	// ErrNotReserved: Commit or Cancel of a reservation that was denied.
	ErrNotReserved = errors.New("tollgate: nothing was reserved")

	// errDoneBefore: a COMMIT or CANCEL that was sent again found that it had been done.
	errDoneBefore = errors.New("tollgate: done before")
)

// StatusError is a request that the node refused or could not do.
type StatusError struct {
	Status Status
	// RetryAfter is the time after which the same request may be sent again; 0 if that says nothing.
	RetryAfter time.Duration
	// Message is a sentence for people; often empty.
	Message string
}

// Error returns the status's name and the node's message.
func (e *StatusError) Error() string {
	if e.Message == "" {
		return "tollgate: " + e.Status.String()
	}
	return "tollgate: " + e.Status.String() + ": " + e.Message
}

// Unwrap returns the status, for errors.Is.
func (e *StatusError) Unwrap() error { return e.Status }

// NotBoundError is a Bind of an application whose credentials are not good.
type NotBoundError struct{ Reason Reason }

// Error returns 3scale's code of the reason.
func (e *NotBoundError) Error() string { return "tollgate: not bound: " + e.Reason.String() }

// withCause is one of the errors above, with what led to it.
type withCause struct{ is, cause error }

func (e *withCause) Error() string {
	if e.cause == nil {
		return e.is.Error()
	}
	return e.is.Error() + ": " + e.cause.Error()
}

func (e *withCause) Is(target error) bool { return target == e.is }

func (e *withCause) Unwrap() error { return e.cause }

// nodeIsAway tells whether err is one that Config.Away stands in for: there was no answer, or none that decides.
func nodeIsAway(err error) bool {
	var status *StatusError
	if errors.As(err, &status) && !errors.Is(err, ErrUnavailable) {
		s := status.Status
		return s.Class() == wire.ClassNode && s != StatusNotDurable && s != StatusTooMuchFutureUsage
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLost) || errors.Is(err, context.DeadlineExceeded)
}

// failure turns an answer that is not of class 0 into an error.
func failure(status wire.Status, body []byte) error {
	f, err := wire.ParseFailure(body)
	if err != nil {
		return &withCause{ErrProtocol, err}
	}
	return &StatusError{status, time.Duration(f.RetryMs) * time.Millisecond, f.Message}
}

package tollgate

import "tollgate/wire"

// Status is the outcome of a request, as StatusError holds it; it is an error to compare with.
type Status = wire.Status

// The statuses that a program may want to tell apart; package wire has all.
const (
	StatusMalformed           = wire.StatusMalformed
	StatusTooLarge            = wire.StatusTooLarge
	StatusNotSupported        = wire.StatusNotSupported
	StatusOutOfPlace          = wire.StatusOutOfPlace
	StatusServiceIDMissing    = wire.StatusServiceIDMissing
	StatusServiceIDInvalid    = wire.StatusServiceIDInvalid
	StatusAuthenticationError = wire.StatusAuthenticationError
	StatusUserKeyInvalid      = wire.StatusUserKeyInvalid
	StatusApplicationNotFound = wire.StatusApplicationNotFound
	StatusMetricInvalid       = wire.StatusMetricInvalid
	StatusUsageValueInvalid   = wire.StatusUsageValueInvalid
	StatusTimestampTooOld     = wire.StatusTimestampTooOld
	StatusTimestampTooNew     = wire.StatusTimestampTooNew
	StatusNotValidData        = wire.StatusNotValidData
	StatusReservationUnknown  = wire.StatusReservationUnknown
	StatusTooManyReservations = wire.StatusTooManyReservations
	StatusTTLInvalid          = wire.StatusTTLInvalid
	StatusNotDone             = wire.StatusNotDone
	StatusIdempotencyConflict = wire.StatusIdempotencyConflict
	StatusSequenceTooOld      = wire.StatusSequenceTooOld
	StatusProofInvalid        = wire.StatusProofInvalid
	StatusMethodNotAllowed    = wire.StatusMethodNotAllowed
	StatusWait                = wire.StatusWait
	StatusOverloaded          = wire.StatusOverloaded
	StatusDraining            = wire.StatusDraining
	StatusStorageUnavailable  = wire.StatusStorageUnavailable
	StatusTooMuchFutureUsage  = wire.StatusTooMuchFutureUsage
	StatusInternal            = wire.StatusInternal
	StatusNotDurable          = wire.StatusNotDurable
	StatusIdempotencyFull     = wire.StatusIdempotencyFull
)

// Reason is why a decision is a no; its String is 3scale's code.
type Reason = wire.Reason

// The reasons of a no.
const (
	NoReason              = wire.NoReason
	LimitsExceeded        = wire.LimitsExceeded
	ApplicationKeyInvalid = wire.ApplicationKeyInvalid
	ReferrerNotAllowed    = wire.ReferrerNotAllowed
	ApplicationNotActive  = wire.ApplicationNotActive
	ServiceNotActive      = wire.ServiceNotActive
	OAuthNotEnabled       = wire.OAuthNotEnabled
	RedirectURIInvalid    = wire.RedirectURIInvalid
	RedirectURLInvalid    = wire.RedirectURLInvalid
)

// Period is the calendar period (UTC) of a limit or a count.
type Period = wire.Period

// The periods.
const (
	Eternity = wire.Eternity
	Year     = wire.Year
	Month    = wire.Month
	Week     = wire.Week
	Day      = wire.Day
	Hour     = wire.Hour
	Minute   = wire.Minute
)

// Outcome is what a Commit or Cancel found.
type Outcome = wire.Outcome

// The outcomes.
const (
	Done    = wire.Done
	Overrun = wire.Overrun
	Expired = wire.Expired
)

// Usage is an amount of one metric: its name (Metric), the Amount in its unit, and Set if that replaces the count
// instead of adding to it.
type Usage = wire.Usage

package wire

import "fmt"

// Status is the outcome of a request: OK, or why not. A denial is OK; the answer's body says yes or no.
//
// A Status is an error, so that errors.Is(err, wire.StatusStaleHandle) works on what package tollgate returns.
type Status uint16

// The statuses.
const (
	StatusOK        Status = 0x0000
	StatusDuplicate Status = 0x0001
	StatusChallenge Status = 0x0002

	// Class 1: the client's program is wrong.
	StatusMalformed        Status = 0x0101
	StatusUnknownOperation Status = 0x0102
	StatusTooLarge         Status = 0x0103
	StatusNotSupported     Status = 0x0104
	StatusOutOfPlace       Status = 0x0105

	// Class 2: the request is refused; nothing was counted.
	StatusStaleHandle         Status = 0x0201
	StatusServiceIDMissing    Status = 0x0202
	StatusServiceIDInvalid    Status = 0x0203
	StatusAuthenticationError Status = 0x0204
	StatusUserKeyInvalid      Status = 0x0205
	StatusApplicationNotFound Status = 0x0206
	StatusMetricInvalid       Status = 0x0207
	StatusUsageValueInvalid   Status = 0x0208
	StatusTimestampTooOld     Status = 0x0209
	StatusTimestampTooNew     Status = 0x020A
	StatusNotValidData        Status = 0x020B
	StatusReservationUnknown  Status = 0x020C
	StatusTooManyReservations Status = 0x020D
	StatusTTLInvalid          Status = 0x020E
	StatusNotDone             Status = 0x020F
	StatusIdempotencyConflict Status = 0x0210
	StatusSequenceTooOld      Status = 0x0211

	// Class 3: access.
	StatusProofInvalid     Status = 0x0301
	StatusMethodNotAllowed Status = 0x0302
	StatusWait             Status = 0x0303
	StatusTenantSuspended  Status = 0x0304

	// Class 4: the node; the same request may be sent again later. Nothing was counted but with two of them:
	// INTERNAL may have counted, NOT_DURABLE has.
	StatusOverloaded         Status = 0x0401
	StatusDraining           Status = 0x0402
	StatusStorageUnavailable Status = 0x0403
	StatusTooMuchFutureUsage Status = 0x0404
	StatusInternal           Status = 0x0405
	StatusNotDurable         Status = 0x0406
	StatusIdempotencyFull    Status = 0x0407
)

// Class is the high byte of a status. An unknown status counts as its class.
type Class uint8

// The classes of statuses.
const (
	ClassDone    Class = 0
	ClassProgram Class = 1
	ClassRefused Class = 2
	ClassAccess  Class = 3
	ClassNode    Class = 4
)

var statuses = map[Status]string{
	StatusOK:                  "OK",
	StatusDuplicate:           "DUPLICATE",
	StatusChallenge:           "CHALLENGE",
	StatusMalformed:           "MALFORMED",
	StatusUnknownOperation:    "UNKNOWN_OPERATION",
	StatusTooLarge:            "TOO_LARGE",
	StatusNotSupported:        "NOT_SUPPORTED",
	StatusOutOfPlace:          "OUT_OF_PLACE",
	StatusStaleHandle:         "STALE_HANDLE",
	StatusServiceIDMissing:    "SERVICE_ID_MISSING",
	StatusServiceIDInvalid:    "SERVICE_ID_INVALID",
	StatusAuthenticationError: "AUTHENTICATION_ERROR",
	StatusUserKeyInvalid:      "USER_KEY_INVALID",
	StatusApplicationNotFound: "APPLICATION_NOT_FOUND",
	StatusMetricInvalid:       "METRIC_INVALID",
	StatusUsageValueInvalid:   "USAGE_VALUE_INVALID",
	StatusTimestampTooOld:     "TIMESTAMP_TOO_OLD",
	StatusTimestampTooNew:     "TIMESTAMP_TOO_NEW",
	StatusNotValidData:        "NOT_VALID_DATA",
	StatusReservationUnknown:  "RESERVATION_UNKNOWN",
	StatusTooManyReservations: "TOO_MANY_RESERVATIONS",
	StatusTTLInvalid:          "TTL_INVALID",
	StatusNotDone:             "NOT_DONE",
	StatusIdempotencyConflict: "IDEMPOTENCY_CONFLICT",
	StatusSequenceTooOld:      "SEQUENCE_TOO_OLD",
	StatusProofInvalid:        "PROOF_INVALID",
	StatusMethodNotAllowed:    "METHOD_NOT_ALLOWED",
	StatusWait:                "WAIT",
	StatusTenantSuspended:     "TENANT_SUSPENDED",
	StatusOverloaded:          "OVERLOADED",
	StatusDraining:            "DRAINING",
	StatusStorageUnavailable:  "STORAGE_UNAVAILABLE",
	StatusTooMuchFutureUsage:  "TOO_MUCH_FUTURE_USAGE",
	StatusInternal:            "INTERNAL",
	StatusNotDurable:          "NOT_DURABLE",
	StatusIdempotencyFull:     "IDEMPOTENCY_FULL",
}

// Class returns the status's class.
func (s Status) Class() Class { return Class(s >> 8) }

// Done tells whether the request was carried out: its answer has the operation's body, not that of a failure.
func (s Status) Done() bool { return s.Class() == ClassDone }

// String returns the status's name, or its number if this package does not know it.
func (s Status) String() string {
	if name, ok := statuses[s]; ok {
		return name
	}
	return fmt.Sprintf("status 0x%04X", uint16(s))
}

// Error is String, which makes a Status an error that others can be compared to.
func (s Status) Error() string { return s.String() }

package tollgate

import (
	"math"
	"time"

	"tollgate/wire"
)

// Never is a duration that stands for "never" or "waiting does not help".
const Never time.Duration = math.MaxInt64

// Unbounded is what Decision.Remaining is if no limit concerns the call.
const Unbounded uint64 = wire.Never

// App names an application by its credentials: UserKey for services of backend version 1, otherwise AppID, with AppKey
// where the application has keys.
type App struct {
	Service string // id of the service; Config.Service if empty
	UserKey string
	AppID   string
	AppKey  string
}

// Durability says when a call that counts is answered.
type Durability uint8

const (
	// Usual is as service and node are set; if they are not: Report, Commit, and a Batch with one of them, as with Durable; all else as with Interval.
	Usual Durability = iota
	// Durable answers when what was counted is on disk: a few milliseconds.
	Durable
	// Interval answers at once; it is on disk a moment (50 ms) later.
	Interval
)

// Call is what is asked, or reported, for an application.
type Call struct {
	App   App
	Usage []Usage // at most 255

	// Flat counts usage for the metrics named, not for their ancestors.
	Flat bool
	// Referrer is checked where the service filters referrers.
	Referrer string

	// AllLimits asks for all limits of the plan in Decision.Limits. Not in a Batch.
	AllLimits bool
	// Durability of what is counted; not looked at where nothing is, nor in items of a Batch, which has its own.
	Durability Durability

	// Time dates usage that is reported: at most a day ago and an hour ahead. Zero means now. Report only.
	Time time.Time
	// LogCode is a response code to count, three digits. Authrep and Report only.
	LogCode string

	// ID is what the call is known by for a day: 1 to 64 bytes, which need not be text. With one it is counted once however
	// often it is sent, so it is sent again if its answer is lost. Authrep, Reserve and Report.
	ID string

	// Producer and Sequence do the same as ID for who numbers its calls, from 1: the producer's name has 1 to 64 bytes. The node
	// remembers the 64 numbers up to the highest that it counted, so at most 64 calls of a producer may be under way at
	// once; one below is refused with StatusSequenceTooOld. Who does not keep the last number takes a new name at each start.
	Producer string
	Sequence uint64

	// OAuth says that the call is one of an OAuth client, whose redirection may be given. Authorize and Authrep only.
	OAuth       bool
	RedirectURI string
	RedirectURL string
}

// Decision is a yes or a no.
type Decision struct {
	// Allowed: the call may be made.
	Allowed bool
	// Reason of a no.
	Reason Reason
	// Counted: the usage was counted, or is held.
	Counted bool
	// Policy: Config.Away decided, as the node did not. All else but Allowed is zero.
	Policy bool
	// ShadowReason is why something in shadow would have said no; NoReason if nothing would.
	ShadowReason Reason
	// Behind: the node is behind in writing to disk.
	Behind bool

	// Limited: a limit concerns the call, the fields up to Reset are about it. Of a yes it is the limit by which the
	// fewest such calls are left, of a no the one that denies until last.
	Limited bool
	// LimitID is the limit's id.
	LimitID uint64
	// Max is the limit's maximum, in the metric's unit; 0 means that the metric is disabled.
	Max uint64
	// Count is what is counted in its window, this call included if it was counted.
	Count uint64
	// Reset is the time until its window ends; Never for eternity.
	Reset time.Duration

	// Remaining is how often the same call could still be made; Unbounded if no limit concerns it.
	Remaining uint64
	// RetryAfter is, after a no because of limits, the time until the same call may be made, Never if waiting does not
	// help; else 0.
	RetryAfter time.Duration
	// CatalogVersion is the version of the node's catalog that this was decided under.
	CatalogVersion uint64
	// Limits are all limits of the plan, if Call.AllLimits asked for them, with counts as they are after the call.
	Limits []PlanLimit
}

// PlanLimit is a limit of a plan and how far it is used.
type PlanLimit struct {
	ID           uint64
	MetricNumber uint32
	// Metric is the metric's name, if the answer told it (that to Query does) or the client knows it from a binding.
	Metric string
	Period Period
	// Shadow: it denies nothing.
	Shadow bool
	// Max, Count and Held (by reservations) are in the metric's unit.
	Max   uint64
	Count uint64
	Held  uint64
	// Reset is the time until the window ends; Never for eternity.
	Reset time.Duration
}

// Receipt is the answer to Report, Commit and Cancel.
type Receipt struct {
	// Outcome of a Commit or Cancel.
	Outcome Outcome
	// OnDisk: what was counted survives a crash.
	OnDisk bool
	// Behind: the node is behind in writing to disk.
	Behind bool
	// CatalogVersion is the version of the node's catalog.
	CatalogVersion uint64
	// Repeated: an answer to the same Commit or Cancel was lost before, and the node does not know the reservation any
	// more: it was done then, with an outcome that is not known.
	Repeated bool
}

func milliseconds(n uint64) time.Duration { return times(n, time.Millisecond) }

// times is n units; Never if that is more than a Duration can be.
func times(n uint64, unit time.Duration) time.Duration {
	if n > uint64(Never/unit) {
		return Never
	}
	return time.Duration(n) * unit
}

func decisionOf(w *wire.Decision) Decision {
	d := Decision{
		Allowed:        w.Yes,
		Reason:         w.Reason,
		Counted:        w.Marks&wire.MarkCounted != 0,
		Behind:         w.Marks&wire.MarkBehind != 0,
		Limited:        w.Marks&wire.MarkLimit != 0,
		Remaining:      w.Remaining,
		RetryAfter:     milliseconds(w.RetryAfterMs),
		CatalogVersion: w.Catalog,
	}
	if w.Marks&wire.MarkShadow != 0 {
		d.ShadowReason = w.Shadow
	}
	if d.Limited {
		d.LimitID, d.Max, d.Count, d.Reset = w.LimitID, w.Max, w.Count, milliseconds(w.ResetMs)
	}
	return d
}

func limitsOf(rows []wire.LimitRow, name func(number uint32) string) []PlanLimit {
	if len(rows) == 0 {
		return nil
	}
	limits := make([]PlanLimit, len(rows))
	for i, row := range rows {
		limits[i] = PlanLimit{
			ID: row.ID, MetricNumber: row.Metric, Metric: name(row.Metric), Period: row.Period, Shadow: row.Shadow,
			Max: row.Max, Count: row.Count, Held: row.Held, Reset: milliseconds(row.ResetMs),
		}
	}
	return limits
}

func receiptOf(w wire.Receipt) Receipt {
	return Receipt{
		Outcome:        w.Outcome,
		OnDisk:         w.Marks&wire.MarkOnDisk != 0,
		Behind:         w.Marks&wire.MarkBehind != 0,
		CatalogVersion: w.Catalog,
	}
}

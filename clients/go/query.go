package tollgate

import (
	"context"
	"time"

	"tollgate/wire"
)

// Standing is what Query returns: how an application stands.
type Standing struct {
	// Active: the application's state is active.
	Active bool
	// Reservations that are open.
	Reservations int
	// Limits of its plan, with their counts.
	Limits []PlanLimit
	// Usage of its metrics.
	Usage []MetricUsage
	// CatalogVersion is the version of the node's catalog.
	CatalogVersion uint64
	// Time is the node's, to the microsecond.
	Time time.Time
}

// MetricUsage is what was counted of a metric in the current window of each period.
type MetricUsage struct {
	Metric string
	Number uint32
	counts [wire.Periods]uint64
}

// Count is the count of the current window of a period, in the metric's unit; 0 for a period that there is not.
func (m *MetricUsage) Count(period Period) uint64 {
	if int(period) >= len(m.counts) {
		return 0
	}
	return m.counts[period]
}

// Of returns the usage of a metric by its name; false if the answer had none.
func (s *Standing) Of(metric string) (MetricUsage, bool) {
	for _, it := range s.Usage {
		if it.Metric == metric {
			return it, true
		}
	}
	return MetricUsage{}, false
}

// Query reads usage and limits of an application: of all metrics, or of those named. Keys, referrer and states are not
// looked at.
func (c *Client) Query(ctx context.Context, app App, metrics ...string) (*Standing, error) {
	r := c.request(wire.OpQuery, &Call{App: app})
	r.call.Metrics = metrics
	answer, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer answer.free()
	w, err := wire.ParseQuery(answer.body)
	if err != nil {
		return nil, &withCause{ErrProtocol, err}
	}
	names := make(map[uint32]string, len(w.Metrics))
	for _, metric := range w.Metrics {
		names[metric.Metric] = metric.Name
	}
	c.bindings.learn(boundAt{answer.conn.welcome.Node, r.app}, w.Metrics)
	s := &Standing{
		Active: w.Active, Reservations: int(w.Reservations), CatalogVersion: w.Catalog, Time: timeUs(w.TimeUs),
		Limits: limitsOf(w.Limits, func(number uint32) string { return names[number] }),
	}
	for _, row := range w.Usage {
		s.Usage = append(s.Usage, MetricUsage{names[row.Metric], row.Metric, row.Counts})
	}
	return s, nil
}

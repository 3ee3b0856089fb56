package tollgate

import (
	"sync"

	"tollgate/wire"
)

// binding is what BIND answered for an application; it does not change.
type binding struct {
	at      boundAt
	handle  uint64 // 0: the application cannot be bound
	metrics []boundMetric
}

type boundMetric struct {
	name   string
	number uint32
}

// boundAt is where a binding holds: handles are of one start of one node.
type boundAt struct {
	node uint64
	app  App
}

// bindings are the handles that a client knows.
type bindings struct {
	max int // negative: none

	mu      sync.RWMutex
	known   map[boundAt]*binding
	binding map[boundAt]bool // being bound
	names   map[numbered]string
}

// numbered is where a metric's number holds: it is the service's, and known from one start of one node.
type numbered struct {
	node    uint64
	service string
	number  uint32
}

// bindingAtATime is how many BINDs a client has under way of its own accord.
const bindingAtATime = 64

// namesMax bounds the names of metrics that are remembered for answers.
const namesMax = 65536

func newBindings(max int) *bindings {
	return &bindings{
		max: max, known: make(map[boundAt]*binding), binding: make(map[boundAt]bool), names: make(map[numbered]string),
	}
}

// find returns the binding of an application, nil if there is none.
func (b *bindings) find(at boundAt) *binding {
	if b.max < 0 {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.known[at]
}

// begin tells whether the application should be bound now, by the caller, who calls put or fail afterwards.
func (b *bindings) begin(at boundAt) bool {
	if b.max < 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.binding[at] || len(b.binding) >= bindingAtATime {
		return false
	}
	b.binding[at] = true
	return true
}

// put remembers a binding; another goes if there are too many.
func (b *bindings) put(bound *binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.binding, bound.at)
	if b.max < 0 {
		return
	}
	if _, again := b.known[bound.at]; !again && len(b.known) >= b.max {
		for at := range b.known { // which one comes first is random
			delete(b.known, at)
			break
		}
	}
	b.known[bound.at] = bound
	for _, metric := range bound.metrics {
		b.name(numbered{bound.at.node, bound.at.app.Service, metric.number}, metric.name)
	}
}

func (b *bindings) fail(at boundAt) {
	b.mu.Lock()
	delete(b.binding, at)
	b.mu.Unlock()
}

// drop forgets a binding that has ended, unless there is a newer one.
func (b *bindings) drop(old *binding) {
	b.mu.Lock()
	if b.known[old.at] == old {
		delete(b.known, old.at)
	}
	b.mu.Unlock()
}

// keep forgets what was bound to other nodes than these.
func (b *bindings) keep(nodes map[uint64]bool) {
	b.mu.Lock()
	for at := range b.known {
		if !nodes[at.node] {
			delete(b.known, at)
		}
	}
	for at := range b.names {
		if !nodes[at.node] {
			delete(b.names, at)
		}
	}
	b.mu.Unlock()
}

// learn remembers names of a service's metrics.
func (b *bindings) learn(at boundAt, metrics []wire.MetricName) {
	b.mu.Lock()
	for _, metric := range metrics {
		b.name(numbered{at.node, at.app.Service, metric.Metric}, metric.Name)
	}
	b.mu.Unlock()
}

func (b *bindings) name(at numbered, name string) {
	if len(b.names) >= namesMax {
		b.names = make(map[numbered]string)
	}
	b.names[at] = name
}

// namesAt tells the names of a service's metrics that the client has heard.
func (b *bindings) namesAt(at boundAt) func(number uint32) string {
	return func(number uint32) string {
		b.mu.RLock()
		defer b.mu.RUnlock()
		return b.names[numbered{at.node, at.app.Service, number}]
	}
}

// rows is usage by the numbers of a binding; false if it has not all of them.
func (b *binding) rows(into []wire.Row, usage []Usage) ([]wire.Row, bool) {
next:
	for i := range usage {
		for j := range b.metrics {
			if b.metrics[j].name == usage[i].Metric {
				into = append(into, wire.Row{
					Metric: b.metrics[j].number, Amount: usage[i].Amount, Set: usage[i].Set,
				})
				continue next
			}
		}
		return into, false
	}
	return into, true
}

// namesFor are the metrics to bind: those of the usage and, up to all that a call may have, those bound before.
func namesFor(usage []Usage, before *binding) []string {
	var names []string
	add := func(name string) {
		for _, it := range names {
			if it == name {
				return
			}
		}
		names = append(names, name)
	}
	for i := range usage {
		add(usage[i].Metric)
	}
	if before != nil {
		for _, metric := range before.metrics {
			if len(names) < wire.MetricsMax {
				add(metric.name)
			}
		}
	}
	return names
}

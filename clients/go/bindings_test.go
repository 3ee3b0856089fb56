package tollgate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"tollgate/wire"
)

// shop is a fake node with applications, metrics and handles.
type shop struct {
	mu      sync.Mutex
	handles map[uint64]string // user keys
	next    uint64
	metrics map[string]uint32
	unbound map[string]bool // user keys that cannot be bound
	asked   []string        // what was asked, in order
	binds   int
}

func newShop(f *fakeNode, metrics ...string) *shop {
	s := &shop{handles: map[uint64]string{}, next: 100, metrics: map[string]uint32{}, unbound: map[string]bool{}}
	for i, name := range metrics {
		s.metrics[name] = uint32(i + 1)
	}
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.answer(h, body)
	}
	return s
}

func (s *shop) answer(h wire.Header, body []byte) []byte {
	if h.Op == wire.OpBatch {
		return s.batch(h, body)
	}
	call, err := wire.ParseCall(h.Op, body)
	if err != nil {
		return refusal(h, wire.StatusMalformed, 0)
	}
	if h.Op == wire.OpBind {
		return s.bind(h, &call)
	}
	if call.Handle != 0 {
		key, ok := s.handles[call.Handle]
		if !ok {
			s.asked = append(s.asked, "stale")
			return refusal(h, wire.StatusStaleHandle, 0)
		}
		s.asked = append(s.asked, fmt.Sprintf("%s by handle, %v", key, call.Rows))
		return yes(h, body)
	}
	for _, usage := range call.Usage {
		if s.metrics[usage.Metric] == 0 {
			return refusal(h, wire.StatusMetricInvalid, 0)
		}
	}
	s.asked = append(s.asked, call.UserKey+" by key")
	return yes(h, body)
}

func (s *shop) batch(h wire.Header, body []byte) []byte {
	items, err := wire.ParseBatch(body)
	if err != nil {
		return refusal(h, wire.StatusMalformed, 0)
	}
	a := wire.BatchAnswer{Done: true}
	for _, item := range items {
		whole := s.answer(wire.Header{Op: item.Op}, item.Body)
		head, answer, _ := splitFrame(whole)
		a.Items = append(a.Items, wire.ItemAnswer{Op: item.Op, Status: head.Status, Body: answer})
		a.Done = a.Done && head.Status.Done()
	}
	if h.Flags&wire.FlagAll != 0 && !a.Done {
		for i := range a.Items {
			if a.Items[i].Status.Done() {
				whole := refusal(wire.Header{Op: a.Items[i].Op}, wire.StatusNotDone, 0)
				a.Items[i].Status, a.Items[i].Body = wire.StatusNotDone, whole[wire.HeaderLen:]
			}
		}
	}
	a.Done = a.Done || h.Flags&wire.FlagAll == 0
	out, _ := wire.AppendBatchAnswer(nil, h.ID, &a)
	return out
}

func splitFrame(b []byte) (wire.Header, []byte, error) {
	h, err := wire.ParseHeader(b, wire.FrameMaxHighest)
	return h, b[wire.HeaderLen:], err
}

func (s *shop) bind(h wire.Header, call *wire.Call) []byte {
	s.binds++
	bound := wire.Bound{Yes: true, Handle: s.next}
	for _, name := range call.Metrics {
		if s.metrics[name] == 0 {
			return refusal(h, wire.StatusMetricInvalid, 0)
		}
		bound.Metrics = append(bound.Metrics, s.metrics[name])
	}
	if s.unbound[call.UserKey] {
		bound = wire.Bound{Reason: wire.ApplicationKeyInvalid}
	} else {
		s.handles[s.next] = call.UserKey
		s.next++
	}
	out, _ := wire.AppendBound(nil, h.ID, &bound)
	return out
}

// took returns what was asked since the last time.
func (s *shop) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// endHandles makes all handles stale.
func (s *shop) endHandles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles = map[uint64]string{}
}

func (s *shop) bound() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.binds
}

// settled waits until no BIND is under way.
func settled(t *testing.T, c *Client) {
	t.Helper()
	eventually(t, "bindings", func() bool {
		c.bindings.mu.RLock()
		defer c.bindings.mu.RUnlock()
		return len(c.bindings.binding) == 0
	})
}

func TestTheSecondCallGoesByHandle(t *testing.T) {
	f := newFake(t)
	s := newShop(f, "hits", "bytes")
	client := connect(t, f.serve(), Config{})
	ctx := context.Background()
	ask := func(call Call) {
		t.Helper()
		if _, err := client.Authrep(ctx, call); err != nil {
			t.Fatal(err)
		}
		settled(t, client)
	}
	expect := func(asked ...string) {
		t.Helper()
		if got := s.took(); fmt.Sprint(got) != fmt.Sprint(asked) {
			t.Errorf("asked %q, not %q", got, asked)
		}
	}
	ask(oneHit("k"))
	expect("k by key")
	ask(oneHit("k"))
	expect("k by handle, [{1 1 false}]")

	more := oneHit("k")
	more.Usage = append(more.Usage, Usage{Metric: "bytes", Amount: 5, Set: true})
	ask(more) // a metric that was not bound
	expect("k by key")
	ask(more)
	expect("k by handle, [{1 1 false} {2 5 true}]")

	s.endHandles()
	ask(oneHit("k")) // nothing was counted for the handle that has ended
	expect("stale", "k by key")
	ask(more)
	expect("k by key")
	ask(more)
	expect("k by handle, [{1 1 false} {2 5 true}]")

	redirected := oneHit("k")
	redirected.OAuth = true
	ask(redirected)
	expect("k by key")
	if s.bound() != 4 {
		t.Errorf("%d BINDs", s.bound())
	}
}

func TestBindAhead(t *testing.T) {
	f := newFake(t)
	s := newShop(f, "hits")
	client := connect(t, f.serve(), Config{})
	ctx := context.Background()
	if err := client.Bind(ctx, App{UserKey: "k"}, "hits"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Authrep(ctx, oneHit("k")); err != nil {
		t.Fatal(err)
	}
	if asked := s.took(); len(asked) != 1 || asked[0] != "k by handle, [{1 1 false}]" {
		t.Errorf("asked %q", asked)
	}
	if err := client.Bind(ctx, App{UserKey: "k"}, "none"); !errors.Is(err, StatusMetricInvalid) {
		t.Errorf("a metric that there is not: %v", err)
	}
	s.unbound["bad"] = true
	var not *NotBoundError
	if err := client.Bind(ctx, App{UserKey: "bad"}); !errors.As(err, &not) || not.Reason != ApplicationKeyInvalid {
		t.Errorf("a wrong key: %v", err)
	}
}

func TestWhatCannotBeBoundIsNotTriedEachTime(t *testing.T) {
	f := newFake(t)
	s := newShop(f, "hits")
	s.unbound["k"] = true
	client := connect(t, f.serve(), Config{})
	for i := 0; i < 5; i++ {
		if _, err := client.Authrep(context.Background(), oneHit("k")); err != nil {
			t.Fatal(err)
		}
		settled(t, client)
	}
	if s.bound() != 1 {
		t.Errorf("%d BINDs", s.bound())
	}
}

func TestAMetricThatIsGoneDoesNotKeepOthersFromBeingBound(t *testing.T) {
	f := newFake(t)
	s := newShop(f, "hits", "old")
	client := connect(t, f.serve(), Config{})
	if err := client.Bind(context.Background(), App{UserKey: "k"}, "old"); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	delete(s.metrics, "old")
	s.mu.Unlock()
	for i := 0; i < 2; i++ {
		if _, err := client.Authrep(context.Background(), oneHit("k")); err != nil {
			t.Fatal(err)
		}
		settled(t, client)
	}
	if asked := s.took(); fmt.Sprint(asked) != "[k by key k by handle, [{1 1 false}]]" {
		t.Errorf("asked %q", asked)
	}
}

func TestHandlesOfAnotherStartAreNotUsed(t *testing.T) {
	f := newFake(t)
	s := newShop(f, "hits")
	client := connect(t, f.serve(), Config{})
	if err := client.Bind(context.Background(), App{UserKey: "k"}, "hits"); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.welcome.Node++ // the handle now means something else, if it means anything
	f.mu.Unlock()
	f.dropAll()
	eventually(t, "another connection", func() bool {
		w, ok := client.Node()
		return ok && w.Node == 8
	})
	if _, err := client.Authrep(context.Background(), oneHit("k")); err != nil {
		t.Fatal(err)
	}
	if asked := s.took(); len(asked) != 1 || asked[0] != "k by key" {
		t.Errorf("asked %q", asked)
	}
	settled(t, client)
	client.bindings.mu.RLock()
	defer client.bindings.mu.RUnlock()
	for at := range client.bindings.known {
		if at.node != 8 {
			t.Errorf("%+v is remembered", at)
		}
	}
}

func TestOnlySoManyBindingsAreRemembered(t *testing.T) {
	f := newFake(t)
	newShop(f, "hits")
	client := connect(t, f.serve(), Config{Bindings: 10})
	for i := 0; i < 50; i++ {
		if err := client.Bind(context.Background(), App{UserKey: fmt.Sprint(i)}, "hits"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(client.bindings.known); n != 10 {
		t.Errorf("%d remembered", n)
	}
	none := connect(t, f, Config{Bindings: -1})
	if err := none.Bind(context.Background(), App{UserKey: "k"}, "hits"); err != nil {
		t.Fatal(err)
	}
	if n := len(none.bindings.known); n != 0 {
		t.Errorf("%d remembered without bindings", n)
	}
}

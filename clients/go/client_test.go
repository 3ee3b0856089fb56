package tollgate

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/wire"
)

// heldConn lets each Write wait until it is let go, and counts them.
type heldConn struct {
	net.Conn
	writes atomic.Int64
	letGo  chan struct{}
}

func (c *heldConn) Write(b []byte) (int, error) {
	if c.letGo != nil {
		c.writes.Add(1)
		<-c.letGo
	}
	return c.Conn.Write(b)
}

func TestWhatIsAskedWhileAWriteIsUnderWayGoesInOne(t *testing.T) {
	f := newFake(t).serve()
	config, err := Config{Address: f.address(), Secret: secret}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Dial("tcp", f.address())
	if err != nil {
		t.Fatal(err)
	}
	nc := &heldConn{Conn: plain}
	cn, err := open(context.Background(), nc, &config)
	if err != nil {
		t.Fatal(err)
	}
	nc.letGo = make(chan struct{})
	go cn.read()
	go cn.write(time.Second)
	defer cn.close(ErrClosed)

	var asking sync.WaitGroup
	ask := func() {
		asking.Add(1)
		go func() {
			defer asking.Done()
			cn.slots <- struct{}{}
			r, err := cn.exchange(context.Background(), wire.OpPing, wire.AppendEmpty(nil, wire.OpPing, 0))
			if err != nil {
				t.Error(err)
				return
			}
			r.free()
		}()
	}
	ask()
	eventually(t, "the first is being written", func() bool { return nc.writes.Load() == 1 })
	for i := 0; i < 63; i++ {
		ask()
	}
	eventually(t, "63 wait to be written", func() bool {
		cn.mu.Lock()
		defer cn.mu.Unlock()
		return len(cn.out) == 63*wire.HeaderLen
	})
	close(nc.letGo)
	asking.Wait()
	if n := nc.writes.Load(); n != 2 {
		t.Errorf("%d writes for 64 requests", n)
	}
}

func TestTheWindowIsKept(t *testing.T) {
	f := newFake(t)
	f.welcome.Window = 8
	var mu sync.Mutex
	var unanswered, most int
	f.answer = func(c *fakeConn, h wire.Header, body []byte) []byte {
		mu.Lock()
		unanswered++
		if unanswered > most {
			most = unanswered
		}
		mu.Unlock()
		go func() {
			time.Sleep(time.Millisecond)
			mu.Lock()
			unanswered--
			mu.Unlock()
			_, _ = c.Write(yes(h, body))
		}()
		return []byte{}
	}
	client := connect(t, f.serve(), Config{Timeout: 30 * time.Second, Bindings: -1})
	all(t, 64, func() error {
		for i := 0; i < 10; i++ {
			if _, err := client.Authrep(context.Background(), oneHit("k")); err != nil {
				return err
			}
		}
		return nil
	})
	if most > 8 || most < 4 {
		t.Errorf("up to %d unanswered with a window of 8", most)
	}
}

// all runs goroutines and reports their errors.
func all(t *testing.T, n int, do func() error) {
	t.Helper()
	errs := make(chan error, n)
	for i := 0; i < n; i++ {
		go func() { errs <- do() }()
	}
	for i := 0; i < n; i++ {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestAnswersComeInAnyOrder(t *testing.T) {
	f := newFake(t)
	var mu sync.Mutex
	held := map[uint64][]byte{}
	f.answer = func(c *fakeConn, h wire.Header, body []byte) []byte {
		call, _ := wire.ParseCall(h.Op, body)
		d := wire.Decision{Yes: true, Count: call.Usage[0].Amount, Marks: wire.MarkLimit}
		mu.Lock()
		defer mu.Unlock()
		held[h.ID] = wire.AppendDecision(nil, h.Op, h.ID, &d)
		if len(held) < 32 {
			return []byte{}
		}
		var out []byte
		for _, frame := range held { // in an order that is random
			out = append(out, frame...)
		}
		held = map[uint64][]byte{}
		return out
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	var next atomic.Uint64
	all(t, 32, func() error {
		n := next.Add(1)
		call := Call{App: App{UserKey: "k"}, Usage: []Usage{{Metric: "hits", Amount: n}}}
		d, err := client.Authrep(context.Background(), call)
		if err == nil && d.Count != n {
			t.Errorf("asked with %d, got the answer to %d", n, d.Count)
		}
		return err
	})
}

func TestTimeoutsAndCancelledContexts(t *testing.T) {
	f := newFake(t)
	var hold atomic.Bool
	hold.Store(true)
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		if hold.Load() {
			return []byte{}
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Timeout: 200 * time.Millisecond, Bindings: -1})
	_, err := client.Authrep(context.Background(), oneHit("k"))
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the client's time: %v", err)
	}
	_, err = client.Authrep(within(t, 100*time.Millisecond), oneHit("k"))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTimeout) {
		t.Errorf("the context's time: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err = client.Authrep(ctx, oneHit("k")); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
	hold.Store(false)
	if _, err = client.Authrep(context.Background(), oneHit("k")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if len(client.links[0].open.Load().slots) != 3 {
		t.Error("requests without an answer still count for the window")
	}
}

func TestALateAnswerGivesItsPlaceInTheWindowBack(t *testing.T) {
	f := newFake(t)
	f.welcome.Window = 3
	f.answer = func(c *fakeConn, h wire.Header, body []byte) []byte {
		time.Sleep(20 * time.Millisecond)
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	for i := 0; i < 2; i++ {
		if _, err := client.Authrep(within(t, time.Millisecond), oneHit("k")); err == nil {
			t.Fatal("answered too early")
		}
	}
	eventually(t, "late answers", func() bool { return len(client.links[0].open.Load().slots) == 0 })
}

func TestALostAnswer(t *testing.T) {
	f := newFake(t)
	var asked [256]atomic.Int64
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		if asked[h.Op].Add(1) == 1 {
			return nil
		}
		if h.Op == wire.OpCommit {
			return refusal(h, wire.StatusReservationUnknown, 0)
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	ctx := within(t, 10*time.Second)
	call := oneHit("k")

	for name, do := range map[string]func() error{
		"authrep": func() error { _, err := client.Authrep(ctx, call); return err },
		"report":  func() error { _, err := client.Report(ctx, call); return err },
		"reserve": func() error { _, err := client.Reserve(ctx, call, time.Second); return err },
		"batch": func() error {
			_, err := client.Batch(ctx, []Item{{Do: OpAuthrep, Call: call}}, BatchOptions{})
			return err
		},
	} {
		if err := do(); !errors.Is(err, ErrLost) {
			t.Errorf("%s may have been counted, and says %v", name, err)
		}
	}
	for name, do := range map[string]func() error{
		"authorize": func() error { _, err := client.Authorize(ctx, call); return err },
		"check":     func() error { _, err := client.Check(ctx, call); return err },
		"query":     func() error { _, err := client.Query(ctx, call.App); return err },
		"bind":      func() error { return client.Bind(ctx, call.App) },
		"ping":      func() error { _, err := client.Ping(ctx); return err },
		"stats":     func() error { _, err := client.Stats(ctx); return err },
		"cancel":    func() error { _, err := client.Cancel(ctx, call, 5); return err },
	} {
		if err := do(); err != nil {
			t.Errorf("%s may be repeated, and says %v", name, err)
		}
	}
	receipt, err := client.Commit(ctx, call, 5)
	if err != nil || !receipt.Repeated {
		t.Errorf("a commit that was done: %+v, %v", receipt, err)
	}
	if _, err = client.Commit(ctx, call, 5); !errors.Is(err, StatusReservationUnknown) {
		t.Errorf("a commit of nothing: %v", err)
	}
	for _, op := range []wire.Op{wire.OpAuthrep, wire.OpReport, wire.OpReserve, wire.OpBatch} {
		if n := asked[op].Load(); n != 1 {
			t.Errorf("operation 0x%X was sent %d times", uint8(op), n)
		}
	}
}

func TestALostAnswerToACallWithAnIDIsAskedFor(t *testing.T) {
	withID, numbered := oneHit("k"), oneHit("k")
	withID.ID = "an id"
	numbered.Producer, numbered.Sequence = "a worker", 7
	lostAnswerIsAskedFor(t, withID)
	lostAnswerIsAskedFor(t, numbered)
}

func lostAnswerIsAskedFor(t *testing.T, call Call) {
	t.Helper()
	f := newFake(t)
	var asked [256]atomic.Int64
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		sent, err := wire.ParseCall(h.Op, body)
		if h.Op != wire.OpBatch && (err != nil || sent.Idempotency != call.ID || sent.Producer != call.Producer ||
			sent.Sequence != call.Sequence) {
			t.Errorf("sent without what it is known by: %+v, %v", sent, err)
		}
		if asked[h.Op].Add(1) == 1 {
			return nil
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	ctx := within(t, 10*time.Second)
	for op, do := range map[wire.Op]func() error{
		wire.OpAuthrep: func() error { _, err := client.Authrep(ctx, call); return err },
		wire.OpReport:  func() error { _, err := client.Report(ctx, call); return err },
		wire.OpReserve: func() error { _, err := client.Reserve(ctx, call, time.Second); return err },
		wire.OpBatch: func() error {
			_, err := client.Batch(ctx, []Item{{Do: OpAuthrep, Call: call}}, BatchOptions{})
			return err
		},
	} {
		if err := do(); err != nil {
			t.Errorf("operation 0x%X says %v", uint8(op), err)
		}
		if n := asked[op].Load(); n != 2 {
			t.Errorf("operation 0x%X was sent %d times", uint8(op), n)
		}
	}
}

func TestAnOverloadedNodeIsAskedAgain(t *testing.T) {
	f := newFake(t)
	var refuse atomic.Int64
	var pauseMs atomic.Uint32
	pauseMs.Store(5)
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		if refuse.Add(-1) >= 0 {
			return refusal(h, wire.StatusOverloaded, pauseMs.Load())
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	refuse.Store(attempts - 1)
	start := time.Now()
	if _, err := client.Authrep(context.Background(), oneHit("k")); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < 15*time.Millisecond {
		t.Errorf("three pauses of 5 ms took %v", took)
	}
	refuse.Store(attempts)
	_, err := client.Authrep(context.Background(), oneHit("k"))
	var status *StatusError
	if !errors.As(err, &status) || status.Status != StatusOverloaded || status.RetryAfter != 5*time.Millisecond {
		t.Errorf("refused %d times: %v", attempts, err)
	}
	refuse.Store(attempts)
	pauseMs.Store(60000)
	start = time.Now()
	_, err = client.Authrep(context.Background(), oneHit("k"))
	if !errors.Is(err, StatusOverloaded) || time.Since(start) > time.Second {
		t.Errorf("without time for a pause: %v after %v", err, time.Since(start))
	}
}

func TestAFrameThatDoesNotFitIsNotSent(t *testing.T) {
	f := newFake(t)
	f.welcome.FrameMax = 4096
	client := connect(t, f.serve(), Config{Bindings: -1})
	call := oneHit(strings.Repeat("k", 4096-16-16-4-4-9-4))
	if _, err := client.Authrep(context.Background(), call); err != nil {
		t.Errorf("4,096 bytes: %v", err)
	}
	call.App.UserKey += "k"
	if _, err := client.Authrep(context.Background(), call); !errors.Is(err, ErrTooLarge) {
		t.Errorf("4,097 bytes: %v", err)
	}
	call.App.UserKey = strings.Repeat("k", 65536)
	if _, err := client.Authrep(context.Background(), call); !errors.Is(err, wire.ErrTextTooLong) {
		t.Errorf("a key of 65,536 bytes: %v", err)
	}
	call.App.UserKey = "k"
	for _, long := range []Call{{ID: strings.Repeat("i", 65)}, {Producer: strings.Repeat("p", 65), Sequence: 1}} {
		long.App, long.Usage = call.App, call.Usage
		if _, err := client.Authrep(context.Background(), long); !errors.Is(err, wire.ErrIDTooLong) {
			t.Errorf("an id or name of 65 bytes: %v", err)
		}
	}
	call.ID = strings.Repeat("i", 64)
	if _, err := client.Authrep(context.Background(), call); err != nil {
		t.Errorf("an id of 64 bytes: %v", err)
	}
	if n := len(client.links[0].open.Load().slots); n != 0 {
		t.Errorf("%d requests under way", n)
	}
}

func TestANodeThatReadsNothingCostsLittle(t *testing.T) {
	f := newFake(t)
	stop := make(chan struct{})
	f.welcome.Window = 4096
	f.answer = func(*fakeConn, wire.Header, []byte) []byte { <-stop; return nil }
	client := connect(t, f.serve(), Config{Timeout: 300 * time.Millisecond, Window: 4096, Bindings: -1})
	defer close(stop)
	cn := client.links[0].open.Load()
	done := make(chan struct{})
	most := 0
	go func() {
		defer close(done)
		for !cn.isLeaving() {
			cn.mu.Lock()
			if len(cn.out) > most {
				most = len(cn.out)
			}
			cn.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	}()
	big := oneHit(strings.Repeat("k", 60000))
	for i := 0; i < 200; i++ {
		go func() { _, _ = client.Authrep(context.Background(), big) }()
	}
	<-done // the write is given up in time
	if most > outMax+65536 {
		t.Errorf("%d bytes wait to be written", most)
	}
}

func TestCloseAndShutdown(t *testing.T) {
	f := newFake(t)
	started := make(chan struct{}, 8)
	f.answer = func(c *fakeConn, h wire.Header, body []byte) []byte {
		started <- struct{}{}
		time.Sleep(30 * time.Millisecond)
		return yes(h, body)
	}
	f.serve()
	ask := func(c *Client) chan error {
		said := make(chan error, 1)
		go func() {
			_, err := c.Authrep(context.Background(), oneHit("k"))
			said <- err
		}()
		<-started
		return said
	}
	client := connect(t, f, Config{Bindings: -1})
	under := ask(client)
	if err := client.Shutdown(within(t, 5*time.Second)); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-under; err != nil {
		t.Errorf("a call during a shutdown: %v", err)
	}
	if _, err := client.Authrep(context.Background(), oneHit("k")); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after it: %v", err)
	}

	client = connect(t, f, Config{Bindings: -1, Away: Allow})
	under = ask(client)
	if err := client.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-under; !errors.Is(err, ErrClosed) {
		t.Errorf("a call during a close: %v", err)
	}

	client = connect(t, f, Config{Bindings: -1})
	under = ask(client)
	if err := client.Shutdown(within(t, time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a shutdown without time: %v", err)
	}
	if err := <-under; !errors.Is(err, ErrClosed) {
		t.Errorf("a call during it: %v", err)
	}
	if err := client.Ready(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("ready: %v", err)
	}
}

func TestWhatIsNotKnownIsSkipped(t *testing.T) {
	f := newFake(t)
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		var out []byte
		out = append(out, wire.AppendHeader(nil, wire.Header{Op: 0xFE})...)                               // unasked, unknown
		out = append(out, wire.AppendPong(nil, h.ID+1000, wire.Pong{})...)                                // to nothing
		out = append(out, yes(h, body)...)                                                                // the answer
		return append(out, wire.AppendDecision(nil, wire.OpAuthrep, h.ID, &wire.Decision{Yes: false})...) // again
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	for i := 0; i < 10; i++ {
		if d, err := client.Authrep(context.Background(), oneHit("k")); err != nil || !d.Allowed {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if f.accepted.Load() != 1 {
		t.Errorf("%d connections", f.accepted.Load())
	}
}

func TestAnAnswerToAnotherOperationIsAnError(t *testing.T) {
	f := newFake(t)
	f.answer = func(_ *fakeConn, h wire.Header, _ []byte) []byte { return wire.AppendPong(nil, h.ID, wire.Pong{}) }
	client := connect(t, f.serve(), Config{Bindings: -1})
	if _, err := client.Authrep(context.Background(), oneHit("k")); !errors.Is(err, ErrProtocol) {
		t.Errorf("says %v", err)
	}
}

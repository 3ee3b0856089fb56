package tollgate

import (
	"context"
	"errors"
	"math/rand"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/wire"
)

// nowhere is an address where nobody listens.
func nowhere(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestThePolicyWhenTheNodeIsAway(t *testing.T) {
	address := nowhere(t)
	for name, it := range map[string]struct {
		away    Away
		allowed bool
		err     error
	}{
		"fail":  {Fail, false, ErrUnavailable},
		"allow": {Allow, true, nil},
		"deny":  {Deny, false, nil},
	} {
		it := it
		t.Run(name, func(t *testing.T) {
			client, err := New(Config{Address: address, Secret: secret, Away: it.away, AwayWait: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx := context.Background()
			for op, ask := range map[string]func() (Decision, error){
				"authorize": func() (Decision, error) { return client.Authorize(ctx, oneHit("k")) },
				"authrep":   func() (Decision, error) { return client.Authrep(ctx, oneHit("k")) },
				"check":     func() (Decision, error) { return client.Check(ctx, oneHit("k")) },
				"reserve": func() (Decision, error) {
					r, err := client.Reserve(ctx, oneHit("k"), time.Second)
					if err != nil {
						return Decision{}, err
					}
					return r.Decision, nil
				},
			} {
				d, err := ask()
				if d.Allowed != it.allowed || d.Policy != (it.err == nil) || !errors.Is(err, it.err) {
					t.Errorf("%s: %+v, %v", op, d, err)
				}
			}
			if _, err := client.Report(ctx, oneHit("k")); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a report: %v", err)
			}
			cancelled, cancel := context.WithCancel(ctx)
			cancel()
			if _, err := client.Authrep(cancelled, oneHit("k")); !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled context: %v", err)
			}
		})
	}
}

func TestCallsWaitForAConnectionOnlySoLong(t *testing.T) {
	client, err := New(Config{Address: nowhere(t), Secret: secret, AwayWait: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	took := func() time.Duration {
		start := time.Now()
		if _, err := client.Authrep(context.Background(), oneHit("k")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("says %v", err)
		}
		return time.Since(start)
	}
	if first := took(); first < 50*time.Millisecond || first > time.Second {
		t.Errorf("the first call waited %v", first)
	}
	start := time.Now()
	for i := 0; i < 100; i++ {
		took()
	}
	if all := time.Since(start); all > time.Second {
		t.Errorf("100 later calls waited %v", all)
	}
}

func TestThePolicyWhenTheNodeDoesNotDecide(t *testing.T) {
	f := newFake(t)
	var status atomic.Uint32
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		return refusal(h, wire.Status(status.Load()), 0)
	}
	client := connect(t, f.serve(), Config{Bindings: -1, Away: Allow, Timeout: time.Second})
	for s, decided := range map[wire.Status]bool{
		wire.StatusStorageUnavailable: true, wire.StatusInternal: true, wire.StatusOverloaded: true, 0x04FE: true,
		wire.StatusUserKeyInvalid: false, wire.StatusMalformed: false, wire.StatusTooMuchFutureUsage: false,
		wire.StatusMethodNotAllowed: false,
	} {
		status.Store(uint32(s))
		d, err := client.Authrep(context.Background(), oneHit("k"))
		if d.Allowed != decided || d.Policy != decided || (err == nil) != decided {
			t.Errorf("%v: %+v, %v", s, d, err)
		}
		if !decided && !errors.Is(err, s) {
			t.Errorf("%v became %v", s, err)
		}
	}
	status.Store(uint32(wire.StatusNotDurable))
	d, err := client.Authrep(context.Background(), oneHit("k"))
	if !errors.Is(err, StatusNotDurable) || !d.Allowed || !d.Counted || d.Policy {
		t.Errorf("counted, but not on disk: %+v, %v", d, err)
	}
}

func TestAReservationByPolicyReports(t *testing.T) {
	f := newFake(t)
	var reported atomic.Uint64
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		switch h.Op {
		case wire.OpReserve:
			return refusal(h, wire.StatusStorageUnavailable, 0)
		case wire.OpReport:
			call, _ := wire.ParseCall(h.Op, body)
			reported.Add(call.Usage[0].Amount)
		case wire.OpCommit, wire.OpCancel:
			return refusal(h, wire.StatusReservationUnknown, 0)
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1, Away: Allow})
	ctx := context.Background()
	r, err := client.Reserve(ctx, oneHit("k"), time.Minute)
	if err != nil || !r.Allowed || !r.Policy {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := r.Commit(ctx, Usage{Metric: "hits", Amount: 7}); err != nil || reported.Load() != 7 {
		t.Errorf("%d reported, %v", reported.Load(), err)
	}
	if _, err := r.Cancel(ctx); err != nil {
		t.Error(err)
	}
	denied := &Reservation{client: client}
	if _, err := denied.Commit(ctx); !errors.Is(err, ErrNotReserved) {
		t.Errorf("a commit of what was denied: %v", err)
	}
	if _, err := denied.Cancel(ctx); !errors.Is(err, ErrNotReserved) {
		t.Errorf("a cancel of what was denied: %v", err)
	}
}

func TestConnectsAgain(t *testing.T) {
	f := newFake(t).serve()
	client := connect(t, f, Config{Connections: 3})
	for i := 1; i <= 3; i++ {
		eventually(t, "three connections", func() bool { return f.accepted.Load() == int64(3*i) && f.serving() == 3 })
		f.dropAll()
		if _, err := client.Ping(within(t, 5*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPausesGrowAndAreRandom(t *testing.T) {
	var attempts atomic.Int64
	client, err := New(Config{
		Address: nowhere(t), Secret: secret, Connections: 1, ReconnectMin: 20 * time.Millisecond,
		ReconnectMax: 80 * time.Millisecond, OnConnect: func(error) { attempts.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	_ = client.Close()
	// Pauses of 10 to 20, 20 to 40, then 40 to 80 ms: 14 attempts at most; fewer on a busy machine.
	if n := attempts.Load(); n < 3 || n > 14 {
		t.Errorf("%d attempts", n)
	}
	l := &link{client: client, random: rand.New(rand.NewSource(seed()))}
	if p := l.longer(60 * time.Millisecond); p != 80*time.Millisecond {
		t.Errorf("60 ms become %v", p)
	}
	if p := pauseAfter(&StatusError{Status: wire.StatusWait, RetryAfter: time.Minute}, time.Second); p != time.Minute {
		t.Errorf("a node that asks for a minute gets %v", p)
	}
}

func TestGoAwayLosesNoCall(t *testing.T) {
	for _, reason := range []wire.Closing{wire.NodeStops, wire.NodeIsReplaced} {
		f := newFake(t)
		var counted atomic.Int64
		f.answer = func(c *fakeConn, h wire.Header, body []byte) []byte {
			if h.Op == wire.OpAuthrep {
				counted.Add(1)
			}
			time.AfterFunc(2*time.Millisecond, func() { _, _ = c.Write(yes(h, body)) })
			return []byte{}
		}
		client := connect(t, f.serve(), Config{Connections: 2, Timeout: 20 * time.Second})
		const callers, each = 16, 50
		var wait sync.WaitGroup
		for i := 0; i < callers; i++ {
			wait.Add(1)
			go func() {
				defer wait.Done()
				for j := 0; j < each; j++ {
					if _, err := client.Authrep(context.Background(), oneHit("k")); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		for i := 0; i < 5; i++ {
			time.Sleep(15 * time.Millisecond)
			f.sendAll(goAway(reason, 1000))
		}
		wait.Wait()
		if n := counted.Load(); n != callers*each {
			t.Errorf("%d calls were counted %d times", callers*each, n)
		}
		if f.accepted.Load() < 4 {
			t.Errorf("%d connections", f.accepted.Load())
		}
		eventually(t, "old connections closed", func() bool { return f.serving() <= 2 })
	}
}

func TestOtherGoAwaysEndTheConnection(t *testing.T) {
	f := newFake(t)
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		if h.Op == wire.OpAuthrep {
			return goAway(wire.ProtocolBroken, 0)
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	_, err := client.Authrep(context.Background(), oneHit("k"))
	var gone *goneAway
	if !errors.Is(err, ErrLost) || !errors.As(err, &gone) || gone.Reason != wire.ProtocolBroken {
		t.Errorf("says %v", err)
	}
	if _, err := client.Ping(within(t, 5*time.Second)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestADrainingNodeIsLeftForAnother(t *testing.T) {
	f := newFake(t)
	var first atomic.Pointer[fakeConn]
	f.answer = func(c *fakeConn, h wire.Header, body []byte) []byte {
		if first.CompareAndSwap(nil, c); first.Load() == c {
			return refusal(h, wire.StatusDraining, 0)
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	if _, err := client.Authrep(within(t, 5*time.Second), oneHit("k")); err != nil {
		t.Error(err)
	}
	if n := f.accepted.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestASilentNodeIsLeftAndAnIdleConnectionKept(t *testing.T) {
	f := newFake(t)
	var silent atomic.Bool
	var pings atomic.Int64
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		pings.Add(1)
		if silent.Load() {
			return []byte{}
		}
		return yes(h, body)
	}
	f.welcome.IdleMs = 300 // a PING after 100 ms
	client := connect(t, f.serve(), Config{})
	eventually(t, "PINGs", func() bool { return pings.Load() >= 3 })
	if f.accepted.Load() != 1 {
		t.Fatalf("%d connections while all is well", f.accepted.Load())
	}
	silent.Store(true)
	eventually(t, "another connection", func() bool { return f.accepted.Load() >= 2 })
	silent.Store(false)
	if _, err := client.Ping(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
}

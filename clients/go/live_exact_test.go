package tollgate_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate"
	"tollgate/wire"
)

// TestExactly lets 64 goroutines ask much more than a limit admits, by handle, by fields, in batches and with
// reservations that are committed or cancelled.
func TestExactly(t *testing.T) {
	const most, goroutines = 1000, 64
	n := startNode(t)
	n.prepare(most, "single", "fields", "batch", "all", "held", "mixed")
	bound := n.client(tollgate.Config{Connections: 4})
	fields := n.client(tollgate.Config{Connections: 4, Bindings: -1})

	one := func(c *tollgate.Client, key string) (uint64, error) {
		d, err := c.Authrep(context.Background(), hit(key))
		if d.Allowed {
			return 1, err
		}
		return 0, err
	}
	several := func(c *tollgate.Client, key string, all bool) (admitted uint64, err error) {
		items := make([]tollgate.Item, 7)
		for i := range items {
			items[i] = tollgate.Item{Do: tollgate.OpAuthrep, Call: hit(key)}
		}
		result, err := c.Batch(context.Background(), items, tollgate.BatchOptions{All: all})
		for _, it := range result.Items {
			if it.Decision.Allowed {
				admitted++
			}
		}
		if all && result.Done != (admitted == 7) {
			err = errors.New("neither all nor none")
		}
		return admitted, err
	}
	held := func(c *tollgate.Client, key string, cancel bool) (uint64, error) {
		r, err := c.Reserve(context.Background(), hit(key), time.Minute)
		if errors.Is(err, tollgate.StatusTooManyReservations) || err == nil && !r.Allowed {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		if cancel {
			_, err = r.Cancel(context.Background())
			return 0, err
		}
		_, err = r.Commit(context.Background(), tollgate.Usage{Metric: "hits", Amount: 1})
		return 1, err
	}
	for name, it := range map[string]struct {
		ask  func(goroutine, i int) (uint64, error)
		each int
		want uint64 // what is admitted
		with wire.Features
	}{
		"single": {func(int, int) (uint64, error) { return one(bound, "single") }, 40, most, 0},
		"fields": {func(int, int) (uint64, error) { return one(fields, "fields") }, 40, most, 0},
		"batch":  {func(int, int) (uint64, error) { return several(bound, "batch", false) }, 6, most, 0},
		"all":    {func(int, int) (uint64, error) { return several(bound, "all", true) }, 6, most / 7 * 7, wire.FeatureAll},
		"held":   {func(_, i int) (uint64, error) { return held(bound, "held", i%4 == 3) }, 60, most, wire.FeatureReserve},
		"mixed": {func(g, i int) (uint64, error) {
			switch g % 3 {
			case 0:
				return one(bound, "mixed")
			case 1:
				return one(fields, "mixed")
			}
			return several(bound, "mixed", false)
		}, 40, most, 0},
	} {
		it := it
		t.Run(name, func(t *testing.T) {
			needs(t, bound, it.with)
			var admitted atomic.Uint64
			var wait sync.WaitGroup
			for g := 0; g < goroutines; g++ {
				g := g
				wait.Add(1)
				go func() {
					defer wait.Done()
					for i := 0; i < it.each; i++ {
						n, err := it.ask(g, i)
						if err != nil {
							t.Error(err)
							return
						}
						admitted.Add(n)
					}
				}()
			}
			wait.Wait()
			if admitted.Load() != it.want {
				t.Errorf("%d admitted, not %d", admitted.Load(), it.want)
			}
			if got := count(t, bound, name, "hits"); got != it.want {
				t.Errorf("%d counted, not %d", got, it.want)
			}
		})
	}
}

func TestAfterARestart(t *testing.T) {
	n := startNode(t)
	n.prepare(1000, "k")
	client := n.client(tollgate.Config{AwayWait: 5 * time.Second, ReconnectMax: 100 * time.Millisecond})
	for i := 0; i < 3; i++ { // the last by handle
		if r, err := client.Report(soon(t), hit("k")); err != nil || !r.OnDisk {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	var held *tollgate.Reservation
	before, _ := client.Node()
	if before.Features&wire.FeatureReserve != 0 {
		var err error
		held, err = client.Reserve(soon(t), tollgate.Call{
			App: tollgate.App{UserKey: "k"}, Usage: []tollgate.Usage{{Metric: "hits", Amount: 5}},
			Durability: tollgate.Durable,
		}, time.Minute)
		if err != nil || !held.Allowed {
			t.Fatalf("%+v, %v", held, err)
		}
	}
	n.kill()

	waits := make(chan error, 1)
	go func() { // a call that is made while there is no node
		_, err := client.Authorize(context.Background(), hit("k"))
		waits <- err
	}()
	n.start()
	if err := <-waits; err != nil && !errors.Is(err, tollgate.ErrTimeout) {
		t.Errorf("a call during the restart: %v", err)
	}
	if err := client.Ready(soon(t)); err != nil {
		t.Fatal(err)
	}
	if after, ok := client.Node(); !ok || after.Node == before.Node {
		t.Errorf("the node is still %d", after.Node)
	}
	for i := uint64(1); i <= 3; i++ {
		d, err := client.Authrep(soon(t), hit("k"))
		if err != nil || d.Count != 3+i {
			t.Errorf("%+v, %v", d, err)
		}
	}
	want := uint64(6)
	if held != nil {
		want += 2
		r, err := held.Commit(soon(t), tollgate.Usage{Metric: "hits", Amount: 2})
		if err != nil || r.Outcome != tollgate.Done {
			t.Errorf("a reservation from before: %+v, %v", r, err)
		}
	}
	if got := count(t, client, "k", "hits"); got != want {
		t.Errorf("%d counted, not %d", got, want)
	}
}

// TestAStopLosesNoCall stops a node and starts it again while calls are made all the time: what was admitted was
// counted, and no answer is lost.
func TestAStopLosesNoCall(t *testing.T) {
	n := startNode(t)
	n.prepare(1<<40, "k")
	client := n.client(tollgate.Config{
		AwayWait: 10 * time.Second, Timeout: 10 * time.Second, ReconnectMax: 50 * time.Millisecond,
	})
	var admitted atomic.Uint64
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for g := 0; g < 16; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				d, err := client.Authrep(context.Background(), hit("k"))
				if err != nil || !d.Allowed {
					t.Errorf("%+v, %v", d, err)
					return
				}
				admitted.Add(1)
			}
		}()
	}
	for i := 0; i < 3; i++ {
		time.Sleep(200 * time.Millisecond)
		n.terminate()
		n.wait()
		n.start()
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	wait.Wait()
	if got := count(t, client, "k", "hits"); got != admitted.Load() || got == 0 {
		t.Errorf("%d admitted, %d counted", admitted.Load(), got)
	}
}

package tollgate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/wire"
)

func hits(n int, key string) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{Do: OpAuthrep, Call: oneHit(key)}
	}
	return items
}

func TestABatchOfAllOperations(t *testing.T) {
	f := newFake(t)
	var got atomic.Pointer[[]wire.Item]
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		if h.Op == wire.OpBatch {
			items, _ := wire.ParseBatch(append([]byte(nil), body...))
			got.Store(&items)
			if h.Flags != wire.FlagDurable {
				t.Errorf("flags 0x%X", h.Flags)
			}
		}
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	call := oneHit("k")
	call.Flat, call.AllLimits, call.Durability = true, true, Interval // what an item cannot say is not sent
	items := []Item{
		{Do: OpAuthorize, Call: call},
		{Do: OpAuthrep, Call: call},
		{Do: OpCheck, Call: call},
		{Do: OpReport, Call: call},
		{Do: OpReserve, Call: call, TTL: 1500 * time.Millisecond},
		{Do: OpCommit, Call: call, Reservation: 5},
		{Do: OpCancel, Call: call, Reservation: 6},
	}
	result, err := client.Batch(context.Background(), items, BatchOptions{Durability: Durable})
	if err != nil || !result.Done || len(result.Items) != len(items) {
		t.Fatalf("%+v, %v", result, err)
	}
	for i, it := range result.Items {
		decides := i < 3 || i == 4
		if it.Err != nil || it.Decision.Allowed != decides || it.Receipt.OnDisk == decides {
			t.Errorf("item %d: %+v", i, it)
		}
	}
	if result.Items[4].Reservation != 5 {
		t.Errorf("reservation %d", result.Items[4].Reservation)
	}
	for i, item := range *got.Load() {
		sent, err := wire.ParseCall(item.Op, item.Body)
		wantFlags := wire.FlagFlat
		if items[i].Do == OpCancel {
			wantFlags = 0
		}
		if err != nil || item.Op != items[i].Do || item.Flags != wantFlags || sent.UserKey != "k" {
			t.Errorf("item %d went as %+v, %+v, %v", i, item, sent, err)
		}
		switch item.Op {
		case OpReserve:
			if sent.TTL != 2 {
				t.Errorf("1.5 s went as %d s", sent.TTL)
			}
		case OpCommit, OpCancel:
			if sent.Reservation != uint64(i) {
				t.Errorf("item %d went with reservation %d", i, sent.Reservation)
			}
		}
	}
}

func TestABatchThatDoesNotFitGoesInSeveralFrames(t *testing.T) {
	f := newFake(t)
	f.welcome.FrameMax = 4096
	var frames, items atomic.Int64
	f.answer = func(_ *fakeConn, h wire.Header, body []byte) []byte {
		all, err := wire.ParseBatch(body)
		if err != nil || h.Length > 4096 || len(all) > 50 {
			t.Errorf("%d bytes, %d items, %v", h.Length, len(all), err)
		}
		frames.Add(1)
		items.Add(int64(len(all)))
		return yes(h, body)
	}
	client := connect(t, f.serve(), Config{Bindings: -1})
	for _, it := range []struct {
		key           string
		items, frames int
	}{
		{"k", 50, 1}, {"k", 51, 2}, {"k", 500, 10}, // as many as the answer holds
		{strings.Repeat("k", 1000), 12, 4}, // three fit the request
	} {
		frames.Store(0)
		items.Store(0)
		result, err := client.Batch(context.Background(), hits(it.items, it.key), BatchOptions{})
		if err != nil || !result.Done {
			t.Fatal(err)
		}
		for i, r := range result.Items {
			if r.Err != nil || !r.Decision.Allowed {
				t.Errorf("item %d: %+v", i, r)
			}
		}
		if int(frames.Load()) != it.frames || int(items.Load()) != it.items {
			t.Errorf("%d items went as %d in %d frames", it.items, items.Load(), frames.Load())
		}
	}
	if _, err := client.Batch(context.Background(), hits(50, "k"), BatchOptions{All: true}); err != nil {
		t.Errorf("all of 50: %v", err)
	}
	result, err := client.Batch(context.Background(), hits(51, "k"), BatchOptions{All: true})
	if !errors.Is(err, ErrTooLarge) || result.Done || result.Items[50].Err == nil {
		t.Errorf("all of 51: %+v, %v", result, err)
	}
	long := hits(4, strings.Repeat("k", 1000))
	if _, err := client.Batch(context.Background(), long, BatchOptions{All: true}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("all of more than a frame: %v", err)
	}
}

func TestAnItemThatFitsNoFrameFailsAlone(t *testing.T) {
	f := newFake(t)
	f.welcome.FrameMax = 4096
	client := connect(t, f.serve(), Config{Bindings: -1})
	items := hits(5, "k")
	items[0].Call.App.UserKey = strings.Repeat("k", 5000)
	items[3].Call.App.UserKey = strings.Repeat("k", 70000)
	result, err := client.Batch(context.Background(), items, BatchOptions{})
	if !errors.Is(err, ErrTooLarge) || result.Done {
		t.Errorf("says %v", err)
	}
	for i, it := range result.Items {
		if (it.Err != nil) != (i == 0 || i == 3) || it.Decision.Allowed == (it.Err != nil) {
			t.Errorf("item %d: %+v", i, it)
		}
	}
}

func TestItemsByHandle(t *testing.T) {
	f := newFake(t)
	s := newShop(f, "hits")
	client := connect(t, f.serve(), Config{})
	ctx := context.Background()
	for _, all := range []bool{false, true} {
		for _, key := range []string{"a", "b"} {
			if err := client.Bind(ctx, App{UserKey: key}, "hits"); err != nil {
				t.Fatal(err)
			}
		}
		items := append(hits(1, "a"), hits(1, "b")...)
		if result, err := client.Batch(ctx, items, BatchOptions{All: all}); err != nil || !result.Done {
			t.Fatalf("%+v, %v", result, err)
		}
		if asked := s.took(); fmt.Sprint(asked) != "[a by handle, [{1 1 false}] b by handle, [{1 1 false}]]" {
			t.Errorf("asked %q", asked)
		}
		s.mu.Lock() // only that of b ends
		for handle, key := range s.handles {
			if key == "b" {
				delete(s.handles, handle)
			}
		}
		s.mu.Unlock()
		result, err := client.Batch(ctx, items, BatchOptions{All: all})
		if err != nil || !result.Done || !result.Items[0].Decision.Allowed || !result.Items[1].Decision.Allowed {
			t.Fatalf("%+v, %v", result, err)
		}
		want := "[a by handle, [{1 1 false}] stale b by key]"
		if all { // nothing of the first was done
			want = "[a by handle, [{1 1 false}] stale a by key b by key]"
		}
		if asked := s.took(); fmt.Sprint(asked) != want {
			t.Errorf("all=%v: asked %q", all, asked)
		}
		settled(t, client)
	}
}

func TestAllOrNone(t *testing.T) {
	f := newFake(t)
	newShop(f, "hits")
	client := connect(t, f.serve(), Config{Bindings: -1})
	items := hits(3, "k")
	items[1].Call.Usage = []Usage{{Metric: "none", Amount: 1}}
	result, err := client.Batch(context.Background(), items, BatchOptions{All: true})
	if err != nil || result.Done {
		t.Fatalf("%+v, %v", result, err)
	}
	for i, want := range []error{StatusNotDone, StatusMetricInvalid, StatusNotDone} {
		if !errors.Is(result.Items[i].Err, want) {
			t.Errorf("item %d: %v", i, result.Items[i].Err)
		}
	}
	result, err = client.Batch(context.Background(), items, BatchOptions{})
	if err != nil || !result.Done || result.Items[0].Err != nil || !errors.Is(result.Items[1].Err, StatusMetricInvalid) {
		t.Errorf("each for itself: %+v, %v", result, err)
	}
}

func TestABatchWhenTheNodeIsAway(t *testing.T) {
	client, err := New(Config{Address: nowhere(t), Secret: secret, Away: Allow, AwayWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	items := append(hits(2000, "k"), Item{Do: OpReport, Call: oneHit("k")})
	result, err := client.Batch(context.Background(), items, BatchOptions{})
	if !errors.Is(err, ErrUnavailable) || result.Done {
		t.Errorf("%v", err)
	}
	for i, it := range result.Items[:2000] {
		if it.Err != nil || !it.Decision.Policy || !it.Decision.Allowed {
			t.Fatalf("item %d: %+v", i, it)
		}
	}
	if !errors.Is(result.Items[2000].Err, ErrUnavailable) {
		t.Errorf("a report: %+v", result.Items[2000])
	}
	if result, err := client.Batch(context.Background(), items[:3], BatchOptions{}); err != nil || !result.Done {
		t.Errorf("decisions alone: %v", err)
	}
	if _, err := client.Batch(context.Background(), items[:3], BatchOptions{All: true}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("all or none: %v", err)
	}
	if result, err := client.Batch(context.Background(), nil, BatchOptions{All: true}); err != nil || !result.Done {
		t.Errorf("no items: %v", err)
	}
}

package tollgate_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate"
)

func TestTheSampleOfAFirstStart(t *testing.T) {
	n := startNode(t)
	ctx := soon(t)
	client := n.client(tollgate.Config{Service: n.sample("service id"), Token: n.sample("service token")})
	call := hit(n.sample("user key"))
	for i := 0; ; i++ {
		d, err := client.Authrep(ctx, call)
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed {
			if !d.Counted || !d.Limited || d.Remaining >= 10 || d.CatalogVersion == 0 {
				t.Errorf("call %d: %+v", i, d)
			}
			continue
		}
		// Ten in a minute; more if one ends meanwhile.
		if i < 10 || d.Reason != tollgate.LimitsExceeded || d.RetryAfter <= 0 || d.RetryAfter > time.Minute || d.Max != 10 {
			t.Errorf("call %d: %+v", i, d)
		}
		break
	}
	pong, err := client.Ping(ctx)
	if off := time.Since(pong.Time); err != nil || off < -time.Minute || off > time.Minute {
		t.Errorf("ping: %+v, %v", pong, err)
	}
	if _, err := client.Stats(ctx); !errors.Is(err, tollgate.StatusMethodNotAllowed) {
		t.Errorf("stats with a service's token: %v", err)
	}
	if w, ok := client.Node(); !ok || w.NodeNamed == "" {
		t.Errorf("the node is %+v", w)
	}
}

func TestWhatANodeSaysToEachCall(t *testing.T) {
	n := startNode(t)
	n.prepare(100, "k")
	client := n.client(tollgate.Config{})
	ctx := soon(t)
	for round := 0; round < 2; round++ { // by fields, then by handle
		before := uint64(20 * round)
		must := func(d tollgate.Decision, err error) tollgate.Decision {
			t.Helper()
			if err != nil || !d.Allowed || !d.Limited || d.Max != 100 {
				t.Fatalf("round %d: %+v, %v", round, d, err)
			}
			return d
		}
		if d := must(client.Authrep(ctx, hit("k"))); !d.Counted || d.Count != before+1 || d.Reset != tollgate.Never {
			t.Errorf("authrep: %+v", d)
		}
		if d := must(client.Authorize(ctx, hit("k"))); d.Counted || d.Count != before+1 {
			t.Errorf("authorize: %+v", d)
		}
		if d := must(client.Check(ctx, hit("k"))); d.Counted || d.Remaining != 100-before-1 {
			t.Errorf("check: %+v", d)
		}
		call := hit("k")
		call.Usage[0].Amount = 4
		if r, err := client.Report(ctx, call); err != nil || !r.OnDisk {
			t.Errorf("report: %+v, %v", r, err)
		}
		call.Durability = tollgate.Interval
		if r, err := client.Report(ctx, call); err != nil || r.OnDisk {
			t.Errorf("a report in interval: %+v, %v", r, err)
		}
		durable := hit("k")
		durable.Durability = tollgate.Durable
		if d := must(client.Authrep(ctx, durable)); d.Count != before+10 {
			t.Errorf("durable: %+v", d)
		}
		all := hit("k")
		all.AllLimits = true
		if d := must(client.Check(ctx, all)); len(d.Limits) != 1 || d.Limits[0].Count != before+10 {
			t.Errorf("all limits: %+v", d)
		}

		held, err := client.Reserve(ctx, call, time.Minute)
		if err != nil || !held.Allowed || held.ID == 0 {
			t.Fatalf("reserve: %+v, %v", held, err)
		}
		standing, err := client.Query(ctx, tollgate.App{UserKey: "k"}, "hits")
		if err != nil || standing.Reservations != 1 || !standing.Active || len(standing.Limits) != 1 ||
			standing.Limits[0].Held != 4 || standing.Limits[0].Metric != "hits" || len(standing.Usage) != 1 {
			t.Errorf("query: %+v, %v", standing, err)
		}
		if r, err := held.Commit(ctx, tollgate.Usage{Metric: "hits", Amount: 6}); err != nil || r.Outcome != tollgate.Overrun {
			t.Errorf("commit: %+v, %v", r, err)
		}
		if _, err := held.Commit(ctx); !errors.Is(err, tollgate.StatusReservationUnknown) {
			t.Errorf("commit again: %v", err)
		}
		held, err = client.Reserve(ctx, call, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := held.Cancel(ctx); err != nil || r.Outcome != tollgate.Done {
			t.Errorf("cancel: %+v, %v", r, err)
		}
		items := []tollgate.Item{
			{Do: tollgate.OpAuthrep, Call: hit("k")}, {Do: tollgate.OpReport, Call: call},
			{Do: tollgate.OpReport, Call: hit("nobody")},
		}
		items[1].Call.Usage = []tollgate.Usage{{Metric: "hits", Amount: 3}}
		result, err := client.Batch(ctx, items, tollgate.BatchOptions{})
		if err != nil || result.Items[0].Decision.Count != before+17 || result.Items[1].Err != nil ||
			!errors.Is(result.Items[2].Err, tollgate.StatusUserKeyInvalid) {
			t.Errorf("batch: %+v, %v", result, err)
		}
		result, err = client.Batch(ctx, items, tollgate.BatchOptions{All: true})
		if err != nil || result.Done || !errors.Is(result.Items[0].Err, tollgate.StatusNotDone) {
			t.Errorf("all or none: %+v, %v", result, err)
		}
		if got := count(t, client, "k", "hits"); got != before+20 {
			t.Errorf("%d counted, not %d", got, before+20)
		}
		if err := client.Bind(ctx, tollgate.App{UserKey: "k"}, "hits", "bytes"); err != nil {
			t.Fatal(err)
		}
	}
	for name, it := range map[string]struct {
		call   tollgate.Call
		status tollgate.Status
	}{
		"a metric nobody has": {tollgate.Call{
			App: tollgate.App{UserKey: "k"}, Usage: []tollgate.Usage{{Metric: "none", Amount: 1}},
		}, tollgate.StatusMetricInvalid},
		"a key nobody has": {hit("nobody"), tollgate.StatusUserKeyInvalid},
		"another service": {
			tollgate.Call{App: tollgate.App{Service: "7002", UserKey: "k"}}, tollgate.StatusServiceIDInvalid,
		},
	} {
		if _, err := client.Authrep(ctx, it.call); !errors.Is(err, it.status) {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := hit("k")
	old.Time = time.Now().Add(-25 * time.Hour)
	if _, err := client.Report(ctx, old); !errors.Is(err, tollgate.StatusTimestampTooOld) {
		t.Errorf("a report of the day before yesterday: %v", err)
	}
	if _, err := client.Reserve(ctx, hit("k"), 2*time.Hour); !errors.Is(err, tollgate.StatusTTLInvalid) {
		t.Errorf("a reservation for two hours: %v", err)
	}
}

func TestWaysOfConnecting(t *testing.T) {
	n := startNode(t)
	n.prepare(100, "k")
	for name, config := range map[string]tollgate.Config{
		"secret":           {Secret: n.secret()},
		"secret file":      {SecretFile: n.secretFile()},
		"token":            {},
		"Unix, by user":    {Address: "unix:" + n.unix},
		"Unix, by token":   {Address: "unix:" + n.unix, Token: serviceToken},
		"smallest frames":  {FrameMax: 4096, Window: 1, Connections: 1},
		"largest frames":   {FrameMax: 1 << 20, Window: 65536, Connections: 3},
		"all it may offer": {Secret: n.secret(), Bindings: -1, Name: "a name of its own"},
	} {
		client := n.client(config)
		for i := 0; i < 3; i++ {
			if d, err := client.Authorize(soon(t), hit("k")); err != nil || !d.Allowed {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
		}
		if config.Secret != "" {
			if s, err := client.Stats(soon(t)); err != nil || s.Connections == 0 || s.Applications == 0 {
				t.Errorf("%s: stats %+v, %v", name, s, err)
			}
		}
	}
	for name, config := range map[string]tollgate.Config{
		"a wrong secret": {Secret: "x"},
		"a wrong token":  {Token: "x", Service: serviceID},
		"nothing, TCP":   {},
	} {
		config.Address = n.tcp
		client, err := tollgate.New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		err = client.Ready(ctx)
		cancel()
		if !errors.Is(err, tollgate.StatusProofInvalid) && !errors.Is(err, tollgate.StatusMethodNotAllowed) &&
			!errors.Is(err, tollgate.StatusWait) {
			t.Errorf("%s: %v", name, err)
		}
		_ = client.Close()
	}
}

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
	}{
		"single": {func(int, int) (uint64, error) { return one(bound, "single") }, 40, most},
		"fields": {func(int, int) (uint64, error) { return one(fields, "fields") }, 40, most},
		"batch":  {func(int, int) (uint64, error) { return several(bound, "batch", false) }, 6, most},
		"all":    {func(int, int) (uint64, error) { return several(bound, "all", true) }, 6, most / 7 * 7},
		"held":   {func(_, i int) (uint64, error) { return held(bound, "held", i%4 == 3) }, 60, most},
		"mixed": {func(g, i int) (uint64, error) {
			switch g % 3 {
			case 0:
				return one(bound, "mixed")
			case 1:
				return one(fields, "mixed")
			}
			return several(bound, "mixed", false)
		}, 40, most},
	} {
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
						t.Errorf("%s: %v", name, err)
						return
					}
					admitted.Add(n)
				}
			}()
		}
		wait.Wait()
		if admitted.Load() != it.want {
			t.Errorf("%s: %d admitted, not %d", name, admitted.Load(), it.want)
		}
		if got := count(t, bound, name, "hits"); got != it.want {
			t.Errorf("%s: %d counted, not %d", name, got, it.want)
		}
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
	held, err := client.Reserve(soon(t), tollgate.Call{
		App: tollgate.App{UserKey: "k"}, Usage: []tollgate.Usage{{Metric: "hits", Amount: 5}},
		Durability: tollgate.Durable,
	}, time.Minute)
	if err != nil || !held.Allowed {
		t.Fatalf("%+v, %v", held, err)
	}
	before, _ := client.Node()
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
	if r, err := held.Commit(soon(t), tollgate.Usage{Metric: "hits", Amount: 2}); err != nil || r.Outcome != tollgate.Done {
		t.Errorf("a reservation from before: %+v, %v", r, err)
	}
	if got := count(t, client, "k", "hits"); got != 8 {
		t.Errorf("%d counted, not 8", got)
	}
}

// TestAStopLosesNoCall stops a node and starts it again while calls are made all the time: what was admitted was
// counted, and no answer is lost.
func TestAStopLosesNoCall(t *testing.T) {
	n := startNode(t)
	n.prepare(1<<40, "k")
	client := n.client(tollgate.Config{AwayWait: 10 * time.Second, Timeout: 10 * time.Second, ReconnectMax: 50 * time.Millisecond})
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

func TestHandlesThatEndAreReplaced(t *testing.T) {
	n := startNode(t)
	n.prepare(1000, "k")
	client := n.client(tollgate.Config{Connections: 1})
	ctx := soon(t)
	for i := uint64(1); i <= 10; i++ {
		if i == 4 || i == 7 { // other credentials end the handle, even if the old ones are given back
			n.internal("PUT", "/internal/services/7001/applications/app-k/key/other", nil)
			n.internal("DELETE", "/internal/services/7001/applications/key/k", nil)
			n.internal("PUT", "/internal/services/7001/applications/app-k/key/k", nil)
		}
		d, err := client.Authrep(ctx, hit("k"))
		if err != nil || !d.Allowed || d.Count != i {
			t.Errorf("call %d: %+v, %v", i, d, err)
		}
	}
	n.internal("DELETE", "/internal/services/7001/applications/app-k", nil)
	if _, err := client.Authrep(ctx, hit("k")); !errors.Is(err, tollgate.StatusUserKeyInvalid) {
		t.Errorf("an application that is gone: %v", err)
	}
}

func TestTheMiddleware(t *testing.T) {
	n := startNode(t)
	n.prepare(3, "k")
	client := n.client(tollgate.Config{})
	handler := tollgate.Limit(client, tollgate.HeaderKey("X-Key"), tollgate.Usage{Metric: "hits", Amount: 1})(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for i, want := range []int{200, 200, 200, 429, 403} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Key", "k")
		if i == 4 {
			r.Header.Set("X-Key", "nobody")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("request %d: %d, not %d", i, w.Code, want)
		}
	}
}

func TestTLSWithALiveNode(t *testing.T) {
	cert, key, pool := writeCertificate(t)
	n := startNode(t, "TOLLGATE_TCP_TLS_CERT="+cert, "TOLLGATE_TCP_TLS_KEY="+key)
	n.prepare(10, "k")
	client := n.client(tollgate.Config{TLS: pool})
	if d, err := client.Authrep(soon(t), hit("k")); err != nil || !d.Allowed {
		t.Errorf("%+v, %v", d, err)
	}
	plain, err := tollgate.New(tollgate.Config{
		Address: n.tcp, Service: serviceID, Token: serviceToken, ConnectTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := plain.Ready(ctx); err == nil {
		t.Error("a plain connection to a TLS listener")
	}
}

func TestASocketThatIsNotThere(t *testing.T) {
	client, err := tollgate.New(tollgate.Config{
		Address: "unix:" + filepath.Join(t.TempDir(), "none"), AwayWait: -1, Away: tollgate.Allow,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if d, err := client.Authrep(soon(t), hit("k")); err != nil || !d.Policy || !d.Allowed {
		t.Errorf("%+v, %v", d, err)
	}
}

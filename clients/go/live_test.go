package tollgate_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"tollgate"
	"tollgate/wire"
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
		before := uint64(14 * round)
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

		items := []tollgate.Item{
			{Do: tollgate.OpAuthrep, Call: hit("k")}, {Do: tollgate.OpReport, Call: call},
			{Do: tollgate.OpReport, Call: hit("nobody")},
		}
		items[1].Call.Usage = []tollgate.Usage{{Metric: "hits", Amount: 3}}
		result, err := client.Batch(ctx, items, tollgate.BatchOptions{})
		if err != nil || result.Items[0].Decision.Count != before+11 || result.Items[1].Err != nil ||
			!errors.Is(result.Items[2].Err, tollgate.StatusUserKeyInvalid) {
			t.Errorf("batch: %+v, %v", result, err)
		}
		if got := count(t, client, "k", "hits"); got != before+14 {
			t.Errorf("%d counted, not %d", got, before+14)
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
}

func TestReservations(t *testing.T) {
	n := startNode(t)
	n.prepare(100, "k")
	client := n.client(tollgate.Config{})
	needs(t, client, wire.FeatureReserve)
	ctx := soon(t)
	call := hit("k")
	call.Usage[0].Amount = 4
	for round := uint64(0); round < 2; round++ { // by fields, then by handle
		held, err := client.Reserve(ctx, call, time.Minute)
		if err != nil || !held.Allowed || held.ID == 0 {
			t.Fatalf("reserve: %+v, %v", held, err)
		}
		standing, err := client.Query(ctx, tollgate.App{UserKey: "k"}, "hits")
		if err != nil || standing.Reservations != 1 || len(standing.Limits) != 1 || standing.Limits[0].Held != 4 {
			t.Errorf("query: %+v, %v", standing, err)
		}
		r, err := held.Commit(ctx, tollgate.Usage{Metric: "hits", Amount: 6})
		if err != nil || r.Outcome != tollgate.Overrun {
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
		result, err := client.Batch(ctx, []tollgate.Item{{Do: tollgate.OpReserve, Call: call, TTL: time.Minute}},
			tollgate.BatchOptions{Durability: tollgate.Durable})
		if err != nil || !result.Items[0].Decision.Allowed {
			t.Fatalf("reserve in a batch: %+v, %v", result, err)
		}
		result, err = client.Batch(ctx, []tollgate.Item{
			{Do: tollgate.OpCommit, Call: call, Reservation: result.Items[0].Reservation},
		}, tollgate.BatchOptions{})
		if err != nil || result.Items[0].Err != nil || result.Items[0].Receipt.Outcome != tollgate.Done {
			t.Errorf("commit in a batch: %+v, %v", result, err)
		}
		if got := count(t, client, "k", "hits"); got != 10*(round+1) {
			t.Errorf("%d counted, not %d", got, 10*(round+1))
		}
		if err := client.Bind(ctx, tollgate.App{UserKey: "k"}, "hits"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Reserve(ctx, hit("k"), 2*time.Hour); !errors.Is(err, tollgate.StatusTTLInvalid) {
		t.Errorf("a reservation for two hours: %v", err)
	}
	for i := 0; i < 64; i++ {
		if held, err := client.Reserve(ctx, hit("k"), time.Minute); err != nil || !held.Allowed {
			t.Fatalf("reservation %d: %+v, %v", i, held, err)
		}
	}
	if _, err := client.Reserve(ctx, hit("k"), time.Minute); !errors.Is(err, tollgate.StatusTooManyReservations) {
		t.Errorf("the 65th: %v", err)
	}
}

func TestAllOrNone(t *testing.T) {
	n := startNode(t)
	n.prepare(10, "a", "b")
	client := n.client(tollgate.Config{})
	needs(t, client, wire.FeatureAll)
	ctx := soon(t)
	all := tollgate.BatchOptions{All: true}
	items := []tollgate.Item{{Do: tollgate.OpAuthrep, Call: hit("a")}, {Do: tollgate.OpAuthrep, Call: hit("b")}}
	if result, err := client.Batch(ctx, items, all); err != nil || !result.Done || !result.Items[1].Decision.Allowed {
		t.Errorf("all: %+v, %v", result, err)
	}
	items[1].Call.Usage = []tollgate.Usage{{Metric: "hits", Amount: 10}}
	result, err := client.Batch(ctx, items, all)
	if err != nil || result.Done || !errors.Is(result.Items[0].Err, tollgate.StatusNotDone) ||
		result.Items[1].Decision.Reason != tollgate.LimitsExceeded {
		t.Errorf("one denied: %+v, %v", result, err)
	}
	items[1].Call = hit("nobody")
	result, err = client.Batch(ctx, items, all)
	if err != nil || result.Done || !errors.Is(result.Items[0].Err, tollgate.StatusNotDone) ||
		!errors.Is(result.Items[1].Err, tollgate.StatusUserKeyInvalid) {
		t.Errorf("one refused: %+v, %v", result, err)
	}
	if a, b := count(t, client, "a", "hits"), count(t, client, "b", "hits"); a != 1 || b != 1 {
		t.Errorf("%d and %d counted", a, b)
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

package tollgate

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"testing"
	"time"

	"tollgate/wire"
)

// FuzzSession lets a connection read any bytes while requests wait for their answers: nothing panics, and each request
// ends. The golden frames from nodes are its seeds.
//
//	go test . -fuzz FuzzSession -fuzztime 1m
func FuzzSession(f *testing.F) {
	var frames []struct{ From, Hex string }
	content, err := os.ReadFile("../../proto/golden/frames.json")
	if err == nil {
		err = json.Unmarshal(content, &frames)
	}
	if err != nil {
		f.Fatal(err)
	}
	for _, it := range frames {
		if b, err := hex.DecodeString(it.Hex); err == nil && it.From == "node" {
			wire.SetID(b, 1)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		known := newBindings(10)
		cn := newConn(near, wire.Welcome{FrameMax: 65536, Window: 100, Node: 7}, 100, nil)
		cn.bindings = known
		cn.start(&Config{Timeout: time.Second, KeepAlive: time.Minute})
		c := &Client{bindings: known, changed: make(chan struct{}), config: Config{Timeout: time.Second, AwayWait: -1}}
		c.links = []*link{{client: c}}
		c.links[0].open.Store(cn)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r := c.request(wire.OpAuthrep, &Call{App: App{UserKey: "k"}})
			_, _, _ = c.ask(context.Background(), r)
		}()
		buf := make([]byte, 4096)
		if _, err := far.Read(buf); err != nil {
			t.Fatal(err)
		}
		_, _ = far.Write(b)
		_ = far.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("the request does not end")
		}
		<-cn.done
	})
}

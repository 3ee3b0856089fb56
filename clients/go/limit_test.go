package tollgate

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/wire"
)

func TestLimitAnswersAsTheNodeDecides(t *testing.T) {
	refused := func(status wire.Status, ms uint32) func(wire.Header) []byte {
		return func(h wire.Header) []byte { return refusal(h, status, ms) }
	}
	decided := func(d wire.Decision) func(wire.Header) []byte {
		return func(h wire.Header) []byte { return wire.AppendDecision(nil, h.Op, h.ID, &d) }
	}
	limit := wire.Decision{Marks: wire.MarkLimit, LimitID: 3, Max: 10, Count: 4, Remaining: 6, ResetMs: 59001}
	yesLimited, no, never, key := limit, limit, limit, limit
	yesLimited.Yes, yesLimited.Marks = true, wire.MarkLimit|wire.MarkCounted
	no.Reason, no.RetryAfterMs, no.Remaining = wire.LimitsExceeded, 1001, 0
	never.Reason, never.RetryAfterMs, never.ResetMs = wire.LimitsExceeded, wire.Never, wire.Never
	key.Reason, key.Marks = wire.ApplicationKeyInvalid, 0

	f := newFake(t)
	var answer atomic.Value
	f.answer = func(_ *fakeConn, h wire.Header, _ []byte) []byte {
		return answer.Load().(func(wire.Header) []byte)(h)
	}
	client := connect(t, f.serve(), Config{Bindings: -1, Timeout: 500 * time.Millisecond})
	passed := 0
	handler := Limit(client, HeaderKey("X-Key"), Usage{Metric: "hits", Amount: 1})(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { passed++ }))

	for name, it := range map[string]struct {
		key        string
		answer     func(wire.Header) []byte
		code       int
		retry      string
		remaining  string
		resetAfter string
	}{
		"yes":              {"k", decided(yesLimited), 200, "", "6", "60"},
		"yes, unlimited":   {"k", decided(wire.Decision{Yes: true, Remaining: wire.Never}), 200, "", "", ""},
		"no":               {"k", decided(no), 429, "2", "0", "60"},
		"no, never":        {"k", decided(never), 429, "", "6", ""},
		"a wrong key":      {"k", decided(key), 403, "", "", ""},
		"nobody":           {"", decided(yesLimited), 403, "", "", ""},
		"much too long":    {strings.Repeat("k", 70000), decided(yesLimited), 403, "", "", ""},
		"unknown":          {"k", refused(wire.StatusUserKeyInvalid, 0), 403, "", "", ""},
		"a wrong metric":   {"k", refused(wire.StatusMetricInvalid, 0), 500, "", "", ""},
		"overloaded":       {"k", refused(wire.StatusOverloaded, 9000), 503, "9", "", ""},
		"a fault":          {"k", refused(wire.StatusInternal, 0), 503, "", "", ""},
		"counted, no disk": {"k", refused(wire.StatusNotDurable, 0), 200, "", "", ""},
		"no answer":        {"k", func(wire.Header) []byte { return []byte{} }, 503, "", "", ""},
	} {
		answer.Store(it.answer)
		passed = 0
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Key", it.key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		h := w.Header()
		if w.Code != it.code || (passed == 1) != (it.code == 200) {
			t.Errorf("%s: %d, passed %d times", name, w.Code, passed)
		}
		if h.Get("Retry-After") != it.retry || h.Get("RateLimit-Remaining") != it.remaining ||
			h.Get("RateLimit-Reset") != it.resetAfter {
			t.Errorf("%s: %v", name, h)
		}
	}
}

func TestLimitFollowsThePolicy(t *testing.T) {
	for away, code := range map[Away]int{Fail: 503, Allow: 200, Deny: 503} {
		client, err := New(Config{Address: nowhere(t), Secret: secret, Away: away, AwayWait: -1})
		if err != nil {
			t.Fatal(err)
		}
		handler := Limit(client, func(*http.Request) (App, bool) { return App{UserKey: "k"}, true })(
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != code {
			t.Errorf("policy %d: %d", away, w.Code)
		}
		_ = client.Close()
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0", 0: "0", 1: "1", time.Second: "1", time.Second + 1: "2", Never: "9223372037",
	} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v is %s", d, got)
		}
	}
}

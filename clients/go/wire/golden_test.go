package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

const golden = "../../../proto/golden"

// goldenFrame is an entry of frames.json; the README there says what its members mean.
type goldenFrame struct {
	Name       string
	From       string
	Hex        string
	Meaning    *meaning
	DecodeOnly bool `json:"decode_only"`
	Error      string
}

func readGolden(t testing.TB, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(golden, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ofTheNode are requests that are wrong in a way that only a node looks for.
var ofTheNode = map[string]bool{
	"durable and interval at once":      true,
	"a flag that the operation has not": true,
	"a flag without a name":             true,
	"a user key that is not UTF-8":      true,
}

func TestGoldenFrames(t *testing.T) {
	var all []goldenFrame
	readGolden(t, "frames.json", &all)
	if len(all) < 100 {
		t.Fatalf("%d golden frames", len(all))
	}
	for _, it := range all {
		it := it
		t.Run(it.Name, func(t *testing.T) { it.check(t) })
	}
}

func (it *goldenFrame) check(t *testing.T) {
	b := unhex(t, it.Hex)
	h, body, err := splitFrame(b)
	if it.Error == "GOAWAY" {
		if err != ErrFrameLength {
			t.Fatalf("its header gives %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseAny(h, body)
	switch {
	case it.Error == "NOT_SUPPORTED" && it.DecodeOnly:
		if err != ErrFieldUnknown {
			t.Fatalf("%v, not %v", err, ErrFieldUnknown)
		}
		return
	case it.Meaning == nil:
		if (err == nil) != ofTheNode[it.Name] {
			t.Fatalf("gives %+v, %v", got, err)
		}
		return
	case err != nil:
		t.Fatal(err)
	}
	want := it.Meaning.value(t)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("read as\n%+v\nnot\n%+v", got, want)
	}
	if h != it.Meaning.header(t, len(b)) {
		t.Fatalf("header %+v", h)
	}
	if it.DecodeOnly {
		return
	}
	written, err := appendAny([]byte("before"), h, want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written[len("before"):], b) {
		t.Fatalf("written as\n%x\nnot\n%x", written[len("before"):], b)
	}
}

func TestGoldenHandshakes(t *testing.T) {
	var all []struct {
		Name        string
		Method      string
		Service     *string
		Secret      *string
		Opening     string
		ClientNonce string `json:"client_nonce"`
		NodeNonce   string `json:"node_nonce"`
		Proof       *string
		ServerProof *string `json:"server_proof"`
		Frames      []goldenFrame
	}
	readGolden(t, "handshake.json", &all)
	proofs := 0
	for _, it := range all {
		it := it
		t.Run(it.Name, func(t *testing.T) {
			if string(unhex(t, it.Opening)) != Opening {
				t.Errorf("opening %s", it.Opening)
			}
			for i := range it.Frames {
				it.Frames[i].check(t)
			}
			if it.Proof == nil || it.ServerProof == nil {
				return
			}
			proofs++
			var client, node [NonceLen]byte
			copy(client[:], unhex(t, it.ClientNonce))
			copy(node[:], unhex(t, it.NodeNonce))
			method := Method(word(t, "method", it.Method))
			service := ""
			if it.Service != nil {
				service = *it.Service
			}
			proof := ClientProof(*it.Secret, client, node, method, service)
			if hex.EncodeToString(proof[:]) != *it.Proof {
				t.Errorf("proof %x, not %s", proof, *it.Proof)
			}
			proof = ServerProof(*it.Secret, client, node)
			if hex.EncodeToString(proof[:]) != *it.ServerProof {
				t.Errorf("server proof %x, not %s", proof, *it.ServerProof)
			}
		})
	}
	if proofs < 2 {
		t.Errorf("%d handshakes with proofs", proofs)
	}
}

// splitFrame reads a header and what is behind it.
func splitFrame(b []byte) (Header, []byte, error) {
	h, err := ParseHeader(b, FrameMaxInitial)
	if err != nil {
		return h, nil, err
	}
	if int(h.Length) > len(b) {
		return h, nil, ErrMalformed
	}
	return h, b[HeaderLen:h.Length], nil
}

// batch is a BATCH, or its answer, with what its items hold.
type batch struct {
	done  bool
	items []batchItem
}

type batchItem struct {
	op     Op
	flags  Flags
	status Status
	value  any
}

// opaque is what has no meaning for this version.
type opaque struct{}

// parseAny reads the body of any frame.
func parseAny(h Header, body []byte) (any, error) {
	if h.Op&AnswerBit == 0 {
		return parseRequest(h.Op, body)
	}
	if !h.Status.Done() {
		return ParseFailure(body)
	}
	switch h.Op &^ AnswerBit {
	case OpHello, OpProof:
		if h.Status == StatusChallenge {
			return ParseChallenge(body)
		}
		return ParseWelcome(body)
	case OpPing:
		return ParsePong(body)
	case OpStats:
		return ParseStats(body)
	case OpGoAway:
		return ParseGoAway(body)
	case OpAuthorize, OpAuthrep, OpCheck, OpReserve:
		return ParseDecision(body)
	case OpReport, OpCommit, OpCancel:
		return ParseReceipt(body)
	case OpBind:
		return ParseBound(body)
	case OpQuery:
		return ParseQuery(body)
	case OpBatch:
		a, err := ParseBatchAnswer(body)
		if err != nil {
			return nil, err
		}
		all := batch{done: a.Done}
		for _, item := range a.Items {
			value, err := parseAny(Header{Op: item.Op | AnswerBit, Status: item.Status}, item.Body)
			if err != nil {
				return nil, err
			}
			all.items = append(all.items, batchItem{op: item.Op, status: item.Status, value: value})
		}
		return all, nil
	}
	return opaque{}, nil
}

func parseRequest(op Op, body []byte) (any, error) {
	switch op {
	case OpHello:
		return ParseHello(body)
	case OpProof:
		return ParseProof(body)
	case OpAuthorize, OpAuthrep, OpCheck, OpReport, OpReserve, OpCommit, OpCancel, OpQuery, OpBind:
		return ParseCall(op, body)
	case OpBatch:
		items, err := ParseBatch(body)
		if err != nil {
			return nil, err
		}
		var all batch
		for _, item := range items {
			value, err := parseRequest(item.Op, item.Body)
			if err != nil {
				return nil, err
			}
			all.items = append(all.items, batchItem{op: item.Op, flags: item.Flags, value: value})
		}
		return all, nil
	}
	return opaque{}, nil
}

// appendAny writes any frame.
func appendAny(b []byte, h Header, value any) ([]byte, error) {
	op := h.Op &^ AnswerBit
	switch v := value.(type) {
	case Hello:
		return AppendHello(b, h.ID, v)
	case [NonceLen]byte:
		if op == OpProof {
			return AppendProof(b, h.ID, v), nil
		}
		return AppendChallenge(b, h.ID, v), nil
	case Welcome:
		return AppendWelcome(b, op, h.ID, v)
	case Pong:
		return AppendPong(b, h.ID, v), nil
	case Stats:
		return AppendStats(b, h.ID, v), nil
	case GoAway:
		return AppendGoAway(b, v)
	case Failure:
		return AppendFailure(b, op, h.Status, h.ID, v)
	case Decision:
		return AppendDecision(b, op, h.ID, &v), nil
	case Receipt:
		return AppendReceipt(b, op, h.ID, v), nil
	case Bound:
		return AppendBound(b, h.ID, &v)
	case Query:
		return AppendQuery(b, h.ID, &v)
	case Call:
		return AppendCall(b, op, h.Flags, h.ID, &v)
	case batch:
		if h.Op == OpBatch {
			return appendBatchOf(b, h, v)
		}
		return appendBatchAnswerOf(b, h, v)
	}
	return AppendEmpty(b, op, h.ID), nil
}

func appendBatchOf(b []byte, h Header, all batch) ([]byte, error) {
	start := len(b)
	b, err := AppendBatch(b, h.Flags, h.ID, len(all.items))
	for _, item := range all.items {
		if err == nil {
			call := item.value.(Call)
			b, err = AppendItem(b, item.op, item.flags, &call)
		}
	}
	return Finish(b, start), err
}

func appendBatchAnswerOf(b []byte, h Header, all batch) ([]byte, error) {
	a := BatchAnswer{Done: all.done}
	for _, item := range all.items {
		whole, err := appendAny(nil, Header{Op: item.op | AnswerBit, Status: item.status}, item.value)
		if err != nil {
			return b, err
		}
		a.Items = append(a.Items, ItemAnswer{item.op, item.status, whole[HeaderLen:]})
	}
	return AppendBatchAnswer(b, h.ID, &a)
}

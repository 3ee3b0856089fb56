package tollgate_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tollgate"
	"tollgate/wire"
)

const (
	internalUser     = "porta"
	internalPassword = "hush"
)

// node is a real node as its operator runs it: one process at a time, a data directory that outlives it, the same
// addresses each time.
type node struct {
	t       testing.TB
	tcp     string
	unix    string
	http    string
	data    string
	more    []string // of the environment
	process *exec.Cmd
	printed string
}

// startNode starts the binary that NODE_BINARY names; without one the test is skipped.
func startNode(t testing.TB, more ...string) *node {
	t.Helper()
	if os.Getenv("NODE_BINARY") == "" {
		t.Skip("NODE_BINARY does not say which tollgate to test against")
	}
	home := t.TempDir()
	n := &node{
		t: t, tcp: free(t), http: free(t), unix: filepath.Join(home, "socket"), data: filepath.Join(home, "data"),
		more: more,
	}
	n.start()
	t.Cleanup(n.kill)
	return n
}

// free is an address of this machine where nobody listens.
func free(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (n *node) start() {
	n.t.Helper()
	n.process = exec.Command(os.Getenv("NODE_BINARY"), "serve", "--http", n.http, "--tcp", n.tcp, "--unix", n.unix,
		"--data-dir", n.data, "--log", "warn")
	for _, variable := range os.Environ() { // one of the caller's own would change the node under test
		if !strings.HasPrefix(variable, "TOLLGATE_") {
			n.process.Env = append(n.process.Env, variable)
		}
	}
	n.process.Env = append(n.process.Env, "TOLLGATE_INTERNAL_API_USER="+internalUser,
		"TOLLGATE_INTERNAL_API_PASSWORD="+internalPassword, fmt.Sprintf("TOLLGATE_UNIX_UIDS=%d", os.Getuid()))
	n.process.Env = append(n.process.Env, n.more...)
	n.process.Stderr = os.Stderr
	output, err := n.process.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.process.Start(); err != nil {
		n.t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		n.printed += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), "Stop with") {
			go func() { _, _ = io.Copy(io.Discard, output) }()
			return
		}
	}
	n.t.Fatalf("the node ended and printed: %s", n.printed)
}

// terminate sends SIGTERM; wait waits for the end.
func (n *node) terminate() {
	n.t.Helper()
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) wait() {
	n.t.Helper()
	if err := n.process.Wait(); err != nil {
		n.t.Errorf("the node ended with %v", err)
	}
}

// kill ends the process in the middle of whatever it does, if it runs.
func (n *node) kill() {
	_ = n.process.Process.Kill()
	_ = n.process.Wait()
}

// sample is a credential of the sample that the first start prints.
func (n *node) sample(name string) string {
	n.t.Helper()
	found := regexp.MustCompile(`(?m)^  ` + name + ` +(\S+)`).FindStringSubmatch(n.printed)
	if found == nil {
		n.t.Fatalf("no %s in %s", name, n.printed)
	}
	return found[1]
}

func (n *node) secret() string {
	n.t.Helper()
	content, err := os.ReadFile(n.secretFile())
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.SplitN(string(content), "\n", 2)[0]
}

func (n *node) secretFile() string { return filepath.Join(n.data, "node-secret") }

// internal calls 3scale's internal API, which must agree.
func (n *node) internal(method, path string, body any) {
	n.t.Helper()
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			n.t.Fatal(err)
		}
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, "http://"+n.http+path, sent)
	if err != nil {
		n.t.Fatal(err)
	}
	request.SetBasicAuth(internalUser, internalPassword)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	defer answer.Body.Close()
	if said, _ := io.ReadAll(answer.Body); answer.StatusCode/100 != 2 {
		n.t.Fatalf("%s %s: %d %s", method, path, answer.StatusCode, said)
	}
}

type object map[string]any

const (
	serviceID    = "7001"
	serviceToken = "go-token-7001"
)

// prepare makes a service with the metrics hits and bytes, and applications with a user key each; hits have a limit
// that is never reset.
func (n *node) prepare(most int, userKeys ...string) {
	n.t.Helper()
	n.internal("POST", "/internal/services/", object{
		"service": object{"id": serviceID, "provider_key": "go-provider", "backend_version": "1"}})
	n.internal("PUT", "/internal/services/7001/metrics/1", object{"metric": object{"name": "hits"}})
	n.internal("PUT", "/internal/services/7001/metrics/2", object{"metric": object{"name": "bytes"}})
	n.internal("POST", "/internal/service_tokens/", object{
		"service_tokens": object{serviceToken: object{"service_id": serviceID}}})
	n.internal("PUT", "/internal/services/7001/plans/50/usagelimits/1/eternity", object{
		"usagelimit": object{"eternity": most}})
	for _, key := range userKeys {
		n.internal("PUT", "/internal/services/7001/applications/app-"+key, object{
			"application": object{"state": "active", "plan_id": "50", "plan_name": "Plan"}})
		n.internal("PUT", "/internal/services/7001/applications/app-"+key+"/key/"+key, nil)
	}
}

// client is a client of the service that prepare makes.
func (n *node) client(config tollgate.Config) *tollgate.Client {
	n.t.Helper()
	if config.Address == "" {
		config.Address = n.tcp
	}
	byUser := strings.HasPrefix(config.Address, "unix:")
	if config.Secret == "" && config.SecretFile == "" && config.Token == "" && !byUser {
		config.Token = serviceToken
	}
	if config.Service == "" {
		config.Service = serviceID
	}
	client, err := tollgate.New(config)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = client.Close() })
	if err := client.Ready(soon(n.t)); err != nil {
		n.t.Fatal(err)
	}
	return client
}

// needs fails a test if the node does not say that it offers what the test is about.
func needs(t *testing.T, client *tollgate.Client, features wire.Features) {
	t.Helper()
	if w, ok := client.Node(); !ok || w.Features&features != features {
		t.Fatalf("this node offers features 0x%X, the test is of 0x%X", w.Features, features)
	}
}

// soon is a context for what should be done at once.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func hit(key string) tollgate.Call {
	return tollgate.Call{App: tollgate.App{UserKey: key}, Usage: []tollgate.Usage{{Metric: "hits", Amount: 1}}}
}

// count is what the node has counted of a metric, ever.
func count(t testing.TB, client *tollgate.Client, key, metric string) uint64 {
	t.Helper()
	standing, err := client.Query(soon(t), tollgate.App{UserKey: key})
	if err != nil {
		t.Fatal(err)
	}
	usage, _ := standing.Of(metric)
	return usage.Count(tollgate.Eternity)
}

package tollgate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/wire"
)

func TestConnectsWithSecretTokenOrNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node-secret")
	if err := os.WriteFile(file, []byte("\n"+secret+"\r\nolder\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, it := range map[string]struct {
		config Config
		secret string
		method wire.Method
		unix   bool
	}{
		"secret":      {Config{Secret: secret}, secret, wire.MethodSecret, false},
		"secret file": {Config{SecretFile: file}, secret, wire.MethodSecret, false},
		"token":       {Config{Service: "3", Token: secret}, secret, wire.MethodToken, false},
		"none, Unix":  {Config{}, "", wire.MethodNone, true},
		"token, Unix": {Config{Service: "3", Token: secret}, secret, wire.MethodToken, true},
	} {
		it := it
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			if it.unix {
				f.onUnix()
			}
			f.secret = it.secret
			var hello atomic.Pointer[wire.Hello]
			f.answer = func(c *fakeConn, h wire.Header, body []byte) []byte {
				hello.Store(&c.hello)
				return yes(h, body)
			}
			it.config.Address = f.serve().address()
			it.config.Name = "gateway 2"
			client, err := New(it.config)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := client.Ping(within(t, 5*time.Second)); err != nil {
				t.Fatal(err)
			}
			got := hello.Load()
			if got.Method != it.method || got.Client != "gateway 2" || got.Window != 1024 || got.FrameMax != 65536 {
				t.Errorf("said %+v", got)
			}
			if want := it.config.Service; got.Service != want {
				t.Errorf("service %q, not %q", got.Service, want)
			}
		})
	}
}

func TestASecretFileIsReadAtEachConnection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node-secret")
	if err := os.WriteFile(file, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake(t).serve()
	client, err := New(Config{
		Address: f.address(), SecretFile: file, ReconnectMin: time.Millisecond, ReconnectMax: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = client.Ready(within(t, 100*time.Millisecond))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, StatusProofInvalid) {
		t.Fatalf("with a wrong secret: %v", err)
	}
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := client.Ready(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
}

// attempt returns what the first attempt to connect says.
func attempt(t *testing.T, config Config) error {
	t.Helper()
	said := make(chan error, 100)
	config.OnConnect = func(err error) {
		select {
		case said <- err:
		default:
		}
	}
	client, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	select {
	case err := <-said:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("no attempt to connect")
		return nil
	}
}

func TestANodeThatIsNotItselfIsLeft(t *testing.T) {
	for name, it := range map[string]struct {
		change func(*fakeNode)
		is     error
	}{
		"a wrong proof of its own": {func(f *fakeNode) { f.liar = true }, ErrNodeProof},
		"another version":          {func(f *fakeNode) { f.welcome.Version = 2 }, ErrProtocol},
		"no window":                {func(f *fakeNode) { f.welcome.Window = 0 }, ErrProtocol},
		"frames too small":         {func(f *fakeNode) { f.welcome.FrameMax = 4095 }, ErrProtocol},
		"frames too large":         {func(f *fakeNode) { f.welcome.FrameMax = 1<<20 + 1 }, ErrProtocol},
		"a feature is missing":     {func(f *fakeNode) { f.welcome.Features = wire.FeatureReserve }, ErrProtocol},
		"another secret":           {func(f *fakeNode) { f.secret = "other" }, StatusProofInvalid},
		"all well":                 {func(*fakeNode) {}, nil},
		"frames just right":        {func(f *fakeNode) { f.welcome.FrameMax = 1 << 20 }, nil},
	} {
		it := it
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			it.change(f)
			f.serve()
			err := attempt(t, Config{Address: f.address(), Secret: secret, Require: wire.FeatureDurable})
			if !errors.Is(err, it.is) || (it.is == nil) != (err == nil) {
				t.Errorf("%v, not %v", err, it.is)
			}
		})
	}
}

func TestAConnectionThatIsNotMadeInTimeIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // accepts nobody: the handshake gets no answer
	start := time.Now()
	err = attempt(t, Config{Address: listener.Addr().String(), Secret: secret, ConnectTimeout: 50 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestGarbageInAHandshakeIsAnError(t *testing.T) {
	for name, answer := range map[string][]byte{
		"HTTP":            []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"a length of 0":   make([]byte, 64),
		"half a header":   {1, 2, 3},
		"an early close":  {},
		"goaway":          goAway(wire.HandshakeTooSlow, 0),
		"a broken goaway": wire.AppendHeader(nil, wire.Header{Op: wire.OpGoAway | wire.AnswerBit}),
		"an odd status":   refusal(wire.Header{Op: wire.OpHello, ID: 1}, wire.StatusOK, 0),
	} {
		answer := answer
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				for {
					nc, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = nc.Write(answer)
					_ = nc.Close()
				}
			}()
			if err := attempt(t, Config{Address: listener.Addr().String(), Secret: secret}); err == nil {
				t.Error("connected")
			}
		})
	}
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	own := func() *tls.Config {
		return &tls.Config{
			Certificates: []tls.Certificate{cert}, NextProtos: []string{wire.ALPN}, ClientCAs: pool,
			ClientAuth: tls.RequireAndVerifyClientCert,
		}
	}
	for name, it := range map[string]struct {
		node   func(*tls.Config)
		client *tls.Config
		works  bool
	}{
		"with certificates": {
			func(*tls.Config) {}, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}, true,
		},
		"an unknown authority": {
			func(*tls.Config) {}, &tls.Config{Certificates: []tls.Certificate{cert}}, false,
		},
		"an old version": {
			func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
			&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}, false,
		},
		"another protocol": {
			func(c *tls.Config) { c.NextProtos = nil },
			&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}, false,
		},
		"no client certificate": {func(*tls.Config) {}, &tls.Config{RootCAs: pool}, false},
	} {
		it := it
		t.Run(name, func(t *testing.T) {
			settings := own()
			it.node(settings)
			f := newFake(t).onTLS(settings).serve()
			err := attempt(t, Config{Address: f.address(), Secret: secret, TLS: it.client})
			if (err == nil) != it.works {
				t.Errorf("says %v", err)
			}
		})
	}
}

func TestSettingsAreChecked(t *testing.T) {
	good := Config{Address: "127.0.0.1:3001", Token: "t", Service: "3"}
	for name, it := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"nothing wrong":          {func(*Config) {}, ""},
		"no address":             {func(c *Config) { c.Address = "" }, "Address is missing"},
		"an address without":     {func(c *Config) { c.Address = "localhost" }, "missing port"},
		"a socket with TLS":      {func(c *Config) { c.Address, c.TLS = "unix:/x", &tls.Config{} }, "Unix"},
		"token and secret":       {func(c *Config) { c.Secret = "s" }, "only one of"},
		"a token alone":          {func(c *Config) { c.Service = "" }, "needs Config.Service"},
		"an unknown policy":      {func(c *Config) { c.Away = 3 }, "none of"},
		"a negative time":        {func(c *Config) { c.Timeout = -1 }, "negative"},
		"pauses upside down":     {func(c *Config) { c.ReconnectMax = time.Millisecond }, "below"},
		"64 connections":         {func(c *Config) { c.Connections = 64 }, ""},
		"65 connections":         {func(c *Config) { c.Connections = 65 }, "Connections is 65"},
		"a window of 65,536":     {func(c *Config) { c.Window = 65536 }, ""},
		"a window of 65,537":     {func(c *Config) { c.Window = 65537 }, "Window is 65537"},
		"a negative window":      {func(c *Config) { c.Window = -1 }, "Window is -1"},
		"frames of 4,096 bytes":  {func(c *Config) { c.FrameMax = 4096 }, ""},
		"frames of 4,095 bytes":  {func(c *Config) { c.FrameMax = 4095 }, "FrameMax is 4095"},
		"frames of a mebibyte":   {func(c *Config) { c.FrameMax = 1 << 20 }, ""},
		"frames of more":         {func(c *Config) { c.FrameMax = 1<<20 + 1 }, "FrameMax is 1048577"},
		"a name of 64 bytes":     {func(c *Config) { c.Name = strings.Repeat("n", 64) }, ""},
		"a name of 65 bytes":     {func(c *Config) { c.Name = strings.Repeat("n", 65) }, "64 bytes"},
		"bindings beyond bounds": {func(c *Config) { c.Bindings = bindingsMax + 1 }, "Bindings"},
	} {
		it := it
		t.Run(name, func(t *testing.T) {
			config := good
			it.change(&config)
			_, err := config.withDefaults()
			if it.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), it.says) {
				t.Errorf("says %v, not %q", err, it.says)
			}
		})
	}
}

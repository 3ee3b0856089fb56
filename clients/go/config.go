package tollgate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"tollgate/wire"
)

// Away is what decisions become when the node does not answer.
type Away uint8

const (
	// Fail returns the error. The default.
	Fail Away = iota
	// Allow lets calls pass. What they use is not counted.
	Allow
	// Deny turns calls away.
	Deny
)

// Config says which node a Client talks to and how. Zero values mean the defaults.
type Config struct {
	// Address is "host:port" for TCP, or "unix:" and the path of a socket. Required.
	Address string

	// Secret is the node's secret, a line of the file node-secret in its data directory. It opens all services.
	Secret string
	// SecretFile is a file to read the secret from whenever a connection is made, so that it can be replaced: its
	// first line that is not empty.
	SecretFile string
	// Token is a service token of Service; it opens that service alone. With none of Secret, SecretFile and Token the
	// client proves nothing, which nodes allow on Unix sockets, by their configuration.
	Token string
	// Service is the id of the service that calls are for if their App names none. Required with Token.
	Service string

	// TLS, if not nil, encrypts connections. Version 1.3, the protocol's ALPN name and (if it is empty) ServerName, from
	// Address, are filled in. Certificates makes a client certificate known to the node.
	TLS *tls.Config

	// Away is what decisions become when the node does not answer.
	Away Away
	// AwayWait is how long, after the last connection was lost, calls wait for another before Away applies to them; after
	// that, and until there is one, it applies at once. Default 500 ms; negative: none.
	AwayWait time.Duration
	// Timeout bounds each call, repetitions included; a context's earlier deadline goes first. Default 2 s.
	Timeout time.Duration

	// Connections is how many connections are kept. Few are best: each carries any number of calls at a time, and the
	// more share one the less each costs. Default 2, at most 64.
	Connections int
	// Window is how many requests at a time may be unanswered on a connection; the node may grant fewer. What is beyond
	// waits in the client. Default 1024, at most 65,536.
	Window int
	// FrameMax is the largest frame in bytes, which bounds batches; the node may grant less. 4,096 to 1,048,576, default
	// 65,536.
	FrameMax int

	// ConnectTimeout bounds the making of a connection, handshake included. Default 3 s.
	ConnectTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the pauses between attempts to connect: the first is about ReconnectMin, each
	// is about twice the one before. Half of each is random, so that clients do not come back all at once. Defaults 50 ms
	// and 5 s.
	ReconnectMin time.Duration
	ReconnectMax time.Duration
	// KeepAlive is after how long without an answer a connection is tried with a PING, which has as long to be answered
	// before the connection is given up. Default 10 s, and never more than a third of the node's idle time.
	KeepAlive time.Duration

	// Bindings is of how many applications the client remembers handles, which make calls cheaper for the node. Which
	// are forgotten beyond that is random. Default 65,536; negative: handles are not used.
	Bindings int
	// Require are features without which the client is of no use: a node that lacks one is not connected to.
	Require wire.Features
	// Name is name and version of the program, for the node's logs; at most 64 bytes. Default "tollgate-go".
	Name string

	// OnConnect, if set, is called after each attempt to connect: with nil, or with why it failed. It must not block.
	OnConnect func(error)
}

const (
	connectionsMax = 64
	windowMax      = 65536
	bindingsMax    = 1 << 24
)

// withDefaults checks a configuration and fills in what it leaves open.
func (c Config) withDefaults() (Config, error) {
	fill := func(value *time.Duration, by time.Duration) {
		if *value == 0 {
			*value = by
		}
	}
	fillInt := func(value *int, by int) {
		if *value == 0 {
			*value = by
		}
	}
	fill(&c.AwayWait, 500*time.Millisecond)
	fill(&c.Timeout, 2*time.Second)
	fill(&c.ConnectTimeout, 3*time.Second)
	fill(&c.ReconnectMin, 50*time.Millisecond)
	fill(&c.ReconnectMax, 5*time.Second)
	fill(&c.KeepAlive, 10*time.Second)
	fillInt(&c.Connections, 2)
	fillInt(&c.Window, 1024)
	fillInt(&c.FrameMax, wire.FrameMaxInitial)
	fillInt(&c.Bindings, 65536)
	if c.Name == "" {
		c.Name = "tollgate-go"
	}
	return c, c.check()
}

func (c *Config) check() error {
	ways := 0
	for _, it := range []string{c.Secret, c.SecretFile, c.Token} {
		if it != "" {
			ways++
		}
	}
	network, address := c.network()
	switch {
	case address == "":
		return errors.New("tollgate: Config.Address is missing")
	case network == "unix" && c.TLS != nil:
		return errors.New("tollgate: Config.TLS is not for Unix sockets")
	case ways > 1:
		return errors.New("tollgate: only one of Config.Secret, SecretFile and Token may be set")
	case c.Token != "" && c.Service == "":
		return errors.New("tollgate: Config.Token needs Config.Service")
	case c.Away > Deny:
		return errors.New("tollgate: Config.Away is none of Fail, Allow and Deny")
	case c.Timeout < 0, c.ConnectTimeout < 0, c.ReconnectMin < 0, c.KeepAlive < 0:
		return errors.New("tollgate: a negative time in Config")
	case c.ReconnectMax < c.ReconnectMin:
		return errors.New("tollgate: Config.ReconnectMax is below ReconnectMin")
	case len(c.Name) > wire.ClientMax:
		return fmt.Errorf("tollgate: Config.Name has more than %d bytes", wire.ClientMax)
	}
	if network == "tcp" {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("tollgate: Config.Address: %w", err)
		}
	}
	for _, it := range []struct {
		name         string
		value        int
		lowest, most int
	}{
		{"Connections", c.Connections, 1, connectionsMax},
		{"Window", c.Window, 1, windowMax},
		{"FrameMax", c.FrameMax, wire.FrameMaxLowest, wire.FrameMaxHighest},
		{"Bindings", c.Bindings, -bindingsMax, bindingsMax},
	} {
		if it.value < it.lowest || it.value > it.most {
			return fmt.Errorf("tollgate: Config.%s is %d, not between %d and %d", it.name, it.value, it.lowest, it.most)
		}
	}
	return nil
}

// network splits Address into what net.Dial wants.
func (c *Config) network() (network, address string) {
	if path := strings.TrimPrefix(c.Address, "unix:"); path != c.Address {
		return "unix", path
	}
	return "tcp", c.Address
}

// identity is how the client proves who it is, and with what.
func (c *Config) identity() (wire.Method, string, error) {
	switch {
	case c.Token != "":
		return wire.MethodToken, c.Token, nil
	case c.Secret != "":
		return wire.MethodSecret, c.Secret, nil
	case c.SecretFile == "":
		return wire.MethodNone, "", nil
	}
	content, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return 0, "", fmt.Errorf("tollgate: the node's secret: %w", err)
	}
	for _, line := range strings.Split(string(content), "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" {
			return wire.MethodSecret, line, nil
		}
	}
	return 0, "", fmt.Errorf("tollgate: no secret in %s", c.SecretFile)
}

// tlsConfig is TLS with what the protocol prescribes; nil without TLS.
func (c *Config) tlsConfig() *tls.Config {
	if c.TLS == nil {
		return nil
	}
	config := c.TLS.Clone()
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = []string{wire.ALPN}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(c.Address)
	}
	return config
}

// Package service is the service of a chaos run, and the payment provider that it calls. Each
// process of it is the test binary, started again with a role: see Main.
package service

import (
	"encoding/json"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// A Config is what a process needs to know. It is passed as JSON in an argument.
type Config struct {
	Role string // "server" or "provider"
	Name string // with the incarnation, such as "s1.3"
	Dir  string // of the history: the process appends to Name.jsonl
	Addr string // to listen on; the process waits until the port is free

	Provider string            // the URL of the payment provider, for a server
	Store    string            // one of the names of package stores
	Addrs    []string          // of the store: its proxies; for SQLite the file
	Via      map[string]string // the proxies of the nodes of a cluster, by their own addresses
	Bug      string            // one of Bugs; empty in a real run
}

// The settings of the middleware in each server.
const (
	Lease        = time.Second
	StoreTimeout = 300 * time.Millisecond
	Wait         = 500 * time.Millisecond
	MaxRun       = 4 * time.Second
	MaxResponse  = 4 << 10
)

// An Arm makes a server's next request in a window suffer an action: POST /chaos/arm, directly to
// the server. DELETE /chaos/arm removes those that no request has met.
type Arm struct {
	Window history.Window
	Action history.Action
	Way    history.Way // empty for any
}

// Vitals are what a server uses: GET /chaos/vitals.
type Vitals struct {
	Goroutines int
	HeapBytes  uint64 // after a collection
	Files      int    // open file descriptors, also connections
	Armed      int    // Arms that no request has met
}

// String returns the config as an argument.
func (c Config) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

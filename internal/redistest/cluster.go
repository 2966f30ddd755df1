package redistest

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// StartCluster runs a Redis Cluster of n masters, at least three, each with the number of
// replicas, until the test ends. The masters come first.
func StartCluster(tb testing.TB, masters, replicas int, options ...string) []*Server {
	tb.Helper()
	var servers []*Server
	create := []string{"--cluster", "create"}
	for range masters * (1 + replicas) {
		s := Start(tb, append([]string{"cluster-enabled yes", "cluster-node-timeout 2000"}, options...)...)
		servers = append(servers, s)
		create = append(create, s.Addr)
	}
	create = append(create, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")
	if out, err := redisCLI(create...); err != nil {
		tb.Fatalf("redistest: %v: %s", err, out)
	}
	for _, s := range servers {
		s.await(tb, "the cluster's state", func() bool {
			info, _ := s.Do("CLUSTER", "INFO")
			nodes, _ := s.Do("CLUSTER", "NODES")
			return strings.Contains(info, "cluster_state:ok") && strings.Count(nodes, "slave") == masters*replicas
		})
	}
	return servers
}

// Owner returns the server of a cluster that owns the slot of key.
func Owner(tb testing.TB, servers []*Server, key string) *Server {
	tb.Helper()
	slot, err := servers[0].Do("CLUSTER", "KEYSLOT", key)
	if err != nil {
		tb.Fatal(err)
	}
	want, _ := strconv.Atoi(slot)
	nodes, _ := servers[0].Do("CLUSTER", "NODES")
	for line := range strings.Lines(nodes) {
		fields := strings.Fields(line)
		for _, slots := range fields[min(8, len(fields)):] {
			first, last, ok := strings.Cut(slots, "-")
			if !ok {
				last = first
			}
			low, _ := strconv.Atoi(first)
			high, _ := strconv.Atoi(last)
			if want < low || want > high {
				continue
			}
			addr, _, _ := strings.Cut(fields[1], "@")
			for _, s := range servers {
				if s.Addr == addr {
					return s
				}
			}
		}
	}
	tb.Fatalf("redistest: no server owns slot %d:\n%s", want, nodes)
	return nil
}

func (s *Server) await(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			_, port, _ := net.SplitHostPort(s.Addr)
			tb.Fatalf("redistest: the server on port %s does not reach %s", port, what)
		}
	}
}

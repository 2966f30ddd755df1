package stores

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/internal/redistest"
)

const masters = 3

func startCluster(tb testing.TB, s *Store, servers int) {
	tb.Helper()
	replicas := 0
	if s.Name == RedisFailover {
		replicas = 1
	}
	options := []string{
		"cluster-node-timeout 500", "cluster-require-full-coverage no", "cluster-allow-replica-migration no", "repl-diskless-sync-delay 0",
	}
	var nodes []*redisNode
	var addrs []string
	for _, r := range redistest.StartCluster(inMemory(tb), masters, replicas, append(options, durable...)...) {
		nodes = append(nodes, &redisNode{process: process{server: r}, redis: r})
		addrs = append(addrs, r.Addr)
	}
	links := newLinks(tb, servers, addrs...)
	s.Addrs = func(server int) (addrs []string) {
		for _, p := range links[server] {
			addrs = append(addrs, p.Addr)
		}
		return addrs
	}
	s.Via = func(server int) map[string]string {
		via := make(map[string]string)
		for i, p := range links[server] {
			via[addrs[i]] = p.Addr
		}
		return via
	}
	s.Faults = links.faults()
	for i, shard := range shards(tb, nodes) {
		s.Faults = append(s.Faults, shard.faults(fmt.Sprintf("store %d", i+1))...)
	}
	s.Heal = func() error {
		steps := []func() error{links.heal}
		for _, n := range nodes {
			steps = append(steps, n.revive)
		}
		return all(append(steps, func() error {
			return await(s.Name, func() error { return healthy(nodes, replicas) })
		})...)
	}
}

// A shard is the nodes that have the same slots. One of them is the master.
type shard []*redisNode

// shards returns the shard of each node that is a master now.
func shards(tb testing.TB, nodes []*redisNode) (shards []shard) {
	tb.Helper()
	for _, master := range nodes[:masters] {
		role, err := master.redis.Do("ROLE")
		must(tb, err)
		s := shard{master}
		for _, n := range nodes[masters:] {
			if slices.Contains(strings.Split(role, "\n"), port(n)) {
				s = append(s, n)
			}
		}
		shards = append(shards, s)
	}
	return shards
}

func port(n *redisNode) string { return n.redis.Addr[strings.LastIndex(n.redis.Addr, ":")+1:] }

// master returns the node that is the master now.
func (s shard) master() (*redisNode, error) {
	for _, n := range s {
		if role, err := n.redis.Do("ROLE"); err == nil && strings.HasPrefix(role, "master\n") {
			return n, nil
		}
	}
	return nil, errors.New("stores: a shard has no master")
}

// faults are those of the node that is the master when the fault begins.
func (s shard) faults(target string) []Fault {
	faults := s[0].faults(target)
	for i := range faults {
		var met []Fault // of the node that has the fault
		faults[i].Begin = func() error {
			var n *redisNode
			err := await(target, func() (err error) { // a failover may be under way
				n, err = s.master()
				return err
			})
			if err != nil {
				return err
			}
			met = n.faults(target)[i:]
			return met[0].Begin()
		}
		faults[i].End = func() error {
			if met == nil {
				return nil // Begin has failed
			}
			return met[0].End()
		}
	}
	return faults
}

// healthy reports whether every node sees a cluster that serves all slots, every master writes, and
// every replica has its data.
func healthy(nodes []*redisNode, replicas int) error {
	replicating := 0
	for _, n := range nodes {
		if err := n.do("CONFIG", "SET", "maxmemory", "0"); err != nil {
			return err
		}
		info, err := n.redis.Do("CLUSTER", "INFO")
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
			return errors.New(info)
		}
		if info, err = n.redis.Do("INFO", "replication"); err != nil {
			return err
		}
		if strings.Contains(info, "master_link_status:up") {
			replicating++
		}
	}
	if want := masters * replicas; replicating != want {
		return fmt.Errorf("%d replicas have their master, want %d", replicating, want)
	}
	return nil
}

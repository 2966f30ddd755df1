package stores

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/internal/redistest"
)

// durable makes Redis keep what it has confirmed, and refuse what it has no room for.
var durable = []string{"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"}

func startRedis(tb testing.TB, s *Store, servers int) {
	tb.Helper()
	clock := newClock(tb)
	r := redistest.StartEnv(inMemory(tb), clock.env(), durable...)
	node := &redisNode{process: process{server: r}, redis: r}
	links := newLinks(tb, servers, r.Addr)
	s.Addrs = func(server int) []string { return []string{links[server][0].Addr} }
	s.Faults = append(links.faults(), node.faults("store")...)
	s.Faults = append(s.Faults, clock.faults()...)
	s.Heal = func() error {
		return all(links.heal, func() error { return clock.set(0) }, node.revive, func() error {
			return await(s.Name, node.heal)
		})
	}
}

// A redisNode is a process of Redis.
type redisNode struct {
	process
	redis *redistest.Server
}

func (n *redisNode) faults(target string) []Fault {
	return append(n.process.faults(target), Fault{
		Kind: "full", Target: target, Begin: n.fill, End: func() error { return n.do("CONFIG", "SET", "maxmemory", "0") },
	})
}

// fill leaves room for a few records only.
func (n *redisNode) fill() error {
	info, err := n.redis.Do("INFO", "memory")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	digits, _, _ := strings.Cut(rest, "\r")
	used, err := strconv.Atoi(digits)
	if err != nil {
		return err
	}
	return n.do("CONFIG", "SET", "maxmemory", strconv.Itoa(used+64<<10))
}

// heal removes the limit of a node that runs, and reports whether the node writes.
func (n *redisNode) heal() error {
	if err := n.do("CONFIG", "SET", "maxmemory", "0"); err != nil {
		return err
	}
	return n.do("SET", "healed", "1")
}

// do runs a command that must succeed.
func (n *redisNode) do(command ...string) error {
	reply, err := n.redis.Do(command...)
	if err == nil && strings.TrimSpace(reply) != "OK" {
		err = errors.New(reply)
	}
	if err != nil {
		return fmt.Errorf("stores: %s: %w", strings.Join(command, " "), err)
	}
	return nil
}

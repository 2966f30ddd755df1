// Package proxy stands between two processes and harms what passes: HTTP between clients and a
// server, TCP between a server and its store. What is late is late by a random time, which no seed
// decides.
package proxy

import "sync"

// A gate holds up those that pass it while it is shut. The zero value is open.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil while it is open
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

// wait returns when the gate is open. It returns false if done is closed before.
func (g *gate) wait(done <-chan struct{}) bool {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return true
	}
	select {
	case <-shut:
		return g.wait(done)
	case <-done:
		return false
	}
}

// Package storm simulates what clients do to a server that is in trouble. The clients are
// real: a retry.Transport and clients of other libraries. The server is a model. The
// clock is that of a testing/synctest bubble, so that minutes take seconds. Runs with the
// same seed are the same, except for the random choices of the clients.
//
// This is the whole model. Calls arrive as a Poisson process, spread at random over 10
// client processes (in TestBrownOut also over 1). The server has some workers and one
// queue, which is first in, first out. Service times are exponentially distributed. The
// server processes a request whether or not its client still waits. It refuses a request
// immediately with 503 if the queue is full or if the request would wait too long. In
// addition, it refuses a random part of all requests, which is the failure rate of the
// experiment. With every client, an attempt without an answer fails after half a second
// (in TestBrownOut, after a second). internal/chaos/brownout has no model, but real processes
// and real time.
//
// The tests check how the clients compare. With -write they also write the plots into
// docs:
//
//	go test ./storm -v -count=1 -write
package storm

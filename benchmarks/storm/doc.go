// Package storm simulates what clients do to a server that is in trouble: the real Transport, and
// the real clients of others, over a model of a server, on the clock of a testing/synctest bubble,
// so that minutes take seconds. A seed gives the same run, but for what a client draws at random.
//
// The model, in full: calls arrive as a Poisson process, spread at random over 10 client processes
// (in TestABrownOut also over 1). The server has some workers and one queue, first in, first out;
// service times are exponentially distributed. It works off a request whether or not its client
// still waits. Work that would have to wait for longer than the queue's bound, or finds no place in
// it, is refused immediately with 503, as is, at the failure rate of an experiment, any request. An
// attempt that has no answer after half a second (in TestABrownOut a second) fails, for every client
// alike. TestABrownOutOnLoopback has no model: a real server, real clients, real time.
//
// The tests assert the ratios. With -write they also write the plots into docs:
//
//	go test ./storm -v -count=1 -write
package storm

// Package peers measures Seawall beside what one would use instead: other libraries, composed so
// that both sides do the same job. A benchmark is called Benchmark<Row>/<side>, and the side
// "seawall" is ours. A test per row asserts that the sides answer alike.
//
// The handlers write to a ResponseWriter that discards, and the clients use a RoundTripper in
// memory, so that the libraries are measured and not the network. The command in report runs the
// benchmarks in turn, many times over, and writes docs/BENCHMARKS.md.
package peers

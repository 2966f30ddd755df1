// Package peers compares Seawall with what one would use instead: other libraries,
// composed so that both sides do the same job. A benchmark is called
// Benchmark<Row>/<side>, and the side "seawall" is ours. A test for each row asserts that
// the sides give the same answers.
//
// The handlers write to a ResponseWriter that discards the response, and the clients use
// a RoundTripper that answers from memory, so that the libraries are measured and not the
// network. Only the rows with Redis and PostgreSQL use the network: a server on the same machine,
// which all sides share. The command in folder report runs the benchmarks in many rounds and writes
// docs/BENCHMARKS.md.
package peers

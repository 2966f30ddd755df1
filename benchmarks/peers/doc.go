// Package peers measures Seawall beside the libraries that do one of its jobs each, beside the bare thing, and beside a floor:
// the steps that the job cannot do without, in the fewest lines. Every benchmark Benchmark<Path>/<who> is one operation; "seawall"
// is ours. Every peer is configured as its own README does it.
//
// The operations run against a ResponseWriter that discards and a RoundTripper in memory, so that what is measured is the library.
// The command in report runs them interleaved, many times over, and holds the medians of the ratios against the bars.
package peers

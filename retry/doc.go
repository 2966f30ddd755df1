// Package retry is the client's side of the specification: an [http.RoundTripper] that repeats what can be recovered, never
// carries a write out twice, never sleeps towards a certain failure, and in an outage adds a tenth, not a multiple, of load.
package retry

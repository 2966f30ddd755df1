//go:build !race

package docsapitest

// RaceEnabled reports whether the server is built with the race detector.
const RaceEnabled = false

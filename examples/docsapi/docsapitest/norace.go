//go:build !race

package docsapitest

const raceEnabled = false

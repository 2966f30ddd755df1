//go:build !race

package chaos_test

// raceEnabled reports whether the processes are built with the race detector.
const raceEnabled = false

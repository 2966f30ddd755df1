// Package modeltest checks stores and the middleware of package idempotent against models. It
// records concurrent random calls, and searches for an order that the model allows, with the
// linearizability checker porcupine. It also checks that mistakes are found.
//
// It is a separate module, so that the core does not depend on porcupine. One test needs
// redis-server on the PATH.
package modeltest

// Package modeltest checks stores of package idempotent against a model of a record. Random
// interleavings are recorded and searched for an order that the model allows, by the
// linearizability checker porcupine. The checker is itself checked: seeded faults must be caught.
//
// It is a separate module, so that the core does not depend on the checker.
package modeltest

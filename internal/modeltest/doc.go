// Package modeltest checks package idempotent against two models: of a store's record, and of what clients of the middleware
// see. Random interleavings are recorded and searched for an order that the model allows, by the linearizability checker
// porcupine. The checker is itself checked: seeded bugs must be caught.
//
// It is a module of its own so that the core does not depend on the checker.
package modeltest

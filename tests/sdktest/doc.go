// Package sdktest tests package retry below SDKs of other projects: how often they send a
// request, under which Idempotency-Key, and what their errors say. docs/RECIPES.md has the
// results.
//
// It is a separate module so that the core does not depend on the SDKs.
package sdktest

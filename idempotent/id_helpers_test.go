package idempotent_test

import "github.com/seawall-go/seawall/idempotent"

// idOf returns the ID of a key in a namespace.
func idOf(namespace, principal, key string) idempotent.ID {
	return (&idempotent.Options{Namespace: namespace}).ID(principal, key)
}

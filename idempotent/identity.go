package idempotent

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// An ID names a record: a SHA-256 hash, so that no key reaches a store, a log or an event.
type ID [32]byte

// NewID returns the ID under which the middleware keeps the record of a key: a hash of [Options].Namespace, what the
// [ScopeFunc] returned, and the key as it is between the quotes. Services use it to find a record that they resolve.
func NewID(namespace, principal, key string) ID {
	return hashOf("id", namespace, principal, key)
}

// newScope is the hash of the principal in a claim, zero where there is none.
func newScope(namespace, principal string) ID {
	if principal == "" {
		return ID{}
	}
	return hashOf("scope", namespace, principal)
}

// String returns the ID in hexadecimal: 64 characters.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// hashOf is SHA-256 over parts, each preceded by its length, so that no two lists of parts run together to the same bytes.
func hashOf(parts ...string) [32]byte {
	b := make([]byte, 0, 512) // room for a key and its principal, not on the heap
	for _, p := range parts {
		b = appendPart(b, p)
	}
	return sha256.Sum256(b)
}

func appendPart(b []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
}

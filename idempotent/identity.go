package idempotent

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"sync"
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

// hasher is SHA-256 over parts, each preceded by its length, so that no two lists of parts run together to the same bytes.
type hasher struct {
	sha hash.Hash
	buf [128]byte
}

var hashers = sync.Pool{New: func() any { return &hasher{sha: sha256.New()} }}

func hashOf(parts ...string) [32]byte {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.sha.Reset()
	for _, p := range parts {
		h.string(p)
	}
	return h.sum()
}

func (h *hasher) length(n int) {
	h.sha.Write(binary.BigEndian.AppendUint64(h.buf[:0], uint64(n)))
}

func (h *hasher) string(s string) {
	h.length(len(s))
	for len(s) > 0 { // through buf: a conversion to []byte would allocate
		n := copy(h.buf[:], s)
		h.sha.Write(h.buf[:n])
		s = s[n:]
	}
}

func (h *hasher) bytes(p []byte) {
	h.length(len(p))
	h.sha.Write(p)
}

func (h *hasher) sum() (sum [32]byte) {
	h.sha.Sum(h.buf[:0])
	copy(sum[:], h.buf[:])
	return sum
}

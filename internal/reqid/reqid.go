// Package reqid makes and checks request ids.
package reqid

import "crypto/rand"

const (
	prefix   = "req_"
	length   = 16
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	// MaxLen is the length of the longest id that is accepted from a peer.
	MaxLen = 128
)

// New returns "req_" and 16 base62 characters (95 bits) from the system's cryptographic random
// number generator. It contains no time, counter or host name.
func New() string {
	const unbiased = 256 - 256%len(alphabet) // higher bytes would make some characters more likely
	id := make([]byte, 0, len(prefix)+length)
	id = append(id, prefix...)
	for len(id) < cap(id) {
		var random [2 * length]byte // usually enough, although some bytes are rejected
		rand.Read(random[:])        // never fails: it ends the program if the system has no randomness
		for _, b := range random {
			if int(b) < unbiased && len(id) < cap(id) {
				id = append(id, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(id)
}

// Valid reports whether an id that a peer sent may be used: 1 to 128 of A-Z a-z 0-9 . _ -
func Valid(id string) bool {
	if id == "" || len(id) > MaxLen {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
